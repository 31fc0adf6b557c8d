"""The page of the known models."""

from collections.abc import Iterator

from vitcost.costs.models import Models
from vitcost.page import Column, Page, Row, Table
from vitcost.units import counted

__all__ = ["models_page"]

# columns of the table, by the fields of ``ModelRow``
_COLUMNS = (
    Column("model"),
    Column("family", optional=True),
    Column("image", "shape", optional=True),
    Column("params", "count"),
    Column("MACs", "si"),
    Column("source", optional=True),
    Column("basis", optional=True),
)


def models_page(models: Models) -> Page:
    """One row for each model."""
    table = Table("", _COLUMNS, tuple(Row(tuple(row)) for row in models.found))
    count = len(models.found)
    title = f"{count:,} models" if count > 1 else "1 model"
    return Page(title, tables=(table,), answer=tuple(_range(models)))


def _range(models: Models) -> Iterator[str]:
    """The range of the models' sizes, if there are several models."""
    if len(models.found) > 1:
        sizes = [row.params for row in models.found]
        work = [row.macs_forward for row in models.found]
        params = f"{counted(min(sizes), '').strip()} to {counted(max(sizes), '')}params"
        yield f"{params}, {counted(min(work), 'MACs')} to {counted(max(work), 'MACs')}"
