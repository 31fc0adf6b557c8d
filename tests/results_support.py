"""One of each result that a command answers with, for tests that hold of them all."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import vitcost
from vitcost.budget import BudgetResult, Check
from vitcost.budgets.declared import Place
from vitcost.check.result import CheckResult, Difference, ModelCheck
from vitcost.page import Result
from vitcost.quantities import Changed

__all__ = ["RESULTS"]

DATA = Path(__file__).parent / "data"
BASE = "vit_base_patch16_224"


def budget(text: str = "small") -> BudgetResult:
    """A budget that is exceeded and one that holds; the text wherever a user's file has one."""
    place = Place(text, 7, "params")
    grew = Changed(text, "params", "count", None, 3)
    return BudgetResult(
        (
            Check(text, "params", 3, 2, 1, 1, "error", place, (grew,)),
            Check(text, "weights", 12, 20, None, None, "warn", place._replace(line=None), ()),
        ),
        why=True,
    )


def check(text: str = "blocks.0") -> CheckResult:
    """A verdict with a difference that is explained and one that is not."""
    differences = (
        Difference(text, "params", 1, 2),
        Difference(text, "shape", (1, 2), text, "a habit"),
    )
    return CheckResult((ModelCheck(text, {"params": 2}, differences, 0.5),), {"torch": text})


@lru_cache
def throughput(what: Callable[[str], Result]) -> Result:
    """What is made of one card's measurements."""
    name = "benchmark-infer-amp-nchw-pt240-cu124-rtx4090-dynamo.csv"
    with (DATA / "throughput.csv").open(newline="", encoding="utf-8") as file:
        header, *lines = file
    with TemporaryDirectory() as folder:
        few = Path(folder) / "throughput.csv"
        few.write_text("".join([header, *(line for line in lines if name in line)][:150]))
        return what(str(few))


RESULTS: Mapping[str, Callable[[], Result]] = {
    "report": lambda: vitcost.report(BASE, batch=2),
    "models": lambda: vitcost.models("huge"),
    "explain": lambda: vitcost.explain(BASE, "params", latex=True),
    "gpus": lambda: vitcost.gpus("h200"),
    "fit": lambda: vitcost.fit(BASE, gpu="t4", require=10**6, mode="train"),
    "calibration": lambda: throughput(vitcost.calibrate),
    "throughput": lambda: throughput(vitcost.check_throughput),
    "compare": lambda: vitcost.compare(BASE, "vit_tiny_patch16_224", why=True),
    "plan": lambda: vitcost.plan(BASE, samples=10**6, gpu="a100-sxm-80gb", zero=1),
    "budget": budget,
    "check": check,
}
