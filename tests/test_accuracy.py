"""The README's tables of how good times are: what the command behind the first one prints, and the
constants from printed timings, with the rows that could not be used.

``python tests/test_accuracy.py`` writes it anew.
"""

import re
from pathlib import Path

import vitcost
from vitcost.hardware.measurements import covered, read
from vitcost.hardware.printed import PRINTED
from vitcost.render import render

ROOT = Path(__file__).parents[1]
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


def _first(lines: list[str]) -> list[str]:
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    end = next(i for i, line in enumerate(lines[start:], start) if not line.startswith("|"))
    return lines[start:end]


def test_the_readme_has_the_table_as_it_is_now() -> None:
    (found,) = TABLE.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert found == table()
    # every file, a header, a rule and the mean
    assert found.count("\n|") == 17 + 3


def test_the_readme_has_the_printed_timings_as_they_are_now() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert PRINTED_MARK.findall(text) == [printed_table()]
    assert UNUSED_MARK.findall(text) == [unused_table()]


if __name__ == "__main__":
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    for mark, rows in ((TABLE, table), (PRINTED_MARK, printed_table), (UNUSED_MARK, unused_table)):
        text = mark.sub(lambda _, rows=rows: rows(), text)
    readme.write_text(text, encoding="utf-8")
