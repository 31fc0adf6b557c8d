"""How long the page of ``vitcost web`` takes: ``python tests/bench/web_repaint.py``.

Chromium without a screen, Pyodide by npm. Prints Pyodide's own start, the time from there to the
first answer, and medians of Python's time for an answer while one control moves.
"""

import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from web_support import browsing, pyodide, serving

from vitcost.web import web
from vitcost.web.controls import FIRST

ASK = "([question, rest]) => window.vitcost.ask(question, rest).then(data => data.took)"
TIMES = """() => [...document.querySelectorAll('#columns')].map(
  each => [each.dataset.started, each.dataset.first].map(Number))[0]"""
NUMBER = 200
MOVED = {
    "batch": lambda i: {"batch": str(1 + i)},
    "batch, infer": lambda i: {"batch": str(1 + i), "mode": "infer"},
    "image": lambda i: {"img_size": str(16 * (2 + i))},
    "LoRA": lambda i: {"lora": str(1 + i % 64)},
    "checkpointing": lambda i: {"checkpointing": f"first:{1 + i % 12}", "batch": str(64 + i)},
    "beyond the card": lambda i: {"batch": str(400 + i)},
    "two models": lambda i: {"batch": str(1 + i), "other": "vit_large_patch16_224"},
}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        site = web(f"{name}/site", pyodide=pyodide(Path(name)))
        print(f"own part {site.own_bytes / 1000:.0f} kB, of which the pack "
              f"{site.files['vitcost.pack'] / 1000:.0f} kB")  # fmt: skip
        with browsing() as browser, serving(site.folder) as address:
            page = browser.new_page()
            page.goto(address)
            page.wait_for_selector("#columns[data-first]", timeout=120_000)
            started, first = page.evaluate(TIMES)
            print(f"Pyodide's start {started:.0f} ms, the first answer {first - started:.0f} later")
            for what, moved in MOVED.items():
                print(f"{what:16}", *(f"{_median(page, moved, rest):6.1f}" for rest in (0, 1)))


def _median(page: Any, moved: Any, rest: int) -> float:
    number = NUMBER if not rest else 20
    each = (dict(FIRST) | moved(i) for i in range(number))
    return median(page.evaluate(ASK, [question, bool(rest)]) for question in each)


if __name__ == "__main__":
    main()
