"""CONTRIBUTING.md: its commands run, and the files, tables and tests that it names are there."""

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
from test_readme import blocks

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COMMANDS = {block.mark: block.body for block in blocks() if block.where.startswith("CONTRIBUTING")}


class Added(NamedTuple):
    """A line of the table of rows: in each cell the names between backticks."""

    what: str
    table: str
    files: list[str]
    test: str


def rows() -> list[Added]:
    found = []
    for line in TEXT.splitlines():
        if line.startswith("| a"):
            what, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            table, file, test = (re.findall(r"`([^`]+)`", cell) for cell in cells)
            others = [name for name in table[1:] if name.endswith(".py")]
            found.append(Added(what, table[0], [*file, *others], test[0]))
    return found


def defined(file: str) -> set[str]:
    """The names that a file binds at its top level."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        for target in getattr(node, "targets", [getattr(node, "target", None)]):
            if isinstance(target, ast.Name):
                names.add(target.id)
    return names


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.what)
def test_a_table_and_the_test_that_adds_a_row_are_there(row: Added) -> None:
    assert row.table in defined(row.files[0])
    assert all((ROOT / file).is_file() for file in row.files)
    assert row.test in defined("tests/test_rows.py")


def test_every_row_that_the_tests_add_is_in_the_table() -> None:
    added = {
        name for name in defined("tests/test_rows.py") if re.search("_is_a(_module.*)?_row", name)
    }
    assert {row.test for row in rows()} == added


def test_every_path_and_every_test_that_is_named_is_there() -> None:
    for path in re.findall(r"`((?:vitcost|tests)/[\w./]+)`", TEXT):
        assert (ROOT / path).is_file(), path
    for link in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert (ROOT / link).is_file(), link
    for name in re.findall(r"`(test_\w+)`", TEXT):
        assert name in defined("tests/test_rows.py"), name


def test_the_house_has_ten_lines_each_held_by_a_test() -> None:
    section = TEXT.partition("## The house in ten lines")[2]
    lines = re.split(r"^\d+\. ", section, flags=re.M)[1:]
    assert len(lines) == 10
    assert all(re.search(r"`tests/test_\w+\.py`", line) for line in lines)


def test_the_set_up_is_that_of_the_test_command() -> None:
    (tests,) = (block.body for block in blocks() if block.mark == "tests")
    install, _, run = tests.rpartition(" && ")
    assert COMMANDS["set-up"].strip() == install
    assert run.strip() in COMMANDS["gates"]


def test_the_commands_run() -> None:
    """A command of pytest runs as it is written; that of the whole folder, on one file."""
    one, row, most, gates = COMMANDS["gates"].splitlines()
    for command in (one, row, f"{most.replace('-n auto ', '')} tests/test_rows.py --collect-only"):
        python, *rest = shlex.split(command)
        assert python == ".venv/bin/python"
        done = subprocess.run(
            [sys.executable, *rest, "-p", "no:cacheprovider"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d+ deselected", done.stdout)
    # tests/test_quality.py runs them
    assert [part.split("/")[-1] for part in gates.split(" && ")] == [
        "ruff check .",
        "ruff format --check .",
        "mypy vitcost",
    ]


def test_doctests_run_by_module_as_it_says() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "--doctest-modules" in project["tool"]["pytest"]["ini_options"]["addopts"]
    command = "pytest vitcost/units.py"
    assert command in " ".join(TEXT.split())
    done = subprocess.run(
        [sys.executable, "-m", *command.split(), "-q", "-p", "no:cacheprovider"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert re.search(r"\d+ passed", done.stdout), done.stdout + done.stderr


def test_the_layouts_are_written_as_it_says() -> None:
    write, _, look = COMMANDS["golden"].strip().partition(" && ")
    setting, python, *rest = shlex.split(write)
    assert (setting, python, look) == (
        "UPDATE_GOLDEN=1", ".venv/bin/python", "git diff tests/golden"
    )  # fmt: skip
    assert setting.partition("=")[0] in (ROOT / rest[2]).read_text(encoding="utf-8")
    done = subprocess.run(
        [sys.executable, *rest, "--collect-only", "-p", "no:cacheprovider"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert "test_layout_of_a_question[fit-80]" in done.stdout, done.stdout + done.stderr


def test_timm_imports_beside_a_torch_for_the_cpu_as_it_says() -> None:
    assert "`PYTHONPATH=tests/start`" in TEXT
    env = {"PYTHONPATH": "tests/start", "PATH": ""}
    subprocess.run([sys.executable, "-c", "import timm"], cwd=ROOT, env=env, check=True)
