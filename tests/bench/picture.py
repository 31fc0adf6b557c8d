"""The picture of a page in the README, as a terminal shows it: ``python tests/bench/picture.py``.

It writes ``.github/page.svg``: text that rich lays out, which loads nothing.
"""

import re
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

import vitcost
from vitcost.render import render

ROOT = Path(__file__).parents[2]
FILE = ROOT / ".github" / "page.svg"
COMMAND = "vitcost report vit_base_patch16_224 -b 256 --precision amp-bf16 -g rtx4090"
COLUMNS, LINES = 100, 38


def lines(color: bool) -> list[str]:
    """The first lines of the page that the command prints."""
    found = vitcost.report("vit_base_patch16_224", batch=256, precision="amp-bf16", gpu="rtx4090")
    page = render(found, "table", color=color, width=COLUMNS).splitlines()
    return [f"$ {COMMAND}", *page[: LINES - 2], "…"]


def picture() -> str:
    console = Console(record=True, width=COLUMNS, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    for line in lines(color=True):
        console.print(Text.from_ansi(line), no_wrap=True, crop=True)
    text = console.export_svg(title="vitcost", theme=MONOKAI, unique_id="page")
    # a reader's own letters: nothing is fetched
    return re.sub(r"@font-face \{.*?\}\s*", "", text, flags=re.DOTALL)


if __name__ == "__main__":
    FILE.write_text(picture(), encoding="utf-8")
    print(f"{FILE}: {FILE.stat().st_size:,} bytes")
