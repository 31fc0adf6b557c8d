"""Lines of the package without its tables: ``python tests/bench/lines.py [FOLDER ...]``.

A table is a literal, or calls of literals, that a module assigns over five lines or more. The other
lines are code, words (docstrings and comments) or blank.
"""

import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2] / "vitcost"
TABLE_LINES = 5  # of an assignment that is a table


def count(root: Path) -> Counter[str]:
    """The lines of every module under a folder, by kind: table, code, words, blank."""
    total: Counter[str] = Counter()
    for path in sorted(root.rglob("*.py")):
        total.update(kinds(path.read_text(encoding="utf-8")).values())
    return total


def kinds(source: str) -> dict[int, str]:
    """The kind of each line of a source."""
    tree = ast.parse(source)
    lines = source.splitlines()
    kind = {i: "code" if line.strip() else "blank" for i, line in enumerate(lines, 1)}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and token.line.lstrip().startswith("#"):
            kind[token.start[0]] = "words"
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            kind.update(dict.fromkeys(_lines(node), "words"))
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and _is_table(node):
            kind.update(dict.fromkeys(_lines(node), "table"))
    return kind


def _is_table(node: ast.Assign | ast.AnnAssign) -> bool:
    loops = ast.Lambda, ast.comprehension, ast.IfExp
    return len(_lines(node)) >= TABLE_LINES and not any(
        isinstance(n, loops) for n in ast.walk(node)
    )


def _lines(node: ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


if __name__ == "__main__":
    for folder in [Path(name) for name in sys.argv[1:]] or [ROOT]:
        found = count(folder)
        rest = found.total() - found["table"]
        print(f"{folder}: {rest:,} lines without tables: " + ", ".join(
            f"{found[kind]:,} {kind}" for kind in ("code", "words", "blank")
        ) + f"; {found['table']:,} of tables")  # fmt: skip
