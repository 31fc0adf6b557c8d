"""One of each result that a command answers with, for tests that hold of them all."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import vitcost
from vitcost.check.differences import CheckResult, Difference, ModelCheck
from vitcost.planner.budget import BudgetResult, Check
from vitcost.planner.budgets.declared import Place
from vitcost.planner.budgets.sides import Side
from vitcost.planner.changes import Changed
from vitcost.planner.diff import Base, Diff, ModelDiff
from vitcost.render.result import Result

__all__ = ["NAMED", "RESULTS"]

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


def diff(text: str = "small") -> Diff:
    """A model that grew, one that is new and one that has no answer."""
    numbers = {"params": 3, "train_memory": 2**30, "tokens": 5}
    was = Side(numbers, {text: {"params": 3}}, {text: text, "depth": "1"})
    more = {"params": 4, "train_memory": 2**31, "tokens": 6}
    now = Side(more, {text: {"params": 4}}, {text: text * 2, "depth": "2"}, "bounded", 2)
    models = (
        ModelDiff(text, was, now),
        ModelDiff(f"{text} too", None, now, text),
        ModelDiff(f"{text} no more", was, None, text),
    )
    return Diff(Base(text, "commit", "0" * 40), models)


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
    "serve": lambda: vitcost.serve(BASE, rate=2000, slo=0.02, gpu=["l4", "t4"], price=1),
    "budget": budget,
    "check": check,
    "diff": diff,
}


@lru_cache
def once(name: str) -> Any:
    return RESULTS[name]()


def _reported(text: str) -> Result:
    found = once("report")
    return replace(found, model=found.model._replace(name=text, source=text))


def _fitted(text: str) -> Result:
    found = once("fit")
    rows = tuple(row._replace(gpu=text, peak_at=text) for row in found.found)
    return replace(found, model=found.model._replace(name=text), found=rows)


def _planned(text: str) -> Result:
    found = once("plan")
    card, model = found.card._replace(name=text), found.model._replace(name=text)
    return replace(found, model=model, card=card, assumptions=(text,))


def _served(text: str) -> Result:
    found = once("serve")
    rows = tuple(row._replace(gpu=text, missing=text, notes=(text,)) for row in found.found)
    return replace(found, model=found.model._replace(name=text), found=rows)


def _compared(text: str) -> Result:
    found = once("compare")
    rows = tuple(each._replace(model=text) for each in found.compared)
    return replace(found, compared=rows)


def _listed(name: str, /, **texts: str) -> Result:
    found = once(name)
    return replace(found, found=tuple(row._replace(**texts) for row in found.found))


# every result with a text wherever a user's names, files and configs have one
NAMED: Mapping[str, Callable[[str], Result]] = {
    "report": _reported,
    "models": lambda text: _listed("models", name=text, family=text, source=text),
    "gpus": lambda text: _listed("gpus", name=text, vendor=text),
    "explain": lambda text: replace(once("explain"), model=text),
    "calibration": lambda text: replace(
        once("calibration"),
        calibrations=tuple(
            c._replace(gpu=text, source=text) for c in once("calibration").calibrations
        ),
    ),
    "throughput": lambda text: replace(
        once("throughput"),
        files=tuple(file._replace(file=text) for file in once("throughput").files),
    ),
    "compare": _compared,
    "fit": _fitted,
    "plan": _planned,
    "serve": _served,
    "budget": budget,
    "check": check,
    "diff": diff,
}
