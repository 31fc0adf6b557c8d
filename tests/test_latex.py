"""LaTeX is read by a parser: tables have the columns that they declare, formulas the numbers.

``tests/bench/latex.py`` sets the same tables and formulas with pdflatex.
"""

import re
from collections.abc import Iterator

import pytest
from results_support import RESULTS

import vitcost
from vitcost.cli import run
from vitcost.errors import ConfigError
from vitcost.pages.shaped import Shaped
from vitcost.render import render
from vitcost.render.tex import aligned, tex

Captured = pytest.CaptureFixture[str]
TINY, BASE, LARGE = (f"vit_{size}_patch16_224" for size in ("tiny", "base", "large"))
TABLE = re.compile(r"\\begin\{tabular\}\{([lr]*)\}\n(.*?)\\end\{tabular\}", re.DOTALL)
RULES = (r"\toprule", r"\midrule", r"\bottomrule")


def tables(text: str) -> list[list[list[str]]]:
    """The rows of every table, checked: rules, columns, brackets, dollars."""
    found = []
    for sides, body in TABLE.findall(text):
        assert sides
        lines = body.splitlines()
        assert lines[0] == r"\toprule"
        assert lines[-1] == r"\bottomrule"
        assert lines.count(r"\bottomrule") == 1
        rows = []
        for line in lines:
            if line in RULES:
                continue
            assert line.endswith(r" \\")
            cells = re.split(r"(?<!\\) & ", line.removesuffix(r" \\"))
            assert len(cells) == len(sides), line
            for cell in cells:
                balanced(cell)
            rows.append(cells)
        found.append(rows)
    # nothing is left open
    assert (
        text.count(r"\begin{") == text.count(r"\end{") == len(found) + text.count(r"\begin{align*}")
    )
    return found


def balanced(text: str) -> None:
    """Each bracket is closed, and each formula."""
    bare = re.sub(r"\\[{}$%&#_]", "", text)
    depth = 0
    for sign in bare:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0, text
    assert depth == 0, text
    assert bare.count("$") % 2 == 0, text
    assert bare.count(r"\left") == bare.count(r"\right"), text


def lines_of(align: str) -> Iterator[str]:
    """The lines of an ``align*`` environment, each balanced."""
    first, *lines, last = align.splitlines()
    assert (first, last) == (r"\begin{align*}", r"\end{align*}")
    for i, line in enumerate(lines):
        assert line.endswith(r" \\") == (i < len(lines) - 1)
        balanced(line)
        yield line


@pytest.mark.parametrize("name", RESULTS)
def test_every_result_is_read(name: str) -> None:
    found = tables(render(RESULTS[name](), "latex"))
    assert found or name == "throughput"


def test_a_papers_table_has_its_columns_its_names_and_its_units(capsys: Captured) -> None:
    named = ("model=Model", "macs=MACs (G)", "params=Params (M)")
    args = ["compare", TINY, BASE, LARGE, "--quantities", "params,macs"]
    assert run([*args, "--columns", ",".join(named), "--format", "latex"]) == 0
    ((head, *rows),) = tables(capsys.readouterr().out)
    assert head == ["Model", "MACs (G)", "Params (M)"]
    for name, row in zip((TINY, BASE, LARGE), rows, strict=True):
        report = vitcost.report(name)
        assert row[0].replace("\\", "") == name
        macs, params = report.flops.macs_forward / 1e9, report.params / 1e6
        assert abs(float(row[1]) - macs) < 0.006 * macs
        assert abs(float(row[2]) - params) < 0.006 * params


def test_columns_are_named_and_ordered_in_every_table() -> None:
    page = Shaped(vitcost.report(TINY), columns=("macs=x", "params = y (k)", "part")).page()
    (parts, *_) = page.tables
    assert [column.title for column in parts.columns] == ["part", "x", "y (k)"]
    # a row a part, then the total
    assert parts.columns[2].scale is not None
    assert parts.columns[2].scale.factor == 1000
    budget = RESULTS["budget"]()
    with pytest.raises(ConfigError, match="rows have units of their own"):
        Shaped(budget, columns=("value=v (M)",)).page()
    assert Shaped(budget, columns=("value=v",)).page().tables[0].columns[1].title == "v"


@pytest.mark.parametrize("quantity", ["params", "train_memory", "complexity", "pointwise"])
def test_an_explanation_is_aligned_and_ends_with_its_number(quantity: str) -> None:
    found = vitcost.explain(TINY, quantity, latex=True)
    lines = list(lines_of(found.latex or ""))
    if quantity == "complexity":
        assert len(lines) == 12
        assert all(line.count("&") == 3 for line in lines)
        return
    assert lines[-1] == f"&= {found.value:,}".replace(",", "{,}")
    assert sum(line.startswith("&= ") for line in lines) == 2
    # letters, then numbers: nothing of a formula is lost
    for formula in (found.formula, found.substituted):
        for term in formula.split(" + ")[:3]:
            inner = tex(term)
            assert inner is None or any(inner in line for line in lines)


def test_formulas_of_every_kind() -> None:
    assert tex("(a + b)*c - (d - e)") == r"\left(a + b\right) c - \left(d - e\right)"
    assert tex("ceiling(s/r)*p_h//2 + Φ**2") == (
        r"\left\lfloor \frac{\left\lceil \frac{s}{r} \right\rceil p_{h}}{2} \right\rfloor "
        r"+ \Phi^{2}"
    )
    assert tex("s32*text_s*kept*H1") == r"s_{32} s_{\mathrm{text}} \mathrm{kept} H_{1}"
    assert tex("f(x)") == r"\operatorname{f}\left(x\right)"
    assert tex("a; b") is tex("a[0]") is tex("__import__('os').x") is None
    long = aligned([" + ".join(["b*s*h**2"] * 30), "5"])
    assert max(map(len, (long or "").splitlines())) < 100
