"""The page of a score: the errors of predictions on measurements, and where they are largest."""

from vitcost.hardware.score import FileScore, Guess, Score
from vitcost.page import Column, Page, Read, Row, Table, Value, laid_out, shown

__all__ = ["throughput_page"]

_WORST = 10
_KINDS = {"other": "Eva, Beit", "hybrid": "hybrids", "text": "text", "traced": "traced"}
_COLUMNS = (
    Column("file"),
    Column("rows", "count"),
    Column("covered", "count"),
    Column("MAPE", "ratio"),
    Column("median", "ratio"),
    Column("p90", "ratio"),
    Column("worst", "ratio"),
    Column("∝ FLOPs", "ratio"),
    Column("pairs right"),
)
_NOTES = (
    "errors are relative to what was measured; p90: nine in ten are below it. ∝ FLOPs: the mean "
    "error of a time in proportion to FLOPs. pairs right: of the pairs within 5 % in FLOPs and "
    "over 5 % apart in speed, those ordered as measured.",
)
_HELD_OUT = (
    "held out: plain models alone, each half of the file's widths by constants of the other half; "
    "the error is the mean of both.",
)


def throughput_page(score: Score) -> Page:
    """One row for each file, then the worst predictions, then the models without one."""
    tables = [_files(score), _worst(score)]
    missed = [(file.file, each) for file in score.files for each in file.not_covered]
    if missed:
        columns = Column("file"), Column("model"), Column("rows", "count"), Column("why")
        rows = [Row((file, m.model, m.rows, m.reason)) for file, m in missed]
        tables.append(Table("Not covered", columns, tuple(rows)))
    held_out = any("held out" in file.bases for file in score.files)
    notes = (*_NOTES, *(_HELD_OUT if held_out else ()))
    covered, rows = (sum(getattr(f, n) for f in score.files) for n in ("covered", "rows"))
    error = shown(score.mean_mape, "ratio")
    answer = f"mean error {error}, {covered:,} of {rows:,} rows covered"
    title = "Predicted against measured"
    return Page(title, tables=tuple(tables), notes=notes, answer=(answer,))


def _files(score: Score) -> Table:
    kinds = [k for k in _KINDS if any(k in file.by_kind for file in score.files)]
    held_out = all("held out" in file.bases for file in score.files)
    columns = [*_COLUMNS, *(Column(_KINDS[kind], "ratio") for kind in kinds)]
    rows = [_file(file, kinds) for file in score.files]
    if not held_out:
        columns += [Column("in band", "ratio"), Column("basis", optional=True)]
        rows = [(*row, *_basis(file)) for row, file in zip(rows, score.files, strict=True)]
    blank: tuple[Value, ...] = ("",) * (len(columns) - 4)
    total = sum(f.rows for f in score.files), sum(f.covered for f in score.files)
    mean = Row(("mean", *total, score.mean_mape, *blank), "total")
    return Table("", tuple(columns), (*map(Row, rows), mean))


def _file(file: FileScore, kinds: list[str]) -> tuple[Value, ...]:
    name = file.file.rpartition("/")[2].removeprefix("benchmark-").removesuffix(".csv")
    errors = (file.mape, file.median, file.p90, file.max, file.flops_mape)
    pairs = f"{file.pairs_right} of {file.pairs}"
    return (name, file.rows, file.covered, *errors, pairs, *map(file.by_kind.get, kinds))


def _basis(file: FileScore) -> tuple[Value, ...]:
    """The share of rows within their predicted band, and the evidence of the predictions."""
    share = None if file.in_band is None else file.in_band / sum(file.bases.values())
    return share, ", ".join(file.bases)


def _worst(score: Score) -> Table:
    guesses = [guess for file in score.files for guess in file.worst]
    guesses.sort(key=lambda guess: -guess.error)
    columns: list[Read[Guess]] = [
        (Column("model"), lambda guess: guess.measurement.row.model),
        (Column("image", "count"), lambda guess: guess.measurement.row.img_size or None),
        (Column("batch", "count"), lambda guess: guess.measurement.row.batch),
        (Column("gpu"), lambda guess: guess.measurement.card.name),
        (Column("measured", "seconds"), lambda guess: guess.measurement.seconds),
        (Column("predicted", "seconds"), lambda guess: guess.seconds),
        (Column("error", "ratio"), lambda guess: guess.error),
        (Column("likely reason"), lambda guess: guess.reason),
    ]
    return laid_out("Worst", columns, guesses[:_WORST])
