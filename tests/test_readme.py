"""Every fenced block of the README and the changelog runs, and prints what it shows.

``python tests/test_readme.py`` writes what the commands of the README print into it, except where
``...`` stands for lines that differ from run to run.
"""

import doctest
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
FENCE = re.compile(
    r"(?:^<!-- (?P<mark>[\w-]+) -->\n)?^```(?P<lang>\w*)\n(?P<body>.*?)^```$", re.M | re.S
)
# blocks that set a machine up: CI runs them, a test inside them cannot
SET_UP = {"quick-start", "tests", "system-packages"}


class Block(NamedTuple):
    where: str
    mark: str
    language: str
    body: str


def blocks() -> list[Block]:
    found = []
    for path in (ROOT / "README.md", ROOT / "CHANGELOG.md"):
        text = path.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            line = text[: match.start("lang")].count("\n") + 1
            where = f"{path.name}:{line}"
            found.append(Block(where, match["mark"] or "", match["lang"], match["body"]))
    return found


def shell(command: str, cwd: Path) -> str:
    """What a command prints; the environment's own vitcost comes first on the path."""
    scripts = str(Path(sys.executable).parent)
    env = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100"}
    done = subprocess.run(
        command, shell=True, cwd=cwd, env=env, capture_output=True, text=True, timeout=300
    )
    return done.stdout + done.stderr


def console(block: Block, cwd: Path) -> None:
    """``$ command`` lines, each followed by what it prints; ``...`` stands for any lines."""
    parts = re.split(r"^\$ ", block.body, flags=re.M)
    assert not parts[0].strip(), f"{block.where}: output before a command"
    checker = doctest.OutputChecker()
    for part in parts[1:]:
        command, _, wanted = part.partition("\n")
        got = shell(command, cwd)
        same = checker.check_output(wanted.rstrip() + "\n", got.rstrip() + "\n", doctest.ELLIPSIS)
        assert same, f"{block.where}: $ {command}\nREADME says\n{wanted}\nit prints\n{got}"


def python(block: Block, cwd: Path) -> None:
    if ">>>" in block.body:
        test = doctest.DocTestParser().get_doctest(block.body, {}, block.where, block.where, 0)
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        runner.run(test)
        assert runner.failures == 0
        return
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", block.body], cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{block.where}:\n{done.stderr}"


@pytest.mark.parametrize("block", blocks(), ids=lambda block: f"{block.where}-{block.language}")
def test_block(block: Block, tmp_path: Path) -> None:
    if block.mark in SET_UP:
        assert block.language == "sh"
        for line in block.body.splitlines():
            shlex.split(line)
    elif block.language == "console":
        console(block, tmp_path)
    elif block.language == "python":
        python(block, tmp_path)
    elif block.language == "toml":
        assert tomllib.loads(block.body)
    elif block.language == "json":
        assert json.loads(block.body)
    elif block.language == "yaml":
        yaml = pytest.importorskip("yaml")
        assert yaml.safe_load(block.body)
    else:
        pytest.fail(f"{block.where}: nothing runs a block of language {block.language!r}")


def test_the_readme_has_the_two_commands() -> None:
    marks = [block.mark for block in blocks()]
    assert marks.count("quick-start") == 1
    assert marks.count("tests") == 1


def test_a_wrong_output_is_found(tmp_path: Path) -> None:
    console(Block("here", "", "console", "$ echo 1\n1\n$ printf 'a\\nb\\n'\na\n...\n"), tmp_path)
    with pytest.raises(AssertionError, match="it prints"):
        console(Block("here", "", "console", "$ echo 1\n2\n"), tmp_path)


def regenerated(text: str, cwd: Path) -> str:
    """A document with the output of every ``console`` block as its commands print it now."""

    def fresh(match: re.Match[str]) -> str:
        if match["lang"] != "console":
            return match[0]
        body = ""
        for part in re.split(r"^\$ ", match["body"], flags=re.M)[1:]:
            command, _, wanted = part.partition("\n")
            got = shell(command, cwd).rstrip() + "\n"
            same = doctest.OutputChecker().check_output(wanted, got, doctest.ELLIPSIS)
            body += f"$ {command}\n{wanted if same else got}"
        return match[0].replace(match["body"], body)

    return FENCE.sub(fresh, text)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        readme = ROOT / "README.md"
        text = regenerated(readme.read_text(encoding="utf-8"), Path(folder))
        readme.write_text(text, encoding="utf-8")
