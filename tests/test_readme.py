"""Every fenced block of the README and of the pages beside it runs, and prints what it shows.

``python tests/test_readme.py`` writes what their commands print into them, except where ``...``
stands for lines that differ from run to run.
"""

import doctest
import html
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
from bench import accuracy, picture

import vitcost

ROOT = Path(__file__).parents[1]
FENCE = re.compile(
    r"(?:^<!-- (?P<mark>[\w-]+) -->\n)?^```(?P<lang>\w*)\n(?P<body>.*?)^```$", re.M | re.S
)
# blocks that set a machine up: CI runs them, a test inside them cannot
SET_UP = {"quick-start", "tests", "set-up", "system-packages", "gates", "golden"}
PAGES = (
    "README.md", "CONTRIBUTING.md", ".github/README.zh-CN.md", "tests/README.md",
    "vitcost/hardware/README.md", "vitcost/textbook/README.md", "vitcost/limits.md",
    "vitcost/cli/page.md", "CHANGELOG.md",
)  # fmt: skip


class Block(NamedTuple):
    where: str
    mark: str
    language: str
    body: str


def blocks() -> list[Block]:
    found = []
    for page in PAGES:
        path = ROOT / page
        text = path.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            line = text[: match.start("lang")].count("\n") + 1
            where = f"{page}:{line}"
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


def test_the_readme_has_the_two_commands_and_is_read_to_its_end() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 250
    marks = [block.mark for block in blocks() if block.where.startswith("README.md")]
    assert marks.count("quick-start") == 1
    assert marks.count("tests") == 1


def table(mark: str) -> list[list[str]]:
    """The rows of the table behind a mark, without the bold."""
    page = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
    text = page.partition(f"<!-- {mark} -->\n")[2]
    lines = text.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip().strip("*") for cell in line.strip("|").split("|")] for line in lines]


def test_what_other_tools_count_is_explained() -> None:
    """Each count of the table from what README says that the tool leaves out or adds."""
    s, h, L, p, K = 257, 1280, 32, 14, 1000
    norms, on_no_layer = 2 * L + 1, h + s * h
    patches, projections = (s - 1) * 3 * p * p * h, L * s * 4 * h * h
    mlp, products, head = L * s * 8 * h * h, L * 2 * s * s * h, K * h
    macs = patches + projections + mlp + products + head
    assert macs == vitcost.report("vit_huge_patch14_224").flops.macs_forward
    # a convolution is counted at every place, with its bias; a linear layer once
    once = (s - 1) * (3 * p * p * h + h) + L * (12 * h * h + 9 * h) + K * h + K + 2 * h * norms
    expected = {
        "vitcost": (0, macs),
        "torchsummary": (-on_no_layer, None),
        "torchinfo": (0, once),
        "fvcore": (0, macs - products + 5 * norms * s * h),
        "thop": (-on_no_layer - 2 * h * norms, macs - products),
        "ultralytics-thop": (0, macs + 4 * norms * s * h),
        "calflops": (0, macs - products),
        "deepspeed": (0, macs),
        "torchprofile": (0, macs + norms * s * h),
        "FlopCounterMode, CPU": (0, macs - products),
        "FlopCounterMode, meta": (0, macs),
    }
    rows = {row[0]: row[2:5] for row in table("peers")}
    partly = int(rows.pop("ptflops")[1].replace(",", ""))
    # its pointwise work is below one for each element of eight tensors a block
    assert 0 < partly - (macs - projections) < L * 8 * s * 4 * h
    assert rows == {
        name: [
            "exact" if missing == 0 else f"{missing:+,}",
            "none" if counted is None else f"{counted:,}",
            "–" if counted is None else "exact" if counted == macs else f"{counted / macs:.3f}",
        ]
        for name, (missing, counted) in expected.items()
    }


def test_the_accuracy_table_counts_no_case_that_is_not_there() -> None:
    rows = {row[0]: row for row in table("accuracy")}
    there = accuracy.collected()
    for row in accuracy.ROWS:
        _, witness, cases, error = rows.pop(row.quantity)
        assert (witness, error) == (row.witness, "0")
        assert 0 < int(cases.replace(",", "")) <= there[row.quantity]
    # the times, whose errors a test of their own holds
    assert [name for name, _ in accuracy.TIMES] == list(rows)


def test_the_workflow_is_that_of_the_example() -> None:
    (block,) = (b for b in blocks() if b.language == "yaml" and b.where.startswith("README.md"))
    path = ROOT / "examples" / "ci_project" / ".github" / "workflows" / "budget.yml"
    assert block.body == path.read_text(encoding="utf-8")


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    text = page.read_text(encoding="utf-8")
    return {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^##? (.*)$", text, re.MULTILINE)
    }


@pytest.mark.parametrize("page", PAGES)
def test_every_link_is_to_a_file_or_a_heading(page: str) -> None:
    path = ROOT / page
    links = re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8"))
    assert len(links) > 10 or page != "README.md"
    for link in (link for link in links if not link.startswith("https:")):
        file, _, heading = link.partition("#")
        target = path if not file else path.parent / file
        assert target.exists(), link
        assert not heading or heading in headings(target), link


def test_the_picture_is_of_the_page_as_it_is_now() -> None:
    """``python tests/bench/picture.py`` draws it; every word of the page is in it, in its place."""
    drawn = re.findall(r"<text[^>]*>(.*?)</text>", picture.FILE.read_text(encoding="utf-8"))
    words = html.unescape(" ".join(drawn)).replace("\xa0", " ").split()
    assert words[0] == "vitcost"
    assert words[1:] == " ".join(picture.lines(color=False)).split()
    # nothing is fetched
    assert "url(http" not in picture.FILE.read_text(encoding="utf-8")


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
        for page in PAGES:
            path = ROOT / page
            text = regenerated(path.read_text(encoding="utf-8"), Path(folder))
            path.write_text(text, encoding="utf-8")
