"""The pages' tables of how good times are: what the command behind the first one prints, and the
constants from printed timings, with the rows that could not be used.

``python tests/test_accuracy.py`` writes it anew.
"""

import csv
import re
from pathlib import Path

from bench.fit_families import LIKE_SWIN

import vitcost
from vitcost.hardware.measured_rows import read
from vitcost.hardware.measurements import covered
from vitcost.hardware.printed import PRINTED
from vitcost.hardware.weights import APART, BANDS
from vitcost.render import render

ROOT = Path(__file__).parents[1]
EXACT, TIME = ROOT / "tests" / "README.md", ROOT / "vitcost" / "hardware" / "README.md"
COMMAND = "vitcost check --throughput tests/data/throughput.csv --held-out --format markdown"
TABLE = re.compile(rf"(?<=<!-- {re.escape(COMMAND)} -->\n)\n(?:\|.*\n)*(?=\n)")


def table() -> str:
    """The first table of the command's page, between blank lines."""
    file = str(ROOT / "tests" / "data" / "throughput.csv")
    page = render(vitcost.check_throughput(file, held_out=True), "markdown")
    return "\n" + "".join(f"{line}\n" for line in _first(page.splitlines()))


PRINTED_MARK = re.compile(r"(?<=<!-- printed timings -->\n)\n(?:\|.*\n)*(?=\n)")
UNUSED_MARK = re.compile(r"(?<=<!-- timings that cannot be used -->\n)\n(?:\|.*\n)*(?=\n)")


def printed_table() -> str:
    """A row for each card, precision and software that somebody else timed."""
    lines = ["| card | mode | software | sources | rows | held out | basis |",
             "| :--- | :--- | :--- | :--- | ---: | ---: | :--- |"]  # fmt: skip
    for c in PRINTED:
        setup = c.setup
        torch = ".".join(map(str, setup.torch))
        compiled = "compiled" if setup.compiled else setup.attention
        software = setup.engine or f"torch {torch}, {compiled}"
        held = "–" if c.held_out is None else f"{100 * c.held_out:.1f} %"
        mode = f"{setup.mode}, {setup.precision}"
        lines.append(
            f"| {c.gpu} | {mode} | {software} | {c.source} | {c.rows} | {held} | {c.basis} |"
        )
    return "\n" + "\n".join(lines) + "\n"


def unused_table() -> str:
    """Why a source says nothing of a card."""
    _, others = covered(read(ROOT / "tests" / "data" / "published_gpu.csv"))
    found = dict.fromkeys((each.row.source, each.reason) for each in others)
    lines = ["| source | cannot be used: |", "| :--- | :--- |"]
    lines += [f"| {source} | {reason} |" for source, reason in found]
    return "\n" + "\n".join(lines) + "\n"


FAMILIES_MARK = re.compile(r"(?<=<!-- other families -->\n)\n(?:\|.*\n)*(?=\n)")
# families that are further off than 20 % in half of their rows: timm's class, and a likely reason
LACKS = {
    "cait": ("Cait", "linear layers over 4 heads, on permuted scores"),
    "convit": ("ConVit", "batched products of very few columns"),
    "convmixer": ("ConvMixer", "one weight for depthwise kernels of 7 and of 9, by two libraries"),
}


# columns of weights that the page has no row a family of
OTHERS = {
    "backward": "training",
    "last": "channels last",
    "last_backward": "training, channels last",
    "processor": "on processors, compiled",
}


def families() -> list[dict[str, str]]:
    with (ROOT / "tests" / "data" / "families.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def families_table() -> str:
    """The error of each family of those, and of all, eager and compiled, beside time by FLOPs."""
    rows = {(row["software"], row["family"]): row for row in families()}
    lines = [
        "| family | names | eager | nine in ten | compiled | nine in ten | by FLOPs | "
        "likely reason |",
        "| :--- | ---: | ---: | ---: | ---: | ---: | ---: | :--- |",
    ]
    for family in ("all", "like Swin", *sorted({*LIKE_SWIN, *LACKS})):
        eager, compiled = (rows["eager", family], rows["compiled", family])
        cells = [
            f"{100 * float(row[key]):.1f} %"
            for row in (eager, compiled)
            for key in ("median", "p90")
        ]
        flops = f"{100 * float(eager['flops']):.0f} %"
        lines.append(
            f"| {family} | {eager['names']} | {' | '.join(cells)} | {flops} | "
            f"{LACKS.get(family, ('', ''))[1]} |"
        )
    for software, said in OTHERS.items():
        row = rows[software, "all"]
        cells = [f"{100 * float(row[key]):.1f} %" for key in ("median", "p90")]
        flops = f"{100 * float(row['flops']):.0f} %"
        lines.append(f"| all, {said} | {row['names']} | {' | '.join(cells)} |  |  | {flops} |  |")
    return "\n" + "\n".join(lines) + "\n"


def _first(lines: list[str]) -> list[str]:
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    end = next(i for i, line in enumerate(lines[start:], start) if not line.startswith("|"))
    return lines[start:end]


def test_the_page_has_the_table_as_it_is_now() -> None:
    (found,) = TABLE.findall(EXACT.read_text(encoding="utf-8"))
    assert found == table()
    # every file, a header, a rule and the mean
    assert found.count("\n|") == 17 + 3


def test_the_page_has_the_printed_timings_as_they_are_now() -> None:
    text = TIME.read_text(encoding="utf-8")
    assert PRINTED_MARK.findall(text) == [printed_table()]
    assert UNUSED_MARK.findall(text) == [unused_table()]


def test_the_page_has_other_families_as_they_were_fitted() -> None:
    text = TIME.read_text(encoding="utf-8")
    assert FAMILIES_MARK.findall(text) == [families_table()]


def test_the_page_has_the_bands_that_were_fitted() -> None:
    text = " ".join(TIME.read_text(encoding="utf-8").split())
    said = [
        f"−{100 * BANDS[column][0]:.0f} % to +{100 * BANDS[column][1]:.0f} % {name}"
        for column, name in (
            ("eager", "in eager"), ("compiled", "compiled"), ("last", "with channels last"),
            ("backward", "in training"), ("last_backward", "there with channels last"),
        )
    ]  # fmt: skip
    assert ", ".join(said) in text


def test_a_family_that_is_far_off_says_what_it_lacks() -> None:
    far = {
        row["family"]
        for row in families()
        if row["software"] in ("eager", "compiled") and float(row["median"]) > 0.2
    }
    assert far == set(LACKS)
    # and its class is one of those that have the band of a guess
    assert APART["eager"] | APART["compiled"] == {kind for kind, _ in LACKS.values()}


if __name__ == "__main__":
    marks = {TABLE: table, PRINTED_MARK: printed_table, UNUSED_MARK: unused_table}
    for page in (EXACT, TIME):
        text = page.read_text(encoding="utf-8")
        for mark, rows in {**marks, FAMILIES_MARK: families_table}.items():
            text = mark.sub(lambda _, rows=rows: rows(), text)
        page.write_text(text, encoding="utf-8")
