"""README's picture of the page: ``python tests/bench/web_picture.py .github/web.png``.

Further names are of other screens, by the end of their names: ``-dark``, ``-375``, ``-375-dark``.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from web_support import browsing, pyodide, serving

from vitcost.web import web

QUESTION = (
    "model=vit_large_patch16_224&batch=128&mode=train&precision=amp-bf16&gpu=rtx4090"
    "&checkpointing=first:12"
)


def main(*files: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        site = web(f"{name}/site", pyodide=pyodide(Path(name)))
        with browsing() as browser, serving(site.folder) as address:
            for file in files:
                width = 375 if "-375" in file else 1280
                scheme = "dark" if "-dark" in file else "light"
                page = browser.new_page(
                    viewport={"width": width, "height": 1000}, color_scheme=scheme
                )
                # README's has one model
                other = "" if file == files[0] else "&other=vit_base_patch16_224"
                page.goto(f"{address}#{QUESTION}{other}")
                shown = "#both section" if other else ".rest:not(.stale) pre:has-text('first:12')"
                page.wait_for_selector(shown, timeout=120_000)
                page.screenshot(path=file, full_page=file != files[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
