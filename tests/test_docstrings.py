"""Every public function has a docstring with an example, which pytest runs as a doctest.

In the folders of numbers it also names the errors that the function raises, itself or by a function
of its folder, and the arguments that are numbers or tensors, so that a reader knows their units; a
closed form has its formula in letters, and the paper that it is from. Methods have a docstring too,
their own or that of the method that they override.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from inspect import getsource, isfunction
from pathlib import Path
from textwrap import dedent

import pytest

import vitcost
from vitcost import textbook
from vitcost.errors import ConfigError, NotCovered

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
ERRORS = {"ConfigError", "MissingExtra", "NotCovered", "UnknownName"}
# errors of a function that another one calls with arguments for which they never occur
NEVER = {"inference": {"ConfigError"}}  # of a storage that is not in the table
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


Function = tuple[str, str]  # the module and the name


def calls(module: str, tree: ast.Module) -> dict[str, set[Function]]:
    """The functions of the project that each top-level function of a module calls by name."""
    names = {
        node.name: (module, node.name) for node in tree.body if isinstance(node, ast.FunctionDef)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {name.asname or name.name: (node.module, name.name) for name in node.names}
    called = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            of = [part.func for part in ast.walk(node) if isinstance(part, ast.Call)]
            called[node.name] = {
                names[f.id] for f in of if isinstance(f, ast.Name) and f.id in names
            }
            # a function of an imported module
            called[node.name] |= {
                (".".join(names[f.value.id]), f.attr)
                for f in of
                if isinstance(f, ast.Attribute) and isinstance(f.value, ast.Name)
                if f.value.id in names
            }
    return called


def raised(node: ast.AST) -> set[str]:
    """The errors of the project that a function raises itself."""
    statements = [part.exc for part in ast.walk(node) if isinstance(part, ast.Raise) and part.exc]
    return {
        part.id for exc in statements for part in ast.walk(exc) if isinstance(part, ast.Name)
    } & ERRORS


def caught(node: ast.AST) -> set[str]:
    """The errors that a function catches somewhere: all of them, where it catches their base."""
    types = [part.type for part in ast.walk(node) if isinstance(part, ast.ExceptHandler)]
    names = set(re.findall(r"\w+", " ".join(ast.unparse(each) for each in types if each)))
    return ERRORS if "VitcostError" in names else names


def unnamed_errors(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """The errors that a public function raises, or that it does not catch of a function of the same
    folder, and that its docstring does not name."""
    trees = {module: ast.parse(source) for module, source in sources.items()}
    nodes = {
        (module, node.name): node
        for module, tree in trees.items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }
    called = {m: calls(m, tree) for m, tree in trees.items()}
    errors = {key: raised(node) for key, node in nodes.items()}
    grown = True
    while grown:
        before = sum(map(len, errors.values()))
        for (module, name), node in nodes.items():
            for other in called[module][name] & errors.keys():
                errors[module, name] |= errors[other] - caught(node)
        grown = before < sum(map(len, errors.values()))
    unnamed = {}
    for module, source in sources.items():
        for name, node in public(source).items():
            text = ast.get_docstring(node) or ""
            if "VitcostError" not in text:
                known = {error for error in ERRORS if error in text} | NEVER.get(name, set())
                unnamed[name] = errors[module, name] - known
    return {name: each for name, each in unnamed.items() if each}


@pytest.mark.parametrize("folder", NUMBERS)
def test_a_docstring_names_the_errors_of_its_function(folder: str) -> None:
    paths = sorted((ROOT / folder).rglob("*.py"))
    named = {f"vitcost.{dotted(path)}".removesuffix(".__init__"): path for path in paths}
    assert unnamed_errors({module: path.read_text("utf-8") for module, path in named.items()}) == {}


def classes(folder: str) -> Iterator[type]:
    """The public classes of a folder."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        module = import_module(f"vitcost.{dotted(path)}".removesuffix(".__init__"))
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if isinstance(value, type) and value.__module__ == module.__name__:
                yield value


def texts(owner: type, name: str) -> str:
    """The docstrings of a method: its own, and those of the methods that it overrides."""
    each = [vars(base).get(name) for base in owner.__mro__]
    return "\n".join(filter(None, (getattr(method, "__doc__", None) for method in each)))


def undescribed(owner: type) -> dict[str, set[str]]:
    """The public methods of a class without a docstring, each with the errors that it raises and
    that no docstring of its class or of a base names."""
    lacks = {}
    for name, method in vars(owner).items():
        code = getattr(method, "fget", None) or getattr(method, "func", None) or method
        if name.startswith("_") or not isfunction(code) or code.__module__ != owner.__module__:
            continue
        tree = ast.parse(dedent(getsource(code)))
        text = texts(owner, name)
        known = text + "".join(base.__doc__ or "" for base in owner.__mro__)
        unnamed = {error for error in raised(tree) if error not in known}
        if unnamed or not text:
            lacks[f"{owner.__name__}.{name}"] = unnamed
    return lacks


@pytest.mark.parametrize("folder", NUMBERS)
def test_every_public_method_has_a_docstring_that_names_its_errors(folder: str) -> None:
    assert [lacks for each in classes(folder) if (lacks := undescribed(each))] == []


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
    assert unnamed_errors({"m": planted.format("Says.")}) == {"f": {"ConfigError"}}
    assert unnamed_errors({"m": planted.format("Says. Raises ``ConfigError``.")}) == {}
    assert unnamed_errors({"m": planted.format("Says. Raises ``VitcostError``.")}) == {}
    of_numbers = '__all__ = ["f"]\ndef f(x: "int | None", n_bytes: int, y: str):\n    """{}"""'
    assert unnamed_numbers(of_numbers.format("Says.")) == {"f": ["x"]}
    assert unnamed_numbers(of_numbers.format("Seconds of ``x`` images.\n>>> f(1)")) == {}
    assert unnamed_numbers(of_numbers.format("Says.\n>>> f(x=1)")) == {"f": ["x"]}
    assert unnamed_numbers(of_numbers.format("Says."), "x images") == {}
    assert without_formula_or_source(planted.format("Params: ``4h²``.")) == ["f"]
    assert without_formula_or_source(planted.format("Params. Kaplan 2020.")) == ["f"]
    assert without_formula_or_source(planted.format("Params: ``4h²``. Kaplan 2020.")) == []


def test_a_planted_error_of_another_function_is_found() -> None:
    helper = 'def g():\n    raise refused or NotCovered("no")'
    caller = '__all__ = ["f"]\nfrom b import g\ndef f():\n    """Says."""\n    {}'
    plain = caller.format("return g()")
    assert unnamed_errors({"a": plain, "b": helper}) == {"f": {"NotCovered"}}
    assert unnamed_errors({"a": plain}) == {}
    of_module = plain.replace("from b import g", "from x import b").replace("g()", "b.g()")
    assert unnamed_errors({"a": of_module, "x.b": helper}) == {"f": {"NotCovered"}}
    catches = caller.format("try:\n        g()\n    except {}:\n        pass")
    assert unnamed_errors({"a": catches.format("VitcostError"), "b": helper}) == {}
    assert unnamed_errors({"a": catches.format("ConfigError"), "b": helper}) != {}


class Planted:
    """A class whose ``at`` raises ``ConfigError``."""

    def at(self) -> None:
        raise ConfigError("no")

    @property
    def total(self) -> int:
        """The sum."""
        raise NotCovered("no")


class Overridden(Planted):
    def at(self) -> None:
        """Says."""
        raise ConfigError("no")

    @property
    def total(self) -> int:
        return 0


def test_a_planted_method_is_found() -> None:
    assert undescribed(Planted) == {"Planted.at": set(), "Planted.total": {"NotCovered"}}
    assert undescribed(Overridden) == {}
