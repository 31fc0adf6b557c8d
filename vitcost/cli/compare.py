"""``vitcost compare``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from vitcost.cli.options import (
    Command,
    Option,
    Words,
    field_options,
    given,
    gpu_options,
    model_options,
    models_given,
    output_options,
    scenario_options,
)
from vitcost.cli.output import emit
from vitcost.cli.progress import progress_bar
from vitcost.planner.compare import COMPARED, MOST_COMPARED, Comparison, compare
from vitcost.planner.grid import grid
from vitcost.planner.parquet import write_rows
from vitcost.planner.plot import DRAWN, check_file
from vitcost.planner.plot import plot as draw
from vitcost.quantities import QUANTITIES

if TYPE_CHECKING:
    from vitcost.planner.sweep import Sweep

__all__ = ["command"]

_EXAMPLES = """
vitcost compare vit_base_patch16_224 vit_base_patch32_224 --why
vitcost compare vit_base_patch16_224 vit_large_patch16_224 --batch 64
vitcost compare saved.json vit_large_patch16_224
vitcost compare vit_tiny_patch16_224 --vary depth=6,12 --vary batch=1:64:x4
vitcost compare vit_base_patch16_224 --vary depth=1:9:+1 --pareto params,flops
vitcost compare vit_base_patch16_224 --vary batch=1:99999:+1 -o grid.parquet
"""


@click.command(
    "compare",
    cls=Command,
    examples=_EXAMPLES,
    rare=field_options,
    params=[
        *model_options(many=True),
        Option(["--why"], is_flag=True, help="the layers that make the difference to the first"),
        Option(
            ["--vary"],
            multiple=True,
            metavar="FIELD=VALUES",
            help="every combination of values: depth=12,24  depth=12:48:+12  batch=1:512:x2, "
            "repeatable",
        ),
        Option(["--sample"], type=click.INT, metavar="N", help="draw so many of the combinations"),
        Option(["--seed"], type=click.INT, metavar="N", help="of the draw  [default: 0]"),
        Option(["--pareto"], type=Words(QUANTITIES), metavar="X,Y", help="mark their Pareto front"),
        Option(
            ["--plot"],
            type=click.Path(),
            metavar="FILE.png|svg",
            help="draw two quantities  [default: those of --pareto, or flops,train_memory]",
        ),
        Option(
            ["--quantities"],
            type=Words(QUANTITIES),
            metavar="NAME,…",
            help=f"what is compared: {', '.join(QUANTITIES)}  [default: {', '.join(COMPARED)}]",
        ),
        *output_options(),
        *scenario_options(),
        *gpu_options(),
    ],
)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: Sequence[str],
    model_option: Sequence[str],
    why: bool,
    vary: Sequence[str],
    sample: int | None,
    seed: int | None,
    pareto: str | None,
    plot: str | None,
    quantities: str | None,
    format: str | None,
    as_json: bool,
    output: str | None,
    **_: object,
) -> int:
    """Models side by side, or in every combination of what varies.

    A MODEL is a name, a file, or a saved `report --json`. Every quantity also stands relative to
    the least of all: 1.00 is the best. More than 1,000 combinations are computed on arrays
    (vitcost[sweep]) and told by their ends; JSON and CSV have up to 100,000 rows, Parquet has
    all.
    """
    models = models_given(model, model_option)
    asked: dict[str, Any] = {**given(ctx), "vary": vary}
    if quantities is not None:
        asked["quantities"] = quantities.split(",")
    if pareto is not None:
        asked["pareto"] = pareto.split(",")
    if (sample is not None or seed is not None) and not vary:
        raise click.UsageError("--sample draws from what --vary has")
    if plot is not None:
        check_file(plot)
        asked["quantities"] = (*asked.get("quantities", COMPARED), *DRAWN)
    parquet = format == "parquet" or (format is None and not as_json and _is_parquet(output))
    if parquet and (output is None or as_json):
        raise click.UsageError("Parquet is written to a file: -o FILE.parquet")
    found: Comparison | Sweep
    if sample is not None or len(models) * grid(vary).points > MOST_COMPARED:
        if why:
            raise click.UsageError("--why explains up to 1,000 combinations")
        found = _swept(models, asked, sample, seed or 0)
        _answer_sweep(found, parquet, format, as_json, output)
    else:
        found = compare(*models, why=why, **asked)
        if parquet and output is not None:
            write_rows(found.rows(), output)
        else:
            emit(found, format, as_json, output)
    if plot is not None:
        _draw(found, plot)
    return 0


def _is_parquet(output: str | None) -> bool:
    return output is not None and output.lower().endswith(".parquet")


def _swept(models: Sequence[str], asked: dict[str, Any], sample: int | None, seed: int) -> "Sweep":
    from vitcost.planner.sweep import sweep

    return sweep(*models, sample=sample, seed=seed, **asked)


def _answer_sweep(
    found: "Sweep", parquet: bool, format: str | None, as_json: bool, output: str | None
) -> None:
    """Streams a sweep to a file, or says what it comes to."""
    if not parquet:
        if as_json or format in ("json", "csv"):
            found.listed()
        emit(found, format, as_json, output)
        return
    assert output is not None
    with progress_bar() as step:
        skipped = found.write_parquet(output, step)
    from vitcost.pages.sweep import skipped_notes

    for note in skipped_notes(skipped):
        click.echo(note, err=True)


def _draw(found: "Comparison | Sweep", path: str) -> None:
    if not isinstance(found, Comparison):
        found.listed()
    draw(found.rows(), found.pareto or DRAWN, path)
