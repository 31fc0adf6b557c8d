"""Comments and docstrings drawn at random: ``python tests/bench/comments.py [SEED] [COUNT]``.

A reader who sees them alone says how many are understood at first reading. A comment is drawn by
the place that it has in its function, and not by its words or its file: the same seed draws the
same places after comments were rewritten and modules were moved.
"""

import ast
import io
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SEED, COUNT = 22, 60


class Comment(NamedTuple):
    """A comment of one or more lines, or the prose of a docstring."""

    file: str
    line: int
    place: str
    text: str


def comments(root: Path = ROOT) -> list[Comment]:
    """Every comment and every docstring of the package."""
    return [
        comment
        for path in sorted((root / "vitcost").rglob("*.py"))
        for comment in _of(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))
    ]


def drawn(found: list[Comment], seed: int = SEED, count: int = COUNT) -> list[Comment]:
    """A sample: the comments whose places have the smallest digests under a seed."""

    def digest(comment: Comment) -> str:
        return sha256(f"{seed} {comment.place}".encode()).hexdigest()

    return sorted(found, key=digest)[:count]


def _of(file: str, source: str) -> Iterator[Comment]:
    scopes = [*_scopes(ast.parse(source))]
    # the first function or class of a module stands for it, as its name may change
    top = f"above {scopes[1].name if len(scopes) > 1 else file}"
    for scope in scopes:
        text = ast.get_docstring(scope.node)
        if text:
            place = f"{scope.name or top}: docstring"
            yield Comment(file, scope.node.body[0].lineno, place, _prose(text))
    numbers: Counter[str] = Counter()
    for line, text in _blocks(source):
        name = [each.name or top for each in scopes if each.first <= line <= each.last][-1]
        numbers[name] += 1
        yield Comment(file, line, f"{name}: {numbers[name]}", text)


class Scope(NamedTuple):
    """A module, a class or a function, and its lines."""

    name: str
    first: int
    last: int
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _scopes(tree: ast.Module) -> Iterator[Scope]:
    """The module itself, its classes and its functions; an inner one behind the one around it."""
    yield Scope("", 1, sys.maxsize, tree)
    yield from _inside(tree, "")


def _inside(around: ast.Module | ast.ClassDef | ast.FunctionDef, name: str) -> Iterator[Scope]:
    for node in around.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            own = f"{name}.{node.name}".lstrip(".")
            yield Scope(own, node.lineno, node.end_lineno or node.lineno, node)
            yield from _inside(node, own)


def _blocks(source: str) -> Iterator[tuple[int, str]]:
    """Comments in lines one below the other are one comment."""
    block: list[tokenize.TokenInfo] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT or token.string.startswith(("# fmt", "# noqa", "# type")):
            continue
        if block and token.start != (block[-1].start[0] + 1, block[-1].start[1]):
            yield _joined(block)
            block = []
        block.append(token)
    if block:
        yield _joined(block)


def _joined(block: list[tokenize.TokenInfo]) -> tuple[int, str]:
    return block[0].start[0], " ".join(token.string.lstrip("# ") for token in block)


def _prose(docstring: str) -> str:
    """A docstring without its example."""
    return " ".join(docstring.partition("\n>>>")[0].split())


if __name__ == "__main__":
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else SEED
    count = int(sys.argv[2]) if len(sys.argv) > 2 else COUNT
    everything = comments()
    print(f"{count} of {len(everything)} comments and docstrings, seed {seed}\n")
    for i, comment in enumerate(drawn(everything, seed, count), 1):
        print(f"{i}. {comment.file}:{comment.line}\n   {comment.text}\n")
