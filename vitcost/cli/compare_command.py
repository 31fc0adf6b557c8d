"""``vitcost compare``."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from vitcost.cli.command import Flag, answers, given, options
from vitcost.cli.flag_values import FILE, NUMBER, SWITCH, Listed, Varied, Words
from vitcost.cli.form import output_options
from vitcost.cli.options import (
    PRICE,
    field_options,
    gpu_options,
    model_options,
    scenario_options,
    some_models,
)
from vitcost.cli.output import also, asked_format, emit, need_format, rendered, tell, write
from vitcost.cli.progress import progress_bar
from vitcost.costs.quantities import QUANTITIES
from vitcost.pages.skipped import skipped_notes
from vitcost.planner.compare import Comparison, compare
from vitcost.planner.comparison_question import COMPARED
from vitcost.planner.grid import MODEL
from vitcost.planner.named import named
from vitcost.planner.pareto import pair_of
from vitcost.planner.parquet import write_rows
from vitcost.planner.plot import PARTS, check_file, picture_of
from vitcost.render import SUFFIXES

if TYPE_CHECKING:
    from vitcost.planner.sweep import Sweep

__all__ = ["command"]

_EXAMPLES = """
vitcost compare vit_base_patch16_224 vit_base_patch32_224 --why
vitcost compare vit_base_patch16_224 vit_large_patch16_224 --batch 64
vitcost compare saved.json vit_large_patch16_224
vitcost compare vit_tiny_patch16_224 --vary depth=6,12 --vary batch=1:64:x4
vitcost compare vit_base_patch16_224 --vary depth=1:9:+1 --pareto params,flops
vitcost compare deit_tiny_patch16_224 vit_base_patch16_224 --plot p.pdf
vitcost compare 'swin_*' convnext_base -b 64
vitcost compare --all-timm --pareto macs,step_time -g a100-sxm-80gb -b 64
vitcost compare vit_base_patch16_224 --vary batch=1:99999:+1 -o grid.parquet
vitcost compare vit_base_patch16_224 -b 64 -g l4 -g t4 --price 0.5
"""


_OF_PLOT = {"type": Words(QUANTITIES), "metavar": "QUANTITY", "section": "The plot"}
_FLAGS: tuple[Flag, ...] = (
    ("--all-timm", "every name of timm, all 1,371, beside each MODEL", SWITCH),
    ("--why", "the layers that make the difference to the first", SWITCH),
    (
        "--vary",
        "every combination of values: depth=12,24  depth=12:48:+12  batch=1:512:x2, repeatable",
        {"type": Varied(), "multiple": True, "metavar": "FIELD=VALUES"},
    ),
    ("--sample", "draw so many of the combinations", NUMBER),
    ("--seed", "of the draw  [default: 0]", NUMBER),
    ("--pareto", "mark their Pareto front", {"type": Listed(QUANTITIES), "metavar": "X,Y"}),
    (
        "--plot",
        "draw two quantities  [default: those of --pareto, the first two of --quantities, or "
        "flops,train_memory]",
        {**FILE, "metavar": "FILE.png|svg|pdf"},
    ),
    ("--x", "along the bottom of the plot", _OF_PLOT),
    ("--y", "along the side of the plot", _OF_PLOT),
    ("--size", "the areas of the marks of the plot", _OF_PLOT),
    ("--color", "the colours of the marks of the plot", _OF_PLOT),
    (
        "--quantities",
        f"quantities to compare and show, in this order: {', '.join(QUANTITIES)}  "
        f"[default: {', '.join(COMPARED)}]",
        {"type": Listed(QUANTITIES), "metavar": "NAME,…"},
    ),
)
_COSTS: tuple[Flag, ...] = (
    PRICE,
    ("--samples", "images of a run, for gpu_hours and cost: 1.28M", {"metavar": "N"}),
    ("--epochs", "passes over the samples  [default: 1]", NUMBER),
)


@answers(
    "compare",
    judges=False,
    suffixes={**SUFFIXES, ".parquet": "parquet"},
    examples=_EXAMPLES,
    rare=field_options,
    params=[
        *model_options(many=True),
        *options(_FLAGS),
        *output_options(),
        *scenario_options(),
        *gpu_options(),
        *options(_COSTS, section="Costs", passed=True, rare=True),
    ],
)
def command(why: bool, plot: str | None, output: str | None, **flags: Any) -> None:
    """Models side by side, or in every combination of what varies.

    A MODEL is a name, a pattern over names ('swin*'), a file, or a saved `report --json`. Every
    quantity also stands relative to the best of all, which is 1.00. More than 1,000 combinations
    are computed on arrays (vitcost[sweep]), up to 2,000,000, and the page shows their ends; JSON
    and CSV have up to 100,000 rows, Parquet has all, about a million a second. With --pareto and
    more than 100 rows the page has the front, and the other formats have every row.
    """
    all_timm, vary, sample, seed = (flags[name] for name in ("all_timm", "vary", "sample", "seed"))
    varies = any(each.partition("=")[0].strip() == MODEL for each in vary)
    models = some_models(required=not (all_timm or varies))
    asked: dict[str, Any] = {**given(), "vary": vary, "all_timm": all_timm}
    for name in ("quantities", "pareto"):
        if flags[name] is not None:
            asked[name] = flags[name].split(",")
    if sample is None and seed is not None:
        raise click.UsageError("--seed needs --sample")
    if sample is not None and not vary:
        raise click.UsageError("--sample needs --vary, from whose combinations it draws")
    parts = {name: flags[name] for name in PARTS if flags[name]}
    if plot is not None:
        check_file(plot)
        if output == plot:
            raise click.UsageError(f"-o and --plot are both {plot!r}")
        # a plot that cannot be drawn is refused before anything is computed
        parts = picture_of(parts, pair_of(asked.get("pareto")), asked.get("quantities")).parts
    elif parts:
        raise click.UsageError(f"--{next(iter(parts))} needs --plot")
    parquet = _is_parquet(flags["format"], flags["as_json"], output)
    chosen = "parquet" if parquet else asked_format()
    if why:
        need_format("--why", chosen, ("table", "json", "markdown", "html", "latex"))
    compared: Comparison | Sweep
    rows_of = named(models, vary, all_timm)
    if sample is not None or rows_of.points > rows_of.most:
        if why:
            raise click.UsageError("--why explains up to 1,000 combinations")
        # imported only for large grids, which need numpy
        from vitcost.planner.sweep import sweep

        compared = sweep(*models, sample=sample, seed=seed or 0, **asked)
        if plot is not None or chosen in ("json", "csv"):
            compared.listed()
        elif chosen != "parquet":
            compared.streamed()
    else:
        with progress_bar("combinations") as step:
            compared = compare(*models, why=why, progress=step, **asked)
    if plot is not None:
        # the answer is printed after everything that can fail
        compared.plot(plot, **parts)
    if parquet and output is not None:
        also(compared)
        _write_parquet(compared, output)
    elif isinstance(compared, Comparison):
        emit(compared)
    else:
        # the combinations are computed while they are written as text
        with progress_bar("combinations") as step:
            text, colored = rendered(replace(compared, progress=step), output)
        also(compared)
        write(text, output, color=colored)


def _is_parquet(format: str | None, as_json: bool, output: str | None) -> bool:
    """Whether the answer is a Parquet table, which a terminal cannot show."""
    named = output is not None and output.lower().endswith(".parquet")
    parquet = format == "parquet" or (format is None and not as_json and named)
    if parquet and (output is None or as_json):
        raise click.UsageError("Parquet is written to a file: -o FILE.parquet")
    return parquet


def _write_parquet(compared: "Comparison | Sweep", output: str) -> None:
    """Writes every row, those of a sweep while they are computed; notes list the impossible
    combinations."""
    if isinstance(compared, Comparison):
        write_rows(compared.rows(), output)
        skipped = compared.skipped
    else:
        with progress_bar("combinations") as step:
            skipped = replace(compared, progress=step).write_parquet(output)
    for note in skipped_notes(skipped):
        tell(note)
