"""The page of an explanation: formula, numbers put in, result, letters, reference."""

from vitcost.formulas.explanation import Explanation
from vitcost.page import Column, Page, Row, Table
from vitcost.pages.chinese import in_chinese

__all__ = ["explain_page"]


def explain_page(found: Explanation) -> Page:
    """The formula term by term, the whole of it, and what its letters stand for."""
    page = _page(found)
    if found.lang == "en":
        return page
    return in_chinese(page, found.quantity, found.model, found.unit)


def _page(found: Explanation) -> Page:
    formulas: tuple[str, ...] = ()
    if not isinstance(found.value, tuple):
        formulas = (found.formula, found.substituted, f"{found.value:,}")
    terms = Table(
        "Terms",
        (
            Column("term"),
            Column("formula", "formula"),
            Column("with numbers", "formula", optional=True),
            Column("value", "count"),
        ),
        tuple(Row((t.name, t.formula, t.substituted, t.value)) for t in found.terms),
    )
    letters = Table(
        "Letters",
        (Column("letter"), Column("value", "count"), Column("meaning")),
        tuple(Row((each.letter, each.value, each.meaning)) for each in found.letters),
    )
    notes = (f"reference: {found.reference}", *([found.note] if found.note else []))
    title = f"{found.quantity} of {found.model}"
    value = found.value
    answer = (
        "; ".join(f"{row.layer} {row.work:,}" for row in value)
        if isinstance(value, tuple)
        else f"{value:,}"
    )
    return Page(
        title,
        (found.unit,),
        (terms, letters),
        notes,
        answer=(answer,),
        formulas=formulas,
        latex=found.latex or "",
    )
