"""The README's table of how good times are is what the command behind it prints.

``python tests/test_accuracy.py`` writes it anew.
"""

import re
from pathlib import Path

import vitcost
from vitcost.render import render

ROOT = Path(__file__).parents[1]
COMMAND = "vitcost check --throughput tests/data/throughput.csv --held-out --format markdown"
TABLE = re.compile(rf"(?<=<!-- {re.escape(COMMAND)} -->\n)\n(?:\|.*\n)*(?=\n)")


def table() -> str:
    """The first table of the command's page, between blank lines."""
    file = str(ROOT / "tests" / "data" / "throughput.csv")
    page = render(vitcost.check_throughput(file, held_out=True), "markdown")
    return "\n" + "".join(f"{line}\n" for line in _first(page.splitlines()))


def _first(lines: list[str]) -> list[str]:
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    end = next(i for i, line in enumerate(lines[start:], start) if not line.startswith("|"))
    return lines[start:end]


def test_the_readme_has_the_table_as_it_is_now() -> None:
    (found,) = TABLE.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert found == table()
    # every file, a header, a rule and the mean
    assert found.count("\n|") == 17 + 3


if __name__ == "__main__":
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    readme.write_text(TABLE.sub(lambda _: table(), text), encoding="utf-8")
