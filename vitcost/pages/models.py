"""The page of the models that are known."""

from vitcost.models import Models
from vitcost.page import Column, Page, Row, Table

__all__ = ["models_page"]


def models_page(models: Models) -> Page:
    """A row a model."""
    table = Table(
        "",
        (
            Column("model"),
            Column("family", optional=True),
            Column("image", "shape"),
            Column("params", "count"),
            Column("MACs", "si"),
            Column("source", optional=True),
        ),
        tuple(Row(tuple(row)) for row in models.found),
    )
    count = len(models.found)
    return Page("", tables=(table,), notes=(f"{count:,} models" if count > 1 else "1 model",))
