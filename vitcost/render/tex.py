r"""A formula in LaTeX, from the spelling of ``explain``: factors in the paper's order, a dot
between numbers.

``aligned`` makes an ``align*`` environment of a formula, the same with numbers put in, and its
result; it needs only ``\usepackage{amsmath}``.
"""

import ast
from collections.abc import Iterator, Sequence

from vitcost.render.mathml import is_sum, parsed

__all__ = ["aligned", "escaped", "tex"]

# how many letters of a typed formula fit on a line of a paper
_WIDTH = 66
_GREEK = {"Φ": r"\Phi"}
_CALLS = {"ceiling": (r"\left\lceil ", r" \right\rceil"), "log": (r"\log\left(", r"\right)"),
          "O": (r"O\left(", r"\right)")}  # fmt: skip
_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "×": r"$\times$", "·": r"$\cdot$", "–": "--", "—": "---", "→": r"$\to$", "²": "$^2$",
    "³": "$^3$", "Φ": r"$\Phi$", "∝": r"$\propto$", "±": r"$\pm$", "µ": r"$\mu$", "√": r"$\surd$",
    "≈": r"$\approx$", "≤": r"$\le$",
}  # fmt: skip


def escaped(text: str) -> str:
    """Text escaped so that LaTeX prints it unchanged."""
    return "".join(_SPECIAL.get(c, c) for c in text)


def tex(formula: str) -> str | None:
    r"""A formula in LaTeX; None if the text is not a formula.

    >>> tex("L*(12*h**2 + 13*h) + 2*1000"), tex("O(s**2*h)")
    ('L \\left(12 h^{2} + 13 h\\right) + 2 \\cdot 1{,}000', 'O\\left(s^{2} h\\right)')
    """
    node = parsed(formula)
    try:
        return None if node is None else _node(node)
    except ValueError:
        return None


def aligned(formulas: Sequence[str], name: str = "") -> str | None:
    r"""Equal formulas, one below the other; a long sum takes several lines.

    >>> print(aligned(["2*h + K", "2*768 + 1000", "2,536"], "width_2"))
    \begin{align*}
    \text{width\_2} &= 2 h + K \\
    &= 2 \cdot 768 + 1{,}000 \\
    &= 2{,}536
    \end{align*}
    """
    lines: list[str] = []
    for i, formula in enumerate(formulas):
        node = parsed(formula)
        try:
            sums = list(_broken(node)) if node is not None else []
        except ValueError:
            sums = []
        if not sums:
            return None
        head = rf"\text{{{escaped(name)}}} &= " if not i and name else "&= " if i or name else "& "
        lines += [head + sums[0], *(rf"&\quad {{}} + {rest}" for rest in sums[1:])]
    body = " \\\\\n".join(lines)
    return f"\\begin{{align*}}\n{body}\n\\end{{align*}}"


def _broken(node: ast.expr) -> Iterator[str]:
    """A sum split into lines of several terms each."""
    line: list[str] = []
    room = _WIDTH
    for term in _terms(node):
        width = len(ast.unparse(term)) + 3
        if line and width > room:
            yield " + ".join(line)
            line, room = [], _WIDTH
        line.append(_node(term))
        room -= width
    yield " + ".join(line)


def _terms(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from _terms(node.left)
        yield from _terms(node.right)
    else:
        yield node


def _node(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return f"{node.value:,}".replace(",", "{,}")
    if isinstance(node, ast.Name):
        return _name(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return f"-{_node(node.operand)}"
    if isinstance(node, ast.BinOp):
        return _binary(node)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        name = node.func.id
        left, right = _CALLS.get(name, (rf"\operatorname{{{escaped(name)}}}\left(", r"\right)"))
        return left + ", ".join(map(_node, node.args)) + right
    raise ValueError(f"no formula has a {type(node).__name__}")


def _binary(node: ast.BinOp) -> str:
    left, right = _node(node.left), _node(node.right)
    if isinstance(node.op, ast.Pow):
        base = left if isinstance(node.left, ast.Name | ast.Constant) else _bracketed(left)
        return f"{base}^{{{right}}}"
    if isinstance(node.op, ast.Div):
        return rf"\frac{{{left}}}{{{right}}}"
    if isinstance(node.op, ast.FloorDiv):
        return rf"\left\lfloor \frac{{{left}}}{{{right}}} \right\rfloor"
    if isinstance(node.op, ast.Mult):
        left = _bracketed(left) if is_sum(node.left) else left
        right = _bracketed(right) if is_sum(node.right) else right
        # two numbers side by side would be read as one, so a dot separates them
        return f"{left} \\cdot {right}" if right[0].isdigit() else f"{left} {right}"
    if isinstance(node.op, ast.Add | ast.Sub):
        minus = isinstance(node.op, ast.Sub)
        right = _bracketed(right) if minus and is_sum(node.right) else right
        return f"{left} {'-' if minus else '+'} {right}"
    raise ValueError(f"no formula has a {type(node.op).__name__}")


def _bracketed(inner: str) -> str:
    return rf"\left({inner}\right)"


def _name(name: str) -> str:
    """A letter of the paper; the text after it is an index, and a word is set upright."""
    if name in _GREEK:
        return _GREEK[name]
    letter = name.rstrip("0123456789")
    index = name[len(letter) :]
    tower, _, bare = letter.rpartition("_")
    if len(letter) == 1:
        return f"{letter}_{{{index}}}" if index else letter
    if len(tower) == 1 and bare:
        return f"{tower}_{{{bare}{index}}}"
    if len(bare) == 1:
        return rf"{bare}_{{\mathrm{{{escaped(tower)}}}{index}}}"
    return rf"\mathrm{{{escaped(name)}}}"
