"""The page of an explanation: formula, numbers put in, result, letters and reference."""

from vitcost.formulas.explanation import Explanation
from vitcost.page import Column, Page, Row, Table
from vitcost.pages.chinese import in_chinese

__all__ = ["explain_page"]

_TERMS = (
    Column("term"),
    Column("formula", "formula"),
    Column("with numbers", "formula", optional=True),
    Column("value", "count"),
)


def explain_page(explained: Explanation) -> Page:
    """The formula term by term, the whole formula, and the meaning of its letters."""
    page = _page(explained)
    if explained.lang == "en":
        return page
    return in_chinese(page, explained.quantity, explained.model, explained.unit)


def _page(explained: Explanation) -> Page:
    value, formulas = explained.value, tuple[str, ...]()
    if isinstance(value, tuple):
        answer = "; ".join(f"{row.layer} {row.work:,}" for row in value)
    else:
        answer = f"{value:,}"
        formulas = (explained.formula, explained.substituted, answer)
    terms = Table(
        "Terms",
        _TERMS,
        tuple(Row((t.name, t.formula, t.substituted, t.value)) for t in explained.terms),
    )
    letters = Table(
        "Letters",
        (Column("letter"), Column("value", "count"), Column("meaning")),
        tuple(Row((each.letter, each.value, each.meaning)) for each in explained.letters),
    )
    notes = (f"reference: {explained.reference}", *([explained.note] if explained.note else []))
    title = f"{explained.quantity} of {explained.model}"
    return Page(
        title,
        (explained.unit,),
        tuple(table for table in (terms, letters) if table.rows),
        notes,
        answer=(answer,),
        formulas=formulas,
        latex=explained.latex or "",
    )
