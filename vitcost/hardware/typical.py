"""Constants of a card that nobody measured in a mode: those of cards that were."""

from collections.abc import Sequence

from vitcost.hardware.cards import CARDS, Card
from vitcost.hardware.constants import Calibration
from vitcost.hardware.work import Setup

__all__ = ["REACHED", "typical"]

# TFLOP/s in half precision that a card was seen to reach: the fastest matrix product of any shape
# ("mamf", stas00/ml-engineering@744d01e18 compute/accelerator/README.md)
REACHED = {
    "a100-sxm-80gb": 271.2, "a100-pcie-80gb": 252.9, "h100-sxm": 794.5, "b200": 1745.0,
    "gb200": 1822.0, "b300": 1769.0, "mi300x": 668.4, "mi325x": 784.9, "mi355x": 1565.0,
}  # fmt: skip
# the share of the sheet that others of a vendor reach: the middle of those above; a GeForce clocks
# higher than its sheet says
_SHARES = {"NVIDIA": 0.80, "AMD": 0.60, "Google": 0.80}
# cards whose power does not feed their tensor cores: 300 W for a die of 600 (fixstars), whose ViTs
# reach 0.45 of the sheet (timm benchmark files @aa4b5850)
_CAPPED = {"rtx-pro-6000-maxq": 0.535, "rtx-pro-6000-server": 0.6, "l40s": 0.6, "l4": 0.6,
           "rtx-a6000": 0.6, "a10": 0.6, "a40": 0.6, "t4": 0.6}  # fmt: skip


def typical(
    row: Card, setup: Setup, known: Sequence[Calibration]
) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """The constants that cards show in a mode, and what there is to say about them.

    The mean over cards, each in the software nearest to the one asked for; what a card departs in
    from the common κ and σ stays with it.
    """
    modes = (
        (setup.training, setup.compiled),
        # nothing measured: another mode is nearer than none
        (setup.training, not setup.compiled),
        (not setup.training, setup.compiled),
    )
    rows: list[Calibration] = []
    notes: tuple[str, ...] = ()
    for mode in modes:
        rows = [c for c in known if c.setup.platform == "cuda" and _mode(c.setup) == mode]
        if rows:
            break
        notes = ("this mode was measured on no card",)
    nearest: dict[str, Calibration] = {}
    for c in sorted(rows, key=lambda c: (-_gap(c.setup, setup), c.setup.layout == setup.layout)):
        nearest[c.gpu] = c
    gemm, attention, memory = (
        sum(c.constants[i] for c in nearest.values()) / len(nearest) for i in range(3)
    )
    slower = 1.0 if setup.precision == "fp32" else _slower(row)
    # the cards that were measured are GeForce; no other computes faster than its sheet says
    fastest = 0.0 if _is_geforce(row) else 1.0
    products = (max(constant * slower, fastest) for constant in (gemm, attention))
    return (*products, memory, 0.0, 0.0), notes


def _mode(setup: Setup) -> tuple[bool, bool]:
    return setup.training, setup.compiled


def _gap(a: Setup, b: Setup) -> int:
    return abs(a.torch[0] * 100 + a.torch[1] - b.torch[0] * 100 - b.torch[1])


def _is_geforce(row: Card) -> bool:
    return row.kin.startswith(("rtx3", "rtx4", "rtx5"))


def _slower(row: Card) -> float:
    """How many times the sheet's time a product takes."""
    peaks = (CARDS.get(row.kin) or row).peaks
    peak = peaks.bf16 or peaks.fp16
    if _is_geforce(row) or not row.vendor or peak is None:
        return 1.0
    if row.kin in REACHED:
        return peak / REACHED[row.kin]
    return 1 / _CAPPED.get(row.kin, _SHARES.get(row.vendor, 1.0))
