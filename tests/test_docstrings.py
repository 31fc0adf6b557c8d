"""Every public function has a docstring with an example, which pytest runs as a doctest.

In the folders of numbers it also names the errors that the function raises, and the arguments that
are numbers or tensors, so that a reader knows their units; a closed form has its formula in
letters, and the paper that it is from.
"""

import ast
import re
from pathlib import Path

import pytest

import vitcost
from vitcost import textbook

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
# folders whose public functions name their errors; VitcostError is the base of all
NUMBERS = ("costs", "hardware", "planner", "textbook", "traced")
ERRORS = {"ConfigError", "NotCovered", "UnknownName"}
# a closed form's letters, such as ``4h² + h``, ``3 · forward`` or ``n²d, 1, 1``; its source
FORMULA = re.compile(r"``[^`]*(?:[²·Φ]|\d?[a-zHLKV]+ = |[24][bhn]|p_h)[^`]*``")
SOURCE = re.compile(r"[A-Z][a-z]+ 20\d\d|Source:\s|Megatron")
# an argument that is a number, a tensor, or several; the units that its name may end in
NUMBER = re.compile(r"'?(?:(?:Sequence|Iterable|tuple|list)\[)*(?:int|float|Size|Number|Tensor)\b")
UNITS = ("bytes", "seconds", "flops")
# functions of the textbook that are no closed form: they check what a form assumes
CHECKS = {"always", "assume_text", "assume_undistilled"}


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


def unnamed_errors(source: str) -> dict[str, set[str]]:
    """The errors that a public function raises itself and that its docstring does not name."""
    unnamed = {}
    for name, node in public(source).items():
        text = ast.get_docstring(node) or ""
        raised = {
            ast.unparse(part.exc.func)
            for part in ast.walk(node)
            if isinstance(part, ast.Raise) and isinstance(part.exc, ast.Call)
        }
        if "VitcostError" not in text:
            unnamed[name] = {error for error in raised & ERRORS if error not in text}
    return {name: errors for name, errors in unnamed.items() if errors}


@pytest.mark.parametrize("folder", NUMBERS)
def test_a_docstring_names_the_errors_of_its_function(folder: str) -> None:
    for path in sorted((ROOT / folder).rglob("*.py")):
        assert unnamed_errors(path.read_text("utf-8")) == {}, dotted(path)


def unnamed_numbers(source: str, letters: str = "") -> dict[str, list[str]]:
    """The arguments of a public function that are numbers or tensors, have no unit in their name,
    and stand neither in its docstring nor among the letters of its package."""
    unnamed = {}
    for name, node in public(source).items():
        words = set(re.findall(r"\w+", (ast.get_docstring(node) or "").split(">>>")[0] + letters))
        unnamed[name] = [
            argument.arg
            for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            if argument.annotation and NUMBER.match(ast.unparse(argument.annotation))
            if not argument.arg.endswith(UNITS) and argument.arg not in words
        ]
    return {name: arguments for name, arguments in unnamed.items() if arguments}


@pytest.mark.parametrize("folder", NUMBERS)
def test_a_docstring_names_the_numbers_that_its_function_takes(folder: str) -> None:
    letters = textbook.__doc__ or "" if folder == "textbook" else ""
    for path in sorted((ROOT / folder).rglob("*.py")):
        assert unnamed_numbers(path.read_text("utf-8"), letters) == {}, dotted(path)


def without_formula_or_source(source: str) -> list[str]:
    """The closed forms whose docstring lacks the formula or the source."""
    texts = {name: ast.get_docstring(node) or "" for name, node in public(source).items()}
    return [
        name
        for name, text in texts.items()
        if name not in CHECKS and not (FORMULA.search(text) and SOURCE.search(text))
    ]


def test_a_closed_form_has_its_formula_and_its_source() -> None:
    lacks = {
        dotted(path): without_formula_or_source(path.read_text("utf-8"))
        for path in sorted((ROOT / "textbook").glob("*.py"))
    }
    assert {file: names for file, names in lacks.items() if names} == {}


def test_a_planted_docstring_without_them_is_found() -> None:
    planted = '__all__ = ["f"]\ndef f():\n    """{}"""\n    raise ConfigError("no")'
    assert unnamed_errors(planted.format("Says.")) == {"f": {"ConfigError"}}
    assert unnamed_errors(planted.format("Says. Raises ``ConfigError``.")) == {}
    of_numbers = '__all__ = ["f"]\ndef f(x: "int | None", n_bytes: int, y: str):\n    """{}"""'
    assert unnamed_numbers(of_numbers.format("Says.")) == {"f": ["x"]}
    assert unnamed_numbers(of_numbers.format("Seconds of ``x`` images.\n>>> f(1)")) == {}
    assert unnamed_numbers(of_numbers.format("Says.\n>>> f(x=1)")) == {"f": ["x"]}
    assert unnamed_numbers(of_numbers.format("Says."), "x images") == {}
    assert without_formula_or_source(planted.format("Params: ``4h²``.")) == ["f"]
    assert without_formula_or_source(planted.format("Params. Kaplan 2020.")) == ["f"]
    assert without_formula_or_source(planted.format("Params: ``4h²``. Kaplan 2020.")) == []
