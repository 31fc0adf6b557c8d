"""``vitcost calibrate``."""

from collections.abc import Sequence

import click

from vitcost.cli.command import Option, answers, given
from vitcost.cli.flag_values import FILE, FileName
from vitcost.cli.form import format_options
from vitcost.cli.options import measured_options
from vitcost.cli.output import emit, write

__all__ = ["command"]

_EXAMPLES = """
vitcost calibrate mine.csv -g h100-sxm --compile -o mine.toml
vitcost calibrate benchmark-infer-amp-nchw-pt240-cu124-rtx4090.csv
vitcost calibrate mine.csv -g h100-sxm --json
vitcost report vit_base_patch16_224 -g h100-sxm --calibration mine.toml
"""


@answers(
    "calibrate",
    suffixes={".toml": "toml"},
    own_file=True,
    examples=_EXAMPLES,
    params=[
        click.Argument(["files"], nargs=-1, required=True, metavar="FILE...", type=FileName()),
        Option(
            ["-o", "--output"],
            help="where the constants go, for --calibration of other commands",
            **{**FILE, "metavar": "TOML"},
        ),
        *format_options(),
        *measured_options(),
    ],
)
def command(files: Sequence[str], output: str | None, **_: object) -> None:
    """Fits the constants of a card to measurements of your own.

    FILE is a CSV of timm's benchmark script, or one with columns model, batch_size and
    samples_per_sec; img_size, gpu, mode, precision, layout, compile, torch and optimizer may be
    columns too. Half of the widths are held out by turns, and the error on them printed.
    """
    # imported only here: the help text needs no fit
    from vitcost.hardware.measurement_files import calibrate

    fitted = calibrate(files, **given())
    if output is not None:
        write(fitted.to_toml(), output)
    emit(fitted, to_stdout=True)
