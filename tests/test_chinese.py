"""Explanations in Chinese: the text around every formula, the same formulas and numbers."""

import re

import pytest

import vitcost
from vitcost.cli import run
from vitcost.costs.quantities import EXPLAINED
from vitcost.errors import UnknownName
from vitcost.formulas.symbols import LETTERS
from vitcost.page import Column, Page, Row, Table
from vitcost.pages.chinese import in_chinese

TINY = "vit_tiny_patch16_224"
CHINESE = re.compile(r"[\u4e00-\u9fff]")
# names of modules, which are the same in every language
MODULE = re.compile(r"[a-z_]+(\.[a-z0-9_]+)*")


@pytest.mark.parametrize("quantity", EXPLAINED)
def test_every_quantity_is_told_in_chinese(quantity: str) -> None:
    batch = {"batch": 2} if "batch" in EXPLAINED[quantity].flags else {}
    found = vitcost.explain(TINY, quantity, lang="zh", **batch)
    english = vitcost.explain(TINY, quantity, **batch)
    page, plain = found.page(), english.page()
    assert found.to_dict() == english.to_dict()
    assert page.formulas == plain.formulas
    assert page.title.startswith(f"{TINY} 的")
    assert all(map(CHINESE.search, (page.title, *page.lead, *page.notes)))
    for table, same in zip(page.tables, plain.tables, strict=True):
        assert CHINESE.search(table.title)
        assert all(CHINESE.search(column.title) for column in table.columns)
        for row, other in zip(table.rows, same.rows, strict=True):
            # formulas and numbers
            pairs = zip(table.columns, row.cells, other.cells, strict=True)
            assert all(a == b for column, a, b in pairs if column.unit != "text")
    # a quantity that is 0 has no terms
    terms, letters = (table.rows for table in page.tables) if page.tables else ((), ())
    assert all(CHINESE.search(str(row.cells[2])) for row in letters)
    for row in terms:
        assert CHINESE.search(str(row.cells[0])) or MODULE.fullmatch(str(row.cells[0]))


def test_every_letter_has_a_meaning_in_chinese() -> None:
    rows = tuple(Row((letter, 1, meaning)) for letter, meaning in LETTERS.items())
    table = Table("Letters", (Column("letter"), Column("value", "count"), Column("meaning")), rows)
    (found,) = in_chinese(Page("", tables=(table,)), "params", "m", "parameters").tables
    assert [str(row.cells[2]) for row in found.rows if not CHINESE.search(str(row.cells[2]))] == []


def test_an_unknown_language_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", TINY, "params", "--lang", "fr"]) == 2
    assert "unknown language 'fr'; allowed: en, zh" in capsys.readouterr().err
    assert run(["explain", TINY, "params", "--lang", "zh", "--json"]) == 2
    assert "--lang cannot be shown in json" in capsys.readouterr().err
    with pytest.raises(UnknownName):
        vitcost.explain(TINY, "params", lang="cn")
