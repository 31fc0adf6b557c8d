"""The HTML page in a real browser: Debian's chromium, without a screen, driven by playwright.

Without one the tests skip and say so; where ``CI`` is set, that is a failure.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from results_support import RESULTS
from web_support import FLAGS

import vitcost
from vitcost.render import render

pytestmark = pytest.mark.slow
BASE = "vit_base_patch16_224"
# every row of a page as the texts that are seen, and the title of the table that it is in
ROWS = """() => [...document.querySelectorAll('tr, .row')].filter(row => row.checkVisibility()).map(
  row => [row.closest('section').querySelector('h2')?.textContent ?? '',
          ...[...row.children].map(cell => cell.innerText.trim())])"""
# the contrast of WCAG 2: what is written against the paper behind it
CONTRAST = """() => {
  const light = text => { const [r, g, b] = text.match(/[\\d.]+/g).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b };
  const style = getComputedStyle(document.body);
  const [a, b] = [light(style.color), light(style.backgroundColor)];
  return [b, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)] }"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = shutil.which("chromium")
    missing = "" if path else "no chromium: README's system packages install it"
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        missing = str(error)
    if missing:
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield found
        found.close()


class Shown:
    """A result's page in a tab, with whatever the browser had to say about it."""

    def __init__(self, browser: Any, file: Path, result: Any, **screen: Any) -> None:
        file.write_text(render(result, "html"), encoding="utf-8")
        self.tab = browser.new_page(**screen)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.tab.on("console", lambda message: self.said.append(message.text))
        self.tab.on("pageerror", lambda error: self.said.append(str(error)))
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.goto(file.as_uri())
        self.uri = file.as_uri()

    def rows(self, title: str) -> dict[str, list[str]]:
        """The rows of a table that are seen, by their first cell."""
        rows = [row[1:] for row in self.tab.evaluate(ROWS) if row[0].startswith(title)]
        return {row[0].lstrip("▸▾ \u2007"): row[1:] for row in rows}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", RESULTS)
def test_every_result_is_shown_without_a_word_or_a_request(
    name: str, scheme: str, browser: Any, tmp_path: Path
) -> None:
    result = RESULTS[name]()
    shown = Shown(browser, tmp_path / "page.html", result, color_scheme=scheme)
    assert shown.tab.title() == (result.page().title or "vitcost")
    assert len(shown.tab.evaluate(ROWS)) >= len(result.page().tables)
    paper, contrast = shown.tab.evaluate(CONTRAST)
    assert contrast >= 7
    assert (paper > 0.5) == (scheme == "light")
    # neither a phone nor a screen scrolls the page sideways
    for width in (320, 375, 1280):
        shown.tab.set_viewport_size({"width": width, "height": 900})
        assert shown.tab.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.said == []
    assert shown.asked == [shown.uri]
    shown.tab.close()


def test_the_numbers_that_are_seen_are_those_of_the_json(browser: Any, tmp_path: Path) -> None:
    report = vitcost.report(BASE, batch=2)
    data = report.to_dict()
    shown = Shown(browser, tmp_path / "page.html", report)
    parts = shown.rows("Parts")
    found = {
        name: int(cells[1].replace(",", ""))
        for name, cells in parts.items()
        if name in data["params"]["by_part"]
    }
    assert found == data["params"]["by_part"]
    assert parts["total"][1] == f"{data['params']['total']:,}"
    passes = shown.rows("FLOPs")
    for name, key in (
        ("forward", "forward"),
        ("backward", "backward"),
        ("train step", "train_step"),
    ):
        assert passes[name][2] == f"{data['flops'][key]:,}"
    layers = shown.rows("Layers")
    for layer in data["layers"]:
        if layer["params"]:
            first, last = layer["paths"]
            name = first if first == last else f"{first}–{last.rpartition('.')[2]}"
            assert layers[name][3] == f"{layer['params']:,}"
            assert layers[name][1] == str(layer["repeat"])
    shown.tab.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_a_report(scheme: str, browser: Any, tmp_path: Path) -> None:
    from axe_playwright_python.sync_playwright import Axe

    report = vitcost.report(BASE, batch=64, gpu=["l4", "t4"], mode="train", checkpointing="block")
    context = browser.new_context(color_scheme=scheme, bypass_csp=True)
    tab = context.new_page()
    file = tmp_path / "page.html"
    file.write_text(render(report, "html"), encoding="utf-8")
    tab.goto(file.as_uri())
    found = Axe().run(tab).response["violations"]
    grave = [each for each in found if each["impact"] in ("serious", "critical")]
    assert [(each["id"], each["nodes"][0]["html"][:200]) for each in grave] == []
    context.close()


def test_layers_fold(browser: Any, tmp_path: Path) -> None:
    shown = Shown(browser, tmp_path / "page.html", vitcost.report(BASE))
    assert {"blocks.0–11", "mlp"} <= shown.rows("Layers").keys()
    assert "fc1" not in shown.rows("Layers")
    shown.tab.click("summary:has-text('mlp')")
    # 768 to 3072, and biases
    assert shown.rows("Layers")["fc1"][3] == f"{768 * 3072 + 3072:,}"
    shown.tab.click("summary:has-text('blocks.0–11')")
    assert not {"mlp", "fc1"} & shown.rows("Layers").keys()
    shown.tab.close()


def test_a_table_that_is_wider_scrolls_by_itself(browser: Any, tmp_path: Path) -> None:
    screen = {"width": 320, "height": 844}
    shown = Shown(browser, tmp_path / "page.html", vitcost.report(BASE), viewport=screen)
    # and its first column stays
    left = "document.querySelector('.grid .leaf > span').getBoundingClientRect().left"
    before = shown.tab.evaluate(left)
    moved = shown.tab.evaluate(
        "() => { const s = document.querySelector('.scroll:has(.grid)'); s.scrollLeft = 99;"
        " return s.scrollLeft }"
    )
    assert moved == 99
    assert shown.tab.evaluate(left) == before
    shown.tab.close()


def test_columns_stand_below_one_another(browser: Any, tmp_path: Path) -> None:
    shown = Shown(browser, tmp_path / "page.html", vitcost.report(BASE))
    edges = shown.tab.evaluate(
        "() => [...document.querySelectorAll('.grid .row')].filter(row => row.checkVisibility())"
        ".map(row => [...row.children].map(cell => Math.round(cell.getBoundingClientRect().right)))"
    )
    assert len(edges) > 10
    assert len({tuple(row) for row in edges}) == 1
    shown.tab.close()


def test_what_gets_into_a_page_is_refused_and_seen(browser: Any, tmp_path: Path) -> None:
    shown = Shown(browser, tmp_path / "page.html", vitcost.report(BASE))
    bad = "<script>document.title = 'run'</script><img src='https://example.org/x.png'>"
    shown.tab.set_content(f"{shown.tab.content()}{bad}")
    assert shown.tab.title() == BASE
    # its own policy refuses both, and what it refuses is not overlooked here
    assert all("Content Security Policy" in said for said in shown.said)
    assert {word for word in ("script", "image") if word in "".join(shown.said)} == {
        "script",
        "image",
    }
    assert shown.asked == [shown.uri, "https://example.org/x.png"]
    shown.tab.close()
