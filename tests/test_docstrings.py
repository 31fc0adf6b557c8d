"""Every public function has a docstring with an example, which pytest runs as a doctest."""

import ast
from pathlib import Path

import pytest

import vitcost

ROOT = Path(vitcost.__file__).parent

# folders whose functions all have an example, beside every module at the top
FOLDERS = (
    "config", "costs", "formulas", "hardware", "outside", "planner", "textbook", "traced"
)  # fmt: skip
# functions for which an example is impossible, by module and name
REASONS = {
    "__main__.main": "ends the process",
    "planner.budgets.at_commit.main": "ends the process",
    "planner.budgets.git.commit_of": "needs a repository",
    "planner.budgets.git.reports_at": "needs a repository, and starts a process",
    "outside.users_code.keep_answers_apart": "changes the streams of its process for good",
}


def public(source: str) -> dict[str, ast.FunctionDef]:
    """The functions of a module that ``__all__`` names."""
    tree = ast.parse(source)
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names |= set(ast.literal_eval(node.value))
    return {
        node.name: node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name in names
    }


def without_example(source: str) -> list[str]:
    """The public functions whose docstring has no example."""
    return [
        name
        for name, node in public(source).items()
        if ">>> " not in (ast.get_docstring(node) or "")
    ]


def modules() -> list[Path]:
    folders = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    return [*sorted(ROOT.glob("*.py")), *folders]


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_every_public_function_has_an_example(path: Path) -> None:
    lacks = {f"{dotted(path)}.{name}" for name in without_example(path.read_text("utf-8"))}
    assert lacks - REASONS.keys() == set()


def test_a_reason_is_of_a_function_without_an_example() -> None:
    lacks = {
        f"{dotted(path)}.{name}"
        for path in modules()
        for name in without_example(path.read_text("utf-8"))
    }
    assert set(REASONS) <= lacks


def test_a_planted_function_is_found() -> None:
    planted = (
        '__all__ = ["f", "g"]\ndef f():\n    """Says."""\ndef g():\n    """\n    >>> g()\n    """'
    )
    assert without_example(planted) == ["f"]
    assert without_example('__all__ = ["f"]\ndef f(): ...') == ["f"]
    assert without_example("__all__ = []\ndef f(): ...") == []
