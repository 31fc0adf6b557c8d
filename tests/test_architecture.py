"""Imports point one way, heavy packages stay behind their doors, ``__all__`` is what it says."""

import importlib
import pkgutil
import shutil
from pathlib import Path

import imports
import pytest

import vitcost

ROOT = Path(vitcost.__file__).parent

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


def heavy(source: str, relative: str) -> list[str]:
    """Heavy packages that a file imports where it must not; for types alone any file may."""
    wrong = []
    for name, when in imports.imported(source, "vitcost"):
        top = name.partition(".")[0]
        allowed = any(relative.startswith(place) for place in HEAVY.get(top, {relative}))
        if when != "types" and not allowed:
            wrong.append(f"{relative} imports {top}")
    return wrong


def faults(root: Path) -> list[str]:
    """Circles of imports and imports that run up, in a package or in a copy of it."""
    found = imports.arrows(root)
    rings = [" <-> ".join(ring) for ring in imports.circles(found)]
    rising = [f"{a.module} imports {a.imports} ({a.when})" for a in imports.upward(found)]
    return rings + rising


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_heavy_package_stays_behind_its_door(path: Path) -> None:
    assert heavy(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))) == []


def test_every_room_has_its_place() -> None:
    rooms = {imports.room(module) for module in imports.modules(ROOT)}
    assert rooms == set(imports.ROOMS)


def test_imports_point_one_way() -> None:
    """No circle, and none that runs up: when a function runs, for types, and inside folders too."""
    assert faults(ROOT) == []


def test_the_house_is_narrow_and_low() -> None:
    """A listing of the package is read at one look, and a chain of rooms as well."""
    found = imports.arrows(ROOT)
    assert len(imports.ROOMS) <= 21
    assert len(imports.chain(found)) <= 11


def repeated(root: Path) -> set[str]:
    """Names that more than one module of a package has, in whatever folders."""
    names = [path.stem for path in root.rglob("*.py") if path.stem != "__init__"]
    return {name for name in names if names.count(name) > 1}


def test_a_name_is_of_one_module(tmp_path: Path) -> None:
    """A line of a stack trace and a result of a search tell a module by its name alone."""
    assert repeated(ROOT) == set()
    for folder in ("engine", "planner"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "step.py").touch()
    assert repeated(tmp_path) == {"step"}


@pytest.mark.parametrize(
    ("file", "planted", "found"),
    [
        (
            "engine/ops.py",
            "from vitcost.engine.tree import Node",
            "vitcost.engine.ops <-> vitcost.engine.tree",
        ),
        (
            "zoo/keys.py",
            "def page():\n    from vitcost.zoo.families import FAMILIES",
            "vitcost.zoo.families <-> vitcost.zoo.keys",
        ),
        (
            "planner/need.py",
            "if TYPE_CHECKING:\n    from vitcost.planner.fit import Fit",
            "vitcost.planner.need",
        ),
        (
            "costs/memory.py",
            "def page():\n    from vitcost.cli import run",
            "vitcost.costs.memory imports vitcost.cli (call)",
        ),
        (
            "config/vit_config.py",
            "if TYPE_CHECKING:\n    from vitcost.engine.ops import Op",
            "vitcost.config.vit_config imports vitcost.engine.ops (types)",
        ),
        (
            "engine/live.py",
            "from ..planner import fit",
            "vitcost.engine.live imports vitcost.planner.fit (start)",
        ),
    ],
    ids=["circle", "lazy circle", "circle of types", "lazy upward", "types upward", "relative"],
)
def test_a_planted_import_is_found(tmp_path: Path, file: str, planted: str, found: str) -> None:
    copy = tmp_path / "vitcost"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("__pycache__"))
    assert faults(copy) == []
    with (copy / file).open("a", encoding="utf-8") as source:
        source.write(f"\n\n{planted}\n")
    assert any(found in fault for fault in faults(copy))


def test_a_planted_heavy_import_is_found() -> None:
    assert heavy("def page():\n    import torch", "costs/memory.py") == [
        "costs/memory.py imports torch"
    ]
    assert heavy("if TYPE_CHECKING:\n    import torch", "costs/memory.py") == []


# modules that load others by a name in a table, and what the names begin with
BY_NAME = {
    "__init__.py", "render/result.py", "render/__init__.py", "cli/__init__.py",
    "textbook/__init__.py", "zoo/timm/__init__.py",
}  # fmt: skip
# modules that load what is not of the package: the user's code, timm, an optimizer's class
OTHERS = {"zoo/modules.py", "zoo/tracing.py"}


def loads_by_name(source: str) -> bool:
    return "import_module(" in source or "__import__(" in source


def test_tables_alone_load_modules_by_name() -> None:
    found = {
        str(path.relative_to(ROOT))
        for path in sources()
        if loads_by_name(path.read_text(encoding="utf-8"))
    }
    beside = {name for name in found if name.startswith(("check/", "traced/"))}
    assert found - beside == BY_NAME | OTHERS
    for name in (*OTHERS, *beside):
        assert 'import_module("vitcost' not in (ROOT / name).read_text(encoding="utf-8"), name


# names of what the engine is inside, which nothing above it takes. A network is read back by
# holding it against its declared list
INSIDE = {
    "lower", "fold", "build", "structure_of", "sizes_of", "mode_of", "Mode", "Structure", "Node",
    "inference_trace", "step_trace", "unroll",
}  # fmt: skip
MAY = {
    "zoo/read_backbones.py": {"Node"},
}


def of_the_engine(source: str) -> set[str]:
    """Names of the engine's inside that a source imports."""
    names = (name for name, _ in imports.imported(source, "vitcost"))
    engine = (name.rpartition(".") for name in names if name.startswith("vitcost.engine."))
    return {name for _, _, name in engine} & INSIDE


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_above_the_seam_takes_what_the_engine_is_inside(path: Path) -> None:
    relative = path.relative_to(ROOT)
    # a trace makes workloads too
    if relative.parts[0] not in ("engine", "traced"):
        found = of_the_engine(path.read_text(encoding="utf-8"))
        assert found <= MAY.get(str(relative), set())


def test_a_planted_look_inside_is_found() -> None:
    assert of_the_engine("def f():\n    from vitcost.engine.lower import Mode, lower") == {
        "Mode",
        "lower",
    }


def test_textbook_is_independent() -> None:
    for arrow in imports.arrows(ROOT):
        if imports.room(arrow.module) == "textbook":
            assert imports.room(arrow.imports) in ("textbook", "errors")


def test_all_is_explicit_and_true() -> None:
    for info in pkgutil.walk_packages([str(ROOT)], "vitcost."):
        if info.name.endswith("__main__") or ".check" in info.name:
            continue
        module = importlib.import_module(info.name)
        if not (module.__doc__ or "").strip():
            pytest.fail(f"{info.name} has no docstring")
        for name in getattr(module, "__all__", []):
            assert hasattr(module, name), f"{info.name}.{name}"
