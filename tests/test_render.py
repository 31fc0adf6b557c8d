"""The formats: layout, escapes, and tables that add up.

The golden files hold layout alone: digits are replaced, and every number that a page shows is
checked where it is computed. ``UPDATE_GOLDEN=1`` writes them anew.
"""

import csv
import importlib
import io
import json
import os
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

import vitcost
from vitcost import units
from vitcost.cli.output import _encodable
from vitcost.costs.models import models
from vitcost.costs.report_types import Report
from vitcost.errors import UnknownName
from vitcost.page import Column, Page, Row, Table, Value
from vitcost.render import FORMATS, render
from vitcost.render.result import PAGES, Result

GOLDEN = Path(__file__).parent / "golden"
HUGE = "vit_huge_patch14_224"
# what one paint of the table may write, and nothing else
SGR = re.compile(r"\x1b\[[0-9;]*m")


class Sample(NamedTuple):
    """A result that is nothing but what it is given."""

    a_page: Page
    some_rows: tuple[Mapping[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {"title": self.a_page.title, "rows": [dict(row) for row in self.some_rows]}

    def rows(self) -> Iterator[Mapping[str, Any]]:
        return iter(self.some_rows)

    def page(self) -> Page:
        return self.a_page


def sample(text: str) -> Sample:
    """The text wherever a page or a row can hold one."""
    columns = (Column(text), Column(f"{text}2", "count"))
    rows = (Row((text, 1)), Row((text, 2), "total"), Row((text, None), "marked", level=1))
    page = Page(text, (text,), (Table(text, columns, rows, (text,)),), (text,))
    return Sample(page, ({"name": text, text: 1, "other": [text, text]},))


EVERYTHING = Sample(
    Page(
        "a title",
        ("a first line", "a second line that is so long that it does not fit " + 12 * "wide "),
        (
            Table(
                "units",
                (
                    Column("name"),
                    Column("count", "count"),
                    Column("si", "si"),
                    Column("bytes", "bytes"),
                    Column("share", "ratio", optional=True),
                    Column("shape", "shape", optional=True),
                    Column("time", "seconds", optional=True),
                ),
                (
                    Row(("plain", 1234567, 1234567, 1234567, 0.5, (1, 22, 333), 0.5)),
                    Row(("nested", 12, 12, 12, 0.25, (4,), 1e-4), level=1),
                    Row(("hidden", 1, 1, 1, 1.0, (1,), 1.0), detail=True),
                    Row(("空間", 0, 0, 0, 0.0, (0, 0), 7300.0), "marked"),
                    Row(("broken", None, None, None, None, None, None), "failed"),
                    Row(("total", 1234579, 1234579, 1234579, 0.75, "", ""), "total"),
                ),
                ("a note",),
            ),
            Table(
                "quantities in rows",
                (Column(""), Column("one", "count"), Column("other", "count")),
                (
                    Row(("FLOPs", 10**9, 10**12), unit="si"),
                    Row(("memory", 2**30, 2**40), unit="bytes"),
                ),
            ),
            Table("no header", (Column(""), Column("", "count")), (Row(("key", 1)),)),
        ),
        ("the last note",),
    )
)


def golden(name: str, text: str) -> None:
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "format", "width", "color"),
    [
        ("sample_table_40", "table", 40, False),
        ("sample_table_80", "table", 80, False),
        ("sample_table_pipe", "table", None, False),
        ("sample_table_color", "table", 80, True),
        ("sample_markdown", "markdown", None, False),
    ],
)
def test_layout_of_a_page(name: str, format: str, width: int | None, color: bool) -> None:
    golden(name, render(EVERYTHING, format, width=width, color=color))


# a page of each question, on screens of two widths, in a pipe, and where there is only ASCII
SCREENS: Mapping[str, tuple[int | None, str]] = {
    "80": (80, "utf-8"), "120": (120, "utf-8"), "pipe": (None, "utf-8"), "ascii": (80, "ascii"),
}  # fmt: skip
LARGE, BASE = "vit_large_patch16_224", "vit_base_patch16_224"
QUESTIONS: Mapping[str, Callable[[], Result]] = {
    "report": lambda: vitcost.report(
        vitcost.ViTConfig(patch_size=14, embed_dim=1280, depth=32, num_heads=16), batch=64
    ),
    "report_card": lambda: vitcost.report(
        BASE, batch=32, mode="train", precision="amp-bf16", ema=1, depth=13, gpu=["l4", "h100-sxm"]
    ),
    "fit": lambda: vitcost.fit(LARGE, batch=64, mode="train"),
    "fit_card": lambda: vitcost.fit(LARGE, gpu=["t4", "h100-sxm"], require=128, mode="train"),
    "compare": lambda: vitcost.compare(BASE, LARGE, batch=64, gpu="l4", why=True),
    "plan": lambda: vitcost.plan(BASE, samples="384M", gpu="h100-sxm", precision="amp-bf16"),
    "gpus": lambda: vitcost.gpus("h100"),
}


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("name", QUESTIONS)
def test_layout_of_a_question(name: str, screen: str) -> None:
    width, encoding = SCREENS[screen]
    text = _encodable(render(QUESTIONS[name](), width=width), encoding)
    assert text.encode(encoding)
    # a sign may take two letters of ASCII
    room = width and width + 2 * (encoding == "ascii")
    assert room is None or max(cell_len(line) for line in text.splitlines()) <= room
    golden(f"{name}_{screen}", re.sub(r"[0-9]", "0", text))


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("model", [HUGE, "vit_tiny_patch16_224", "vit_large_patch16_384"])
def test_a_report_fits_its_terminal(model: str, width: int) -> None:
    for keywords in ({}, {"batch": 64, "mode": "train", "precision": "amp-bf16"}):
        text = render(vitcost.report(model, **keywords), width=width)
        assert max(cell_len(line) for line in text.splitlines()) <= width


def test_a_narrow_terminal_is_told_what_it_misses() -> None:
    text = render(vitcost.report(HUGE), width=80)
    assert "too narrow to show: share" in text
    lines = render(vitcost.report(HUGE), width=90).splitlines()
    assert any("share" in line and "MACs" in line for line in lines)
    # a ratio is named by what it is of
    text = render(vitcost.compare(BASE, LARGE), width=78)
    assert "too narrow to show: train GiB ×" in text


def test_a_column_has_one_unit() -> None:
    rows = tuple(Row((name, 2**30 * size, 2**power)) for name, size, power in (
        ("a", 1, 3), ("b", 1000, 30), ("c", 24, 40)
    ))  # fmt: skip
    columns = (Column("card"), Column("memory", "bytes"), Column("far apart", "bytes"))
    table = Table("", columns, rows)
    text = render(Sample(Page("t", tables=(table,))), "table").splitlines()
    assert text[2].split() == ["card", "memory", "GiB", "far", "apart"]
    assert [line.split()[1:] for line in text[4:]] == [
        ["1.00", "8", "B"], ["1,000.0", "1.00", "GiB"], ["24.0", "1.00", "TiB"],
    ]  # fmt: skip
    # a row of another unit says its own, and nothing is divided
    other = table._replace(rows=(*rows, Row(("d", 3, 5), unit="count")))
    assert "1,000.0 GiB" in render(Sample(Page("t", tables=(other,))), "table")
    for form in ("html", "markdown", "latex"):
        assert "memory GiB" in render(Sample(Page("t", tables=(table,))), form)


@given(st.lists(st.integers(0, 2**60) | st.floats(1e-9, 1e9), min_size=1))
def test_what_is_shown_in_one_unit_is_the_number_to_three_digits(values: list[int | float]) -> None:
    for kind in ("si", "bytes", "seconds"):
        scale = units.common(values, kind)
        if scale is None:
            continue
        for value in values:
            shown = float(units.scaled(value, scale).replace(",", "")) * scale.factor
            assert abs(shown - value) <= 0.0051 * abs(value)


def test_a_pipe_gets_every_column_on_one_line() -> None:
    lines = render(EVERYTHING, width=None).splitlines()
    assert any(len(line) > 100 for line in lines)
    assert "too narrow" not in "".join(lines)


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_ends_its_last_line(format: str) -> None:
    for result in (vitcost.report(HUGE), models("huge"), EVERYTHING):
        assert render(result, format).endswith("\n")


def test_an_unknown_format_names_the_others() -> None:
    with pytest.raises(UnknownName, match="did you mean json") as error:
        render(EVERYTHING, "jsn")
    assert all(name in str(error.value) for name in FORMATS)


def test_json_is_the_dict() -> None:
    report = vitcost.report(HUGE)
    assert json.loads(render(report, "json")) == report.to_dict()


def test_csv_is_the_rows_in_base_units() -> None:
    report = vitcost.report(HUGE, num_classes=5)
    read = list(csv.DictReader(io.StringIO(render(report, "csv"))))
    assert len(read) == len(list(report.rows()))
    by_path = {row["path"]: row for row in read}
    # 16 x 16 patches of 14 x 14 x 3 to width 1280, two FLOPs a multiply-add
    assert by_path["patch_embed.proj"]["flops"] == str(2 * 256 * 588 * 1280)
    assert by_path["patch_embed.proj"]["output_shape"] == "1x1280x16x16"
    assert by_path["blocks.0"]["paths"] == "blocks.0 blocks.31"
    assert by_path["head"]["params"] == str(5 * 1280 + 5)


def test_csv_of_booleans_floats_and_nothing() -> None:
    rows = ({"a": True, "b": 0.5, "c": None}, {"d": -1})
    assert render(Sample(Page(""), rows), "csv") == "a,b,c,d\ntrue,0.5,,\n,,,-1\n"


# --- tables add up


def results() -> list[Report]:
    scenarios: list[dict[str, Any]] = [
        {},
        {"batch": 7, "mode": "train", "precision": "amp-bf16", "drop_path_rate": 0.1},
        {"batch": 2, "recipe": "megatron-fp16", "dist_token": True, "attention": "eager"},
        # a part that is there in training alone
        {"platform": "cpu", "representation_size": 96, "num_classes": 10, "drop_rate": 0.1},
        {"num_classes": 0, "depth": 1},
    ]
    return [
        vitcost.report(name, **scenario)
        for name in (HUGE, "vit_tiny_patch16_224")
        for scenario in scenarios
    ]


def sums(table: Table, stop: int) -> tuple[list[Value], list[int]]:
    """The total row of a table, and what the rows before it add up to, column by column."""
    repeat = next((i for i, column in enumerate(table.columns) if column.title == "×"), None)
    added = [0] * len(table.columns)
    for row in table.rows[:stop]:
        times = row.cells[repeat] if repeat is not None else 1
        if row.level == 0:
            for i, cell in enumerate(row.cells):
                if isinstance(cell, int):
                    added[i] += cell * (times if isinstance(times, int) else 1)
    return list(table.rows[stop].cells), added


@pytest.mark.parametrize("report", results(), ids=lambda r: f"{r.model.name}-{r.scenario.batch}")
def test_rows_add_up_to_their_total(report: Report) -> None:
    checked = 0
    for table in report.page().tables:
        for stop, row in enumerate(table.rows):
            if row.kind == "total":
                total, added = sums(table, stop)
                for column, whole, sum_ in zip(table.columns, total, added, strict=True):
                    if isinstance(whole, int) and column.title != "×":
                        assert whole == sum_, f"{table.title}: {column.title}"
                        checked += 1
    # parts 5, FLOPs 4, training memory 1, layers 4
    assert checked == 14


def test_shares_add_up_to_one() -> None:
    parts = vitcost.report(HUGE).page().tables[0]
    shares = [row.cells[3] for row in parts.rows]
    assert abs(sum(s for s in shares[:-1] if isinstance(s, float)) - 1) < 1e-12
    assert shares[-1] == 1


def test_a_wrong_total_would_be_seen() -> None:
    table = vitcost.report(HUGE).page().tables[0]
    *rows, last = table.rows
    short = table._replace(rows=(*rows[1:], last))
    total, added = sums(short, len(short.rows) - 1)
    assert total[2] != added[2]


def test_the_page_of_a_report_says_what_the_report_says() -> None:
    report = vitcost.report(HUGE, batch=2, num_classes=5)
    parts, flops, inference, training, rules, layers = report.page().tables
    assert parts.rows[-1].cells[2] == report.params == layers.rows[-1].cells[4] == 630_771_205
    assert flops.rows[0].cells[1:] == (
        report.flops.macs_forward,
        report.flops.forward,
        report.flops.forward,
        report.flops.forward_executed,
    )
    assert flops.rows[2].cells[4] == report.flops.train_step_executed
    assert parts.rows[-1].cells[3:] == (
        1.0,
        report.flops.macs_forward,
        report.flops.forward,
        report.flops.pointwise_forward,
        report.moved_bytes,
    )
    assert layers.rows[-1].cells[5:] == (
        report.flops.forward,
        report.flops.pointwise_forward,
        report.training.saved_activations_bytes,
    )
    # a MAC is two FLOPs in the backward pass too
    assert flops.rows[1].cells[1:4] == (
        report.flops.backward // 2,
        report.flops.backward,
        report.flops.backward,
    )
    marked = [row for row in inference.rows if row.kind == "marked"]
    assert [(row.cells[1], row.cells[3:]) for row in marked] == [
        (report.inference.total_bytes, report.inference[:3])
    ]
    assert [row.cells[2] for row in training.rows[:4]] == list(report.training[:4])
    peak = report.training.peak_parts
    assert peak is not None
    shown = {row.cells[0]: row.cells[1] for row in training.rows}
    assert (shown["temporaries"], shown["peak of a step"]) == (
        peak.temporary_bytes,
        report.training.peak_bytes,
    )
    # 2 bytes a parameter, and weights 2 + 4, gradients 2 + 4, moments 4 + 4
    assert [row.cells[2] for row in rules.rows[:2]] == [2 * report.params, 20 * report.params]


def test_the_peak_is_the_bold_row() -> None:
    report = vitcost.report(HUGE)
    training = report.training._replace(peak_bytes=123, peak_at="head")
    table = replace(report, training=training).page().tables[3]
    assert table.rows[-1] == Row(("peak of a step", 123, None), "total")
    assert table.notes[1] == "peak of a step: head"
    bound = training._replace(peak_is="bounded", missing="a reason", assumed=("one", "two"))
    page = replace(report, training=bound).page()
    assert page.tables[3].rows[-1].cells[0] == "peak of a step, at most"
    assert (
        page.tables[3].notes[2] == "at most: no exact peak is known (a reason); assumed: one; two"
    )
    assert page.answer[1].endswith("training at most 123 B (peak: head)")


def ratios(**keywords: Any) -> list[Value]:
    """A rule's share of the exact bytes: of weights, of states, of what is saved."""
    rules = vitcost.report("vit_tiny_patch16_224", **keywords).page().tables[4]
    assert rules.title == "Rules of thumb"
    return [row.cells[1] for row in rules.rows]


def test_a_rule_of_thumb_is_measured_where_it_is_made_for() -> None:
    # fp32: none of the three
    assert ratios() == [None, None, None]
    # mixed precision with Adam holds 4 + 4 + 8 bytes a parameter in torch, 20 in Megatron's fp16
    _, states, saved = ratios(precision="amp-bf16")
    assert isinstance(states, float)
    assert 1.249 < states < 1.2501
    assert saved is not None
    assert ratios(recipe="megatron-fp16")[1] == 1
    assert ratios(precision="bf16")[0] == 1
    for other in ({"freeze": "backbone"}, {"lora": 4}, {"optimizer": "sgd"}):
        assert ratios(precision="amp-bf16", **other)[1] is None
    for other in ({"freeze": "backbone"}, {"checkpointing": "block"}):
        assert ratios(precision="amp-bf16", **other)[2] is None


def test_inference_rows_are_the_reports_of_their_scenarios() -> None:
    for row in vitcost.report(HUGE, batch=3).page().tables[2].rows:
        precision, total, kernel, *numbers = row.cells
        own = vitcost.report(
            HUGE, batch=3, precision=str(precision), attention=str(kernel)
        ).inference
        assert [total, *numbers] == [own.total_bytes, *own[:3]]


def test_a_run_of_layers_is_one_row_with_its_last_path() -> None:
    layers = vitcost.report(HUGE).page().tables[-1]
    assert [row.cells[0] for row in layers.rows if row.cells[2] == 32] == ["blocks.0–31"]


# --- nothing in a name is taken for a command

hostile = st.text(st.characters()) | st.sampled_from(
    [
        "[red]bold[/red]",
        "\x1b[2J\x1b]0;title\x07",
        "a\nb\r\tc\x00",
        "=HYPERLINK(1)",
        "+1",
        "@SUM(1)",
        " -2+3",
        "＝1+1",
        "| a | b |",
        "</td><script>alert(1)</script>",
        "![x](http://a.b/c)",
        "\u202eevil\u2066",
        "\ud800",
        "`code` **bold** _i_ ~~s~~",
        "x" * 5000,
        ":smile:",
    ]
)


@given(hostile)
def test_a_table_holds_no_control_character(text: str) -> None:
    out = render(sample(text), "table", width=80)
    assert all(c.isprintable() or c == "\n" for c in out)


@given(hostile)
def test_colour_is_the_only_escape(text: str) -> None:
    plain = render(sample(text), "table", width=80)
    painted = render(sample(text), "table", width=80, color=True)
    assert "\x1b[1m" in painted or "\x1b[1;36m" in painted
    assert SGR.sub("", painted).replace(" ", "") == plain.replace(" ", "")


@given(hostile)
def test_json_gives_back_what_went_in(text: str) -> None:
    result = sample(text)
    out = render(result, "json")
    assert all(" " <= c <= "~" or c == "\n" for c in out)
    assert json.loads(out) == result.to_dict()


class _Holds:
    """Any JSON in the place of a result."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def to_dict(self) -> dict[str, Any]:
        return {"data": self.data}


_PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@given(st.recursive(_PLAIN, lambda each: st.lists(each) | st.dictionaries(st.text(), each)))
def test_json_is_laid_out_as_by_the_standard_library(data: Any) -> None:
    out = render(cast("Result", _Holds(data)), "json")
    expected = json.dumps({"data": data}, indent=2).replace("\x7f", "\\u007f")
    assert out == re.sub(r"##(?=\w*\[)", r"\\u0023\\u0023", expected) + "\n"


def test_json_refuses_what_it_has_no_word_for() -> None:
    with pytest.raises(TypeError, match="JSON has no set"):
        render(cast("Result", _Holds({1})), "json")


@given(hostile)
def test_csv_is_rows_that_no_spreadsheet_runs(text: str) -> None:
    out = render(sample(text), "csv")
    assert all(c.isprintable() or c == "\n" for c in out)
    header, row = csv.reader(io.StringIO(out))
    assert len(header) == len(row)
    for cell in (*header, *row):
        assert not cell.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))


def test_csv_guards_text_and_leaves_numbers() -> None:
    rows = ({"a": "=1+1", "b": -1, "c": "plain"},)
    assert render(Sample(Page(""), rows), "csv") == "a,b,c\n'=1+1,-1,plain\n"


@given(hostile)
def test_markdown_keeps_its_columns_and_holds_no_tag(text: str) -> None:
    out = render(sample(text), "markdown")
    assert all(c.isprintable() or c == "\n" for c in out)
    assert "<" not in out
    rows = [line for line in out.splitlines() if line.startswith("| ")]
    assert len(rows) == 5
    for line in rows:
        assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 3


def test_markdown_leaves_plain_names_alone() -> None:
    assert "| cls_token | 1×1×1280 |" in render(vitcost.report(HUGE), "markdown").replace(
        "Parameter | 1 | ", ""
    )
    assert r"\[red\]\*x\*" in render(sample("[red]*x*"), "markdown")
    assert r"\_a\_b c" not in render(sample("a_b c"), "markdown")
    assert r"\_i\_" in render(sample("_i_"), "markdown")


def test_every_result_has_a_row_with_its_page() -> None:
    for info in pkgutil.walk_packages(vitcost.__path__, "vitcost."):
        if not info.name.endswith("__main__"):
            importlib.import_module(info.name)
    results = {cls.__name__ for cls in Result.__subclasses__() if cls.page is Result.page}
    # the report with a verdict puts two pages together
    assert results == set(PAGES)
    for path in (*PAGES.values(), "vitcost.render.html.fragment"):
        module, _, name = path.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))
