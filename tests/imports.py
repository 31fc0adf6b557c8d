"""The import graph of the package, every import counted: ``python tests/imports.py [FOLDER]``.

Prints its rooms (top-level modules and folders), its floors (how many rooms the longest chain of
imports has), the arrows between modules, the circles, and the imports that run up. An import inside
a function and one that is for types alone are arrows too.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1] / "vitcost"

# the rooms in the order of the flow: each may import from those before it, and from itself
ROOMS = (
    "errors", "units", "textbook", "page", "render", "config", "outside", "engine", "traced",
    "zoo", "hardware", "costs", "planner", "formulas", "check", "pages", "web", "__init__",
    "schemas", "cli", "__main__",
)  # fmt: skip


class Arrow(NamedTuple):
    """An import: the module that has it, the module that it names, and when it happens."""

    module: str
    imports: str
    when: str  # start | call: inside a function | types


def modules(root: Path) -> dict[str, Path]:
    """Every module of a package under its dotted name; a folder under that of its ``__init__``."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def arrows(root: Path = ROOT) -> list[Arrow]:
    """Every import of one module of the package by another, each pair and moment once."""
    known = modules(root)
    found = {
        Arrow(name, target, when): None
        for name, path in known.items()
        for target, when in imported(path.read_text(encoding="utf-8"), _package(name, path))
        for target in _modules_of(target, known)
        if target != name
    }
    return list(found)


def imported(source: str, package: str) -> Iterator[tuple[str, str]]:
    """Everything that a source imports, ``module.name`` for each name, and when."""
    tree = ast.parse(source)
    for when, node in _nodes(tree, "start"):
        if isinstance(node, ast.Import):
            yield from ((alias.name, when) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [base])])
            yield from ((f"{base}.{alias.name}", when) for alias in node.names)


def _nodes(node: ast.AST, when: str) -> Iterator[tuple[str, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        inner = when
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            inner = "call" if when == "start" else when
        if (
            isinstance(node, ast.If)
            and child in node.body
            and "TYPE_CHECKING" in ast.unparse(node.test)
        ):
            inner = "types"
        yield inner, child
        yield from _nodes(child, inner)


def _package(name: str, path: Path) -> str:
    return name if path.name == "__init__.py" else name.rpartition(".")[0]


def _modules_of(target: str, known: Mapping[str, Path]) -> Iterator[str]:
    """The module that an import names: ``a.b.c`` may be a module, or a name in ``a.b``."""
    while target and target not in known:
        target = target.rpartition(".")[0]
    if target:
        yield target


def circles(found: list[Arrow]) -> list[tuple[str, ...]]:
    """The strongly connected components with more than one module (Tarjan 1972)."""
    edges: dict[str, list[str]] = {}
    for arrow in found:
        edges.setdefault(arrow.module, []).append(arrow.imports)
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    rings = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in edges.get(name, []):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            at = stack.index(name)
            if len(stack) - at > 1:
                rings.append(tuple(sorted(stack[at:])))
            del stack[at:]

    for name in list(edges):
        if name not in index:
            visit(name)
    return sorted(rings)


def room(module: str) -> str:
    """The top-level module or folder that a module is in."""
    return module.split(".")[1] if "." in module else "__init__"


def upward(found: list[Arrow], rooms: tuple[str, ...] = ROOMS) -> list[Arrow]:
    """The imports of a room that stands later in the flow."""
    rank = {name: i for i, name in enumerate(rooms)}
    return [arrow for arrow in found if rank[room(arrow.imports)] > rank[room(arrow.module)]]


def between(found: list[Arrow]) -> set[tuple[str, str]]:
    """The pairs of rooms of which the first imports from the second."""
    pairs = {(room(arrow.module), room(arrow.imports)) for arrow in found}
    return {pair for pair in pairs if pair[0] != pair[1]}


def chain(found: list[Arrow], rooms: tuple[str, ...] = ROOMS) -> list[str]:
    """The longest chain of rooms of which each imports from the one before it.

    ``rooms`` has the rooms in an order in which no import runs up.
    """
    longest: dict[str, list[str]] = {}
    pairs = between(found)
    for name in rooms:
        below = (longest[other] for other in longest if (name, other) in pairs)
        longest[name] = [*max(below, key=len, default=[]), name]
    return max(longest.values(), key=len)


def main(root: Path) -> None:
    found = arrows(root)
    rings = circles(found)
    rising = upward(found)
    pairs, floors = {arrow[:2] for arrow in found}, chain(found)
    print(f"modules {len(modules(root))}, rooms {len({room(m) for m in modules(root)})}")
    print(f"arrows between modules {len(pairs)}, between rooms {len(between(found))}")
    print(f"floors {len(floors)}: {' -> '.join(floors)}")
    print(f"circles {len(rings)}")
    for ring in rings:
        print("  " + " <-> ".join(ring))
    print(f"upward imports {len(rising)}")
    for arrow in rising:
        print(f"  {arrow.module} imports {arrow.imports} ({arrow.when})")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
