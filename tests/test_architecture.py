"""Imports point one way, heavy packages stay behind their doors, ``__all__`` is what it says."""

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

import vitcost

ROOT = Path(vitcost.__file__).parent

# each layer may import from those before it, and from itself
LAYERS = (
    ("errors", "units", "written", "reading", "users_code"),
    (
        "config",
        "activations",
        "optimizers",
        "rules",
        "codes",
        "backbones",
        "text",
        "fields",
        "arguments",
        "textbook",
        "page",
        "result",
        "scenario",
    ),
    # a renderer knows a page, and no result
    ("render",),
    ("engine",),
    ("traced",),
    ("zoo",),
    (
        "bounded",
        "ranks",
        "memory",
        "stored",
        "thumb",
        "sharding",
        "hardware",
        "summary",
        "formulas",
        "quantities",
        "flags",
        "idle",
    ),
    ("traced_memory",),
    ("reported", "report", "models", "explain", "saved"),
    ("planner", "budget", "budgets", "pages"),
    ("trace_file",),
    ("check",),
    ("schemas",),
    ("cli",),
    ("__main__",),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
# files that may import a layer above them
DOORS: dict[str, str] = {}
# the only places that may name a heavy package, whenever it is imported
HEAVY = {
    "torch": {"check", "zoo/modules.py", "zoo/tracing.py", "traced"},
    "fvcore": {"check"},
    "timm": {"check"},
    "sympy": {"formulas", "engine/ops.py"},
    "numpy": {"engine/ops.py", "hardware", "planner"},
    "pyarrow": {"planner"},
    "matplotlib": {"planner"},
    "scipy": {"hardware"},
    "rich": {"render", "cli"},
}


def sources() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py"))


def imported(path: Path) -> list[tuple[str, bool]]:
    """Every module that a file imports, and whether for types alone."""
    found = []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in typing_only) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            module = node.module
            if module == "vitcost":
                found += [
                    (f"vitcost.{alias.name}", id(node) in typing_only) for alias in node.names
                ]
            else:
                found.append((module, id(node) in typing_only))
    return found


def violations(path: Path, names: list[tuple[str, bool]]) -> list[str]:
    relative = path.relative_to(ROOT)
    own = relative.parts[0].removesuffix(".py")
    wrong = []
    for name, typing_only in names:
        top, _, rest = name.partition(".")
        if top == "vitcost" and rest and own != "__init__":
            other = rest.partition(".")[0]
            door = DOORS.get(str(relative)) == other
            if other in RANK and RANK[other] > RANK[own] and not door:
                wrong.append(f"{relative} imports vitcost.{other}, which stands above it")
        if top in HEAVY and not typing_only:
            allowed = any(str(relative).startswith(place) for place in HEAVY[top])
            if not allowed:
                wrong.append(f"{relative} imports {top}")
    return wrong


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert own == "__init__" or own in RANK, f"{own} has no layer"
    assert violations(path, imported(path)) == []


def test_a_wrong_import_is_found() -> None:
    path = ROOT / "memory.py"
    assert violations(path, [("vitcost.cli", False)])
    assert violations(path, [("torch", False)])
    assert not violations(path, [("torch", True), ("vitcost.errors", False)])


def test_textbook_is_independent() -> None:
    for path in sources():
        if path.relative_to(ROOT).parts[0].startswith("textbook"):
            ours = {name for name, _ in imported(path) if name.startswith("vitcost")}
            assert {n for n in ours if not n.startswith("vitcost.textbook")} <= {"vitcost.errors"}


def test_all_is_explicit_and_true() -> None:
    for info in pkgutil.walk_packages([str(ROOT)], "vitcost."):
        if info.name.endswith("__main__") or ".check" in info.name:
            continue
        module = importlib.import_module(info.name)
        if not (module.__doc__ or "").strip():
            pytest.fail(f"{info.name} has no docstring")
        for name in getattr(module, "__all__", []):
            assert hasattr(module, name), f"{info.name}.{name}"
