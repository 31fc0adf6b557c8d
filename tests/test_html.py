"""HTML: well formed, the numbers of the JSON, folds that nest, nothing that runs or loads."""

import re
from html.parser import HTMLParser
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vitcost
from vitcost.check.differences import CheckResult
from vitcost.page import Bar, Bars, Column, Page, Row, Table, Value
from vitcost.planner.budget import BudgetResult
from vitcost.render import render
from vitcost.render.html import fragment
from vitcost.render.marks import bar
from vitcost.render.mathml import mathml

BASE = "vit_base_patch16_224"
VOID = {"meta"}
BESIDE = ("workspace", "context", "slack")
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "div", "h1", "h2", "p", "table", "thead",
    "tbody", "tr", "th", "td", "span", "details", "summary", "section", "b", "i",
    "svg", "rect", "path", "math", "mrow", "mi", "mn", "mo", "msup", "msub", "mfrac",
    "mtext",
}  # fmt: skip


class Sample(NamedTuple):
    """A result that is nothing but its page."""

    a_page: Page

    def to_dict(self) -> dict[str, Any]:
        return {}

    def rows(self) -> list[dict[str, Any]]:
        return []

    def page(self) -> Page:
        return self.a_page


class Read(HTMLParser):
    """The rows of a page, each with the open folds around it; fails where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[tuple[int, list[str]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)
        if tag == "tr" or "row" in (dict(attrs).get("class") or "").split():
            self.rows.append((self.stack.count("details") - (tag == "summary"), []))
        if tag in ("td", "th", "span"):
            self.rows[-1][1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.stack:
            self.text += data
        if self.stack and self.stack[-1] in ("td", "th", "span"):
            self.rows[-1][1][-1] += data


def cells(read: Read, first: str) -> list[str]:
    return next(cells for _, cells in read.rows if cells[0] == first)


def a_page(text: str, *rows: Row) -> Sample:
    columns = (Column(text), Column("×", "count"), Column("n", "count"))
    return Sample(Page(text, (text,), (Table(text, columns, rows, (text,)),), (text,)))


def test_the_numbers_are_those_of_the_json() -> None:
    report = vitcost.report(BASE, batch=2)
    read = Read(render(report, "html"))
    data = report.to_dict()
    blocks = next(layer for layer in data["layers"] if layer["path"] == "blocks.0")
    row = cells(read, "blocks.0–11")
    assert row[1:3] == [blocks["type"], "12"]
    assert row[4] == f"{blocks['params']:,}"
    # a block of width 768: 12 h² + 13 h
    assert row[4] == f"{12 * 768**2 + 13 * 768:,}"
    assert cells(read, "total")[2] == f"{data['params']['total']:,}"
    assert cells(read, "forward")[3] == f"{data['flops']['forward']:,}"


def test_every_layer_is_there_inside_its_parent() -> None:
    report = vitcost.report(BASE)
    read = Read(render(report, "html"))
    depth = {cells[0]: depth for depth, cells in read.rows}
    assert (depth["blocks.0–11"], depth["attn"], depth["qkv"]) == (0, 1, 2)
    table = report.page().tables[-1]
    # a header and the rows
    shown = [cells for _, cells in read.rows][-len(table.rows) :]
    assert [cells[0] for cells in shown] == [row.cells[0] for row in table.rows]


def test_what_a_flat_table_shows_is_open() -> None:
    inner = Row(("b", 1, 1), level=1), Row(("c", 1, 1), level=2, detail=True)
    details = [a for tag, a in Read(render(a_page("t", Row(("a", 1, 1)), *inner), "html")).tags
               if tag == "details"]  # fmt: skip
    assert ["open" in each for each in details] == [True, False]


@pytest.mark.parametrize(
    ("rows", "shares"),
    [
        # 2 · 30 of 100, and inside it 2 · 10; 40 of 100
        (
            (
                Row(("run", 2, 30)),
                Row(("in", 1, 10), level=1),
                Row(("x", 1, 40)),
                Row(("total", "", 100), "total"),
            ),
            ["60.00%", "20.00%", "40.00%"],
        ),
        # nothing to be a share of
        ((Row(("a", 1, 30)), Row(("b", 1, 70))), []),
        ((Row(("a", 1, 0)), Row(("total", "", 0), "total")), []),
    ],
)
def test_bars_are_shares_of_the_total(rows: tuple[Row, ...], shares: list[str]) -> None:
    styles = [attrs.get("style") or "" for _, attrs in Read(fragment(a_page("t", *rows))).tags]
    assert [m[1] for style in styles if (m := re.search(r"--share: ([\d.]+%)", style))] == shares


def stacks(text: str) -> list[list[tuple[str, str]]]:
    """The segments of each stacked bar: what it says, and its length."""
    bars: list[list[tuple[str, str]]] = []
    for tag, attrs in Read(text).tags:
        if attrs.get("class") == "stack":
            bars.append([])
        elif tag == "i" and (match := re.search(r"width: ([\d.]+%)", attrs.get("style") or "")):
            bars[-1].append((attrs["title"] or "", match[1]))
    return bars


def test_where_a_total_goes() -> None:
    # in two runs of 2 and of 3 blocks 2 · 30 + 3 · 10 = 90 of 100 are "attn"
    rows = (
        Row(("run", 2, 32)),
        Row(("attn", 1, 30), level=1),
        Row(("hidden", 1, 30), level=2, detail=True),
        Row(("run", 3, 11)),
        Row(("attn", 1, 10), level=1),
        Row(("head", 1, 3)),
        Row(("total", "", 100), "total"),
    )
    out = fragment(a_page("t", *rows))
    assert stacks(out) == [[("attn 90.0 %", "90.00%"), ("head 3.0 %", "3.00%")]]
    # 2 · 2 + 3 · 1 of the runs' own
    assert ">rest<" in out
    # nothing to be a part of
    assert stacks(fragment(a_page("t", *rows[:-1]))) == []


def test_where_a_models_parameters_go() -> None:
    params, *_ = stacks(fragment(vitcost.report(BASE)))
    h, L = 768, 12
    total = 86_567_656
    wanted = {
        "patch_embed": 768 * h + h,
        "attn": L * (4 * h * h + 4 * h),
        "mlp": L * (8 * h * h + 5 * h),
    }
    assert {f"{name} {100 * n / total:.1f} %" for name, n in wanted.items()} <= {
        said for said, _ in params
    }


def test_memory_is_a_bar_against_the_card_and_time_one_by_part() -> None:
    report = vitcost.report(BASE, batch=8, mode="train", gpu=["l4", "t4"])
    memory, time = report.page().bars
    assert (memory.title, time.title) == ("Memory against the card", "Time by part")
    parts = report.training.peak_parts
    assert parts is not None
    for mark, card in zip(memory.bars, report.time, strict=True):
        beside = card.beside
        assert beside is not None
        tensors = sum(value for name, value in mark.segments if name not in BESIDE)
        assert tensors == sum(parts) == report.training.peak_bytes
        # both have 24 and 16 GiB, as their sheets say
        assert mark.limit == {"l4": 24, "t4": 16}[card.gpu] * 2**30
        assert mark.limit == tensors + beside.total_bytes + (card.headroom_bytes or 0)
    for mark, card in zip(time.bars, report.time, strict=True):
        assert sum(value for _, value in mark.segments) == pytest.approx(card.seconds)
    read = Read(fragment(report))
    bars = [attrs for tag, attrs in read.tags if tag == "rect" and attrs["height"] == "10"]
    widths = [float(attrs["width"] or 0) for attrs in bars]
    assert len(widths) > 20
    assert all(0 <= width <= 100 for width in widths)
    # each says in words what it shows
    labels = [attrs.get("aria-label") or "" for tag, attrs in read.tags if tag == "svg"]
    assert labels[0].startswith("l4, a step's peak: ")
    assert labels[0].endswith(" of 24.0 GiB")


def test_a_bar_that_is_longer_than_its_limit_shows_it() -> None:
    mark = Bar("b", "bytes", (("a", 30), ("c", 90)), 60)
    out = "".join(bar(mark, ["a", "c"]))
    assert [float(w) for w in re.findall(r' width="([\d.]+)"', out)] == [25, 75, 0.6]
    # 60 of 120
    assert 'class="limit" x="50.000"' in out
    assert "".join(bar(Bar("b", "bytes", ()), [])).count("<rect") == 0


@pytest.mark.parametrize("text", ["<script>", "a&b", "' onload='x", "\u202e", "##[error]"])
def test_nothing_in_a_bar_is_taken_for_markup(text: str) -> None:
    mark = Bars(text, (Bar(text, "count", ((text, 1),), 2),))
    read = Read(fragment(Sample(Page("", bars=(mark,)))))
    assert {tag for tag, _ in read.tags} <= ALLOWED
    assert not any(name.startswith("on") for _, attrs in read.tags for name in attrs)


def test_differences_are_called_so() -> None:
    out = fragment(vitcost.compare(BASE, "vit_large_patch16_224", why=True))
    assert f"<h2>Where vit_large_patch16_224 costs more than {BASE}</h2>" in out
    assert "Where it goes" not in out


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("12*h**2 + 13*h", "12⋅h2+13⋅h"),
        ("b*(s + 1)*h", "b⋅(s+1)⋅h"),
        ("a - (b + c)", "a−(b+c)"),
        ("s // 2 + h/a", "⌊s2⌋+ha"),
        ("(b*s)**2", "(b⋅s)2"),
        ("Max(4*b*a*s32, 8)", "Max(4⋅b⋅a⋅s32,8)"),
        ("1,280*h", "1,280⋅h"),
        ("-h", "−h"),
    ],
)
def test_a_formula_is_math(formula: str, said: str) -> None:
    math = mathml(formula)
    assert math is not None
    read = Read(math)
    assert read.text == said
    assert {tag for tag, _ in read.tags} <= ALLOWED


ODD = [
    "(" * 300,
    "a" * 9999,
    "__import__('os')",
    "[1]",
    "x<y",
    "O(n²d)",
    "1e999",
    "h**" * 99 + "h",
    "A.A",
]


@given(st.text(max_size=40) | st.sampled_from(ODD))
def test_what_is_no_formula_stays_text(text: str) -> None:
    math = mathml(text)
    if math is not None:
        assert {tag for tag, _ in Read(math).tags} <= ALLOWED


def test_an_explanation_is_math_on_a_page_and_text_in_a_pipe() -> None:
    found = vitcost.explain(BASE, "params")
    out = fragment(found)
    assert "<msup><mi>p</mi><mn>2</mn></msup>" in out
    assert "**" not in out
    text = render(found)
    assert "\n  c*p**2*h + " in text
    assert "\n= 86,567,656\n" in text


def test_a_ratio_is_its_own_bar() -> None:
    rows: tuple[tuple[Value, ...], ...] = (("a", 0.125), ("b", None), ("c", 0.0))
    table = Table("", (Column(""), Column("share", "ratio")), tuple(map(Row, rows)))
    text = render(Sample(Page("", tables=(table,))), "html")
    assert text.count("--share: ") == text.count("--share: 12.50%") == 1


@given(
    st.text()
    | st.sampled_from(
        [
            "</td><script>alert(1)</script>",
            "'\"><img src=x onerror=alert(1)>",
            "</style></title><b>",
            "&lt;&amp;",
            "\u202eevil",
            "\ud800",
            "x" * 5000,
        ]
    )
)
def test_nothing_in_a_text_is_taken_for_markup(text: str) -> None:
    rows = Row((text, 1, 2)), Row((text, 1, 2), level=1), Row((text, 1, 2), "total")
    for some in (rows, rows[::2]):
        out = render(a_page(text, *some), "html")
        assert all(c.isprintable() or c == "\n" for c in out)
        read = Read(out)
        assert {tag for tag, _ in read.tags} <= ALLOWED
        names = {name for _, attrs in read.tags for name in attrs}
        assert names <= {
            "class",
            "style",
            "open",
            "lang",
            "charset",
            "tabindex",
            "http-equiv",
            "content",
            "name",
            "title",
        }
        if text.isprintable():
            assert read.rows[-1][1] == [text, "1", "2"]


def test_it_loads_and_runs_nothing() -> None:
    out = render(vitcost.report(BASE), "html")
    assert "default-src 'none'" in out
    for word in ("<script", "<link", "<img", "<iframe", "url(", "@import", "http:", "https:"):
        assert word not in out
    assert "prefers-color-scheme: dark" in out
    assert 'name="viewport"' in out


def test_its_style_touches_nothing_else_on_a_page() -> None:
    out = fragment(vitcost.report(BASE))
    style = out[out.index("<style>") : out.index("</style>")]
    rules = [line for line in style.splitlines() if "{" in line and not line.startswith("@media")]
    assert rules
    for line in rules:
        selectors = line.partition("{")[0].split(",")
        assert all(each.strip().startswith(".vitcost") for each in selectors)


@pytest.mark.parametrize(
    "result",
    [
        vitcost.report(BASE),
        vitcost.models("huge"),
        vitcost.explain(BASE, "params"),
        BudgetResult(()),
        CheckResult((), {}),
    ],
    ids=lambda result: type(result).__name__,
)
def test_a_notebook_shows_every_result(result: Any) -> None:
    assert result._repr_html_() == fragment(result)
