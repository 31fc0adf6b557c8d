"""``Page``: a result as titled tables of typed cells, apart from how it is printed.

Every result has a page and every format prints any page, so that a result and a format are each
written once. A cell is a raw value in base units; its column, or its row, names the unit, and only
``shown`` turns both into text.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeAlias, TypeVar

from vitcost import units

__all__ = [
    "Annotation",
    "Areas",
    "Bar",
    "Bars",
    "Case",
    "Column",
    "Moment",
    "Page",
    "Read",
    "Row",
    "Table",
    "Value",
    "answered",
    "cell",
    "in_words",
    "laid_out",
    "printable",
    "scaled",
    "shown",
]

Value: TypeAlias = "int | float | str | tuple[int, ...] | None"
_Record = TypeVar("_Record")


# commands that the runners of GitHub, Azure and TeamCity obey
_JOB = re.compile(r"##(?=\w*\[)")


class Column(NamedTuple):
    """A column: its header, the unit of its numbers, and whether a narrow screen may drop it.

    All its numbers are shown in the unit ``scale``; None: each number has a unit of its own
    (``scaled``).
    """

    title: str
    unit: str = (
        "text"  # text | count | si | bytes | ratio | relative | seconds | rate | shape | formula
    )
    optional: bool = False
    scale: units.Scale | None = None


class Row(NamedTuple):
    """A row of cells; ``unit`` replaces the columns' unit in a table whose rows are quantities."""

    cells: tuple[Value, ...]
    # "" | total: the sum of the other rows | marked: the row that was asked for | failed
    kind: str = ""
    level: int = 0  # how deep it is nested below the rows before it
    detail: bool = False  # shown only if rows can be folded; flat tables leave it out
    unit: str = ""


class Table(NamedTuple):
    """A titled table; ``shares`` is the title above the drawing of its shares of the total, if they
    are drawn.

    A ``folded`` table opens on a click, if a format can fold.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    shares: str = "Where it goes"
    folded: bool = False


# a column, and the function that reads its value from a record
Read: TypeAlias = tuple[Column, Callable[[_Record], Value]]


def laid_out(
    title: str,
    columns: Iterable[Read[_Record]],
    records: Iterable[_Record],
    notes: Iterable[str] = (),
    kind: Callable[[_Record], str] = lambda record: "",
) -> Table:
    """A table of records, one row each; the columns read the cells, and ``kind`` gives the kind of
    each row.

    >>> sides = laid_out("", [(Column("side"), str), (Column("area"), lambda n: n * n)], [2, 3])
    >>> [row.cells for row in sides.rows]
    [('2', 4), ('3', 9)]
    """
    columns = list(columns)
    rows = (Row(tuple(read(each) for _, read in columns), kind(each)) for each in records)
    return Table(title, tuple(column for column, _ in columns), tuple(rows), tuple(notes))


class Bar(NamedTuple):
    """A bar: named lengths one after the other, in one unit, and perhaps a limit."""

    title: str
    unit: str
    segments: tuple[tuple[str, int | float], ...]
    limit: int | float | None = None


class Bars(NamedTuple):
    """Bars with the same colours, one below the other, for pages that can draw. ``order`` has the
    names in the order of their colours, if another picture uses the same."""

    title: str
    bars: tuple[Bar, ...]
    order: tuple[str, ...] = ()


class Moment(NamedTuple):
    """A moment of ``Areas``: its band, its place, and the size of each part."""

    band: str
    place: str
    parts: tuple[int | float, ...]


class Areas(NamedTuple):
    """Parts stacked at every moment of a sequence, in one unit: the first name is at the bottom,
    and the largest sum is marked with ``most``. Successive moments of one band are drawn together,
    and within a band those of one place. ``order`` is as for ``Bars``."""

    title: str
    unit: str
    names: tuple[str, ...]
    moments: tuple[Moment, ...]
    most: str
    notes: tuple[str, ...] = ()
    order: tuple[str, ...] = ()


class Point(NamedTuple):
    """A point of a ``Plot``: its name, and the group whose colour it has."""

    name: str
    group: str
    x: float
    y: float


class Line(NamedTuple):
    """A line of a ``Plot``, from point to point, and its name."""

    name: str
    points: tuple[tuple[float, float], ...]


class Axis(NamedTuple):
    """An axis: its quantity, its unit, and whether it is logarithmic."""

    title: str
    unit: str
    log: bool = False


class Plot(NamedTuple):
    """Points over two axes, with lines to compare them with."""

    title: str
    x: Axis
    y: Axis
    points: tuple[Point, ...]
    lines: tuple[Line, ...] = ()
    notes: tuple[str, ...] = ()


class Annotation(NamedTuple):
    """A message beside a line of a file; ``level`` is error, warning or notice."""

    level: str
    title: str
    message: str
    file: str = ""
    line: int | None = None


class Case(NamedTuple):
    """One claim that a command judges: its subject, its name, and the reason if it fails.

    ``unanswered``: the claim could not be judged, which is an error, not a failure.
    """

    of: str
    name: str
    failure: Annotation | None = None
    unanswered: bool = False


class Page(NamedTuple):
    """A result as people read it: a title, lines of text, tables, and what to know about them.

    ``cases`` are the claims that the result judges; a failing claim has its line in the user's
    file. ``answer`` has the few lines above everything else, the first one next to the title; a
    page without one is answered by its deciding row. ``formulas`` are shown as formulas, ``latex``
    is their LaTeX for ``--latex``. ``bars`` and ``pictures`` are for formats that draw; a picture
    is made only when it is drawn.
    """

    title: str
    lead: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    cases: tuple[Case, ...] = ()
    answer: tuple[str, ...] = ()
    formulas: tuple[str, ...] = ()
    latex: str = ""
    bars: tuple[Bars, ...] = ()
    pictures: "Callable[[], tuple[Areas | Plot, ...]]" = tuple


def answered(page: Page) -> Page:
    """The page with an answer. A page without one is answered by a row of its first table that has
    rows: the marked row, or the first row if none is marked.

    >>> columns = Column("gpu"), Column("batch", "count"), Column("used", "bytes")
    >>> table = Table("", columns, (Row(("l4", 1609, 2**30)),))
    >>> answered(Page("Cards", tables=(table,))).answer
    ('l4, batch 1,609, used 1.00 GiB',)
    """
    table = next((table for table in page.tables if table.rows), None)
    if page.answer or table is None:
        return page
    row = next((row for row in table.rows if row.kind == "marked"), table.rows[0])
    cells = [
        f"{column.title} {shown(value, row.unit or column.unit)}" if i else shown(value)
        for i, (column, value) in enumerate(zip(table.columns, row.cells, strict=True))
        if value is not None and value != "" and (i == 0 or not column.optional)
    ]
    return page._replace(answer=(", ".join(cells),))


def scaled(table: Table) -> Table:
    """The table with one unit for each column, named in its header, if its numbers allow it.

    >>> rows = Row(("l4", 24 * 2**30, 2**20)), Row(("h100", 80 * 2**30, 2**30))
    >>> table = Table("", (Column("gpu"), Column("memory", "bytes"), Column("left", "bytes")), rows)
    >>> [column.title for column in scaled(table).columns], cell(rows[0], 2, scaled(table))
    (['gpu', 'memory GiB', 'left MiB'], '1.00')
    """
    columns = []
    for i, column in enumerate(table.columns):
        cells = [row.cells[i] for row in table.rows if not row.unit and not row.detail]
        numbers = [value for value in cells if isinstance(value, int | float)]
        apart = any(row.unit for row in table.rows)
        if column.scale is not None:
            # the page itself chose this unit
            columns.append(column)
            continue
        scale = None if apart else units.common(numbers, column.unit)
        title = column.title if scale is None else _of_unit(column.title, scale.word)
        columns.append(column._replace(title=title, scale=scale))
    return table._replace(columns=tuple(columns))


def _of_unit(title: str, word: str) -> str:
    """A header with its unit: before a word that is counted, after any other."""
    if title.partition(" ")[0] in ("MACs", "FLOPs"):
        return f"{word}{title}"
    return f"{title} {word}".strip()


def cell(row: Row, index: int, table: Table) -> str:
    """The text of a cell, in the unit of its row or of its column.

    >>> table = Table("Sizes", (Column("", "text"), Column("memory", "bytes")), ())
    >>> cell(Row(("weights", 2**30)), 1, table)
    '1.00 GiB'
    """
    value, column = row.cells[index], table.columns[index]
    if column.scale is not None and isinstance(value, int | float):
        return units.scaled(value, column.scale)
    return shown(value, row.unit or column.unit)


def shown(value: Value, unit: str = "text") -> str:
    """A cell as people read it, in a form that is safe to print on one line.

    >>> shown(167_295_109_120, "si"), shown(2**30, "bytes"), shown((1, 257, 1280), "shape")
    ('167.3 G', '1.00 GiB', '1×257×1280')
    >>> shown(None), shown(-0.0001, "ratio"), shown(86_567_656, "count")
    ('–', '0.0 %', '86,567,656')
    """
    if value is None:
        return "–"
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, tuple):
        return "×".join(str(side) for side in value)
    return _UNITS[unit](value)


def in_words(name: str) -> str:
    """The name of a quantity in words, in upper or lower case as its unit needs.

    >>> in_words("backward_flops")
    'backward FLOPs'
    """
    words = {"macs": "MACs", "flops": "FLOPs"}
    return " ".join(words.get(word, word) for word in name.split("_"))


def printable(text: str) -> str:
    r"""Text that no terminal, browser or CI job can mistake for a command.

    A CI job obeys a line that begins with ``::``, and ``##[`` or ``##vso[`` anywhere.

    >>> printable("a\x1b[2Jb\n\u202ec"), printable("::error::x"), printable("##[error]x")
    ('a\\x1b[2Jb\\n\\u202ec', '\\x3a:error::x', '#\\x23[error]x')
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    if "##" in text:
        text = _JOB.sub(r"#\\x23", text)
    if text.lstrip().startswith("::"):
        text = text.replace(":", r"\x3a", 1)
    return text


_UNITS: Mapping[str, Callable[[int | float], str]] = {
    "text": str,
    "shape": str,
    "formula": str,
    "count": lambda value: f"{value:,}",
    "si": units.si,
    "bytes": units.binary_bytes,
    "ratio": lambda value: f"{100 * value:z.1f} %",
    "relative": lambda value: f"{value:.2f}",
    "seconds": units.seconds,
    "rate": lambda value: f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}",
    "hours": lambda value: f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}",
    "money": lambda value: f"{value:,.2f}" if abs(value) >= 1 else f"{value:.3g}",
}
