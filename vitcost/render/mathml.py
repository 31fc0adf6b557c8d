"""MathML: a formula in the spelling of ``explain``, for a browser without scripts."""

import ast
import re
from html import escape

__all__ = ["is_sum", "mathml", "parsed"]

_DEEPEST = 60
# a comma between groups of digits, as in 1,000
_GROUPS = re.compile(r"(?<=\d),(?=\d{3}(?:\D|$|,))")
_SIGNS: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "−", ast.Mult: "⋅", ast.Mod: "mod"}


def mathml(formula: str, *, display: str = "inline") -> str | None:
    """MathML of a formula with ``+ - * / // **``, names, numbers and calls; None for any other
    text.

    >>> mathml("h**2")
    '<math display="inline"><msup><mi>h</mi><mn>2</mn></msup></math>'
    >>> mathml("text.V")
    '<math display="inline"><msub><mi>V</mi><mtext>text</mtext></msub></math>'
    >>> mathml("p_h")
    '<math display="inline"><msub><mi>p</mi><mi>h</mi></msub></math>'
    >>> mathml("O(n²d)") is None
    True
    """
    tree = parsed(formula)
    try:
        return None if tree is None else f'<math display="{display}">{_node(tree, 0)}</math>'
    except ValueError:
        return None


def parsed(formula: str) -> ast.expr | None:
    """The syntax tree of a formula that Python can read, if it is not deeper than a page can show;
    else None."""
    try:
        tree = ast.parse(_GROUPS.sub("", formula), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    level: list[ast.AST] = [tree]
    for _ in range(_DEEPEST * 2):
        level = [inner for node in level for inner in ast.iter_child_nodes(node)]
    return None if level else tree


def _node(node: ast.expr, depth: int) -> str:
    """An expression inside another, with brackets where precedence needs them."""
    if depth > _DEEPEST:
        raise ValueError("too deep for a page")
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return f"<mn>{node.value:,}</mn>"
    if isinstance(node, ast.Name):
        return _name(node.id)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        # the same letter for the other tower
        return f"<msub>{_name(node.attr)}<mtext>{escape(node.value.id)}</mtext></msub>"
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return f"<mrow><mo>−</mo>{_node(node.operand, depth + 1)}</mrow>"
    if isinstance(node, ast.BinOp):
        return _binary(node, depth + 1)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        inside = "<mo>,</mo>".join(_node(each, depth + 1) for each in node.args)
        return f"<mrow>{_name(node.func.id)}<mo>(</mo>{inside}<mo>)</mo></mrow>"
    raise ValueError(f"no formula has a {type(node).__name__}")


def _binary(node: ast.BinOp, depth: int) -> str:
    left, right = _node(node.left, depth), _node(node.right, depth)
    if isinstance(node.op, ast.Pow):
        base = (
            left
            if isinstance(node.left, ast.Name | ast.Attribute | ast.Constant)
            else _bracketed(left)
        )
        return f"<msup>{base}{right}</msup>"
    if isinstance(node.op, ast.Div):
        return f"<mfrac>{left}{right}</mfrac>"
    if isinstance(node.op, ast.FloorDiv):
        return f"<mrow><mo>⌊</mo><mfrac>{left}{right}</mfrac><mo>⌋</mo></mrow>"
    sign = _SIGNS.get(type(node.op))
    if sign is None:
        raise ValueError(f"no formula has a {type(node.op).__name__}")
    if isinstance(node.op, ast.Mult | ast.Mod):
        left = _bracketed(left) if is_sum(node.left) else left
        right = _bracketed(right) if is_sum(node.right) else right
    elif isinstance(node.op, ast.Sub) and is_sum(node.right):
        right = _bracketed(right)
    return f"<mrow>{left}<mo>{sign}</mo>{right}</mrow>"


def is_sum(node: ast.expr) -> bool:
    """Whether an expression is a sum or a difference, which needs brackets inside a product."""
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub)


def _bracketed(inner: str) -> str:
    return f"<mrow><mo>(</mo>{inner}<mo>)</mo></mrow>"


def _name(name: str) -> str:
    """A letter of the paper; digits after it, or a letter after an underscore, are an index."""
    first, line, second = name.partition("_")
    if line and len(first) == len(second) == 1 and second.isalpha():
        return f"<msub><mi>{escape(first)}</mi><mi>{escape(second)}</mi></msub>"
    letter = name.rstrip("0123456789_")
    index = name[len(letter) :].strip("_")
    if letter and index:
        return f"<msub><mi>{escape(letter)}</mi><mn>{index}</mn></msub>"
    return f"<mi>{escape(name)}</mi>"
