"""The largest batch, image and depth whose tensors stay within some bytes."""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from functools import cache
from math import lcm
from typing import Any, NamedTuple

from vitcost.config.scenario import Scenario
from vitcost.config.vit_config import ViTConfig
from vitcost.engine.workload import Workload, workload
from vitcost.errors import ConfigError, NotCovered, VitcostError, shown
from vitcost.planner.need import Need, need
from vitcost.zoo import Resolved, resolve

__all__ = [
    "LARGEST",
    "largest_batches",
    "largest_convex",
    "largest_monotone",
    "largest_sizes",
    "needs",
]


# how far after the first integer the first line is taken
_NEAR = 1024


class _Line(NamedTuple):
    """The line through a convex function at x - 1 and x; at integers the line is nowhere above the
    function."""

    x: int
    value: int
    slope: int

    def reaches(self, limit: int) -> int:
        """The largest integer at which the line stays within a limit."""
        return self.x + (limit - self.value) // self.slope


def largest_convex(of: Callable[[int], int], limits: Iterable[int], first: int) -> dict[int, int]:
    """For each of ``limits`` the largest x ≥ ``first`` whose ``of(x)`` is within it; ``first - 1``:
    none.

    ``of`` must rise by at least 1 a step and be convex on the integers from ``first`` on, such as
    the largest of several lines. If the line through two neighbours exceeds a limit, so does
    ``of``. Lines found for one limit are used for the others too, so a limit costs one evaluation
    and a line two. The first line is taken near ``first``.

    >>> largest_convex(lambda x: max(10 + x, 3 * x), [11, 12, 40, 2], 1)
    {40: 13, 12: 2, 11: 1, 2: 0}
    """
    largest: dict[int, int] = {}
    # the search does not begin at the far end: for a square, each line from there only halves the
    # distance
    lines = [_line(of, first + _NEAR)]
    for limit in sorted(set(limits), reverse=True):
        x = _reached(lines, limit, first)
        while (value := of(x)) > limit and x > first:
            lines.append(_line(of, x))
            x = _reached(lines, limit, first)
        largest[limit] = x if value <= limit else first - 1
    return largest


def _line(of: Callable[[int], int], x: int) -> _Line:
    value = of(x)
    return _Line(x, value, value - of(x - 1))


def _reached(lines: Iterable[_Line], limit: int, first: int) -> int:
    return max(min(line.reaches(limit) for line in lines), first)


def largest_monotone(of: Callable[[int], int], limit: int, last: int) -> int:
    """The largest x from 1 to ``last`` whose ``of(x)`` is within a limit; 0: none.

    ``of`` must not fall. Takes two evaluations for each doubling of the answer.

    >>> largest_monotone(lambda x: x * x, 50, 1000), largest_monotone(lambda x: 9, 1, 5)
    (7, 0)
    """
    low, high = 0, 1
    while high <= last and of(high) <= limit:
        low, high = high, 2 * high
    return low + bisect_right(range(low + 1, min(high, last + 1)), limit, key=of)


# the largest image side, in pixels, and the largest depth that a config allows
LARGEST = {"img_size": 10**6, "depth": 10**5}


def needs(run: Workload) -> Callable[[int], Need]:
    """A function that gives the need of a workload at a batch, and computes each batch once. The
    function raises ``NotCovered`` where ``need`` does.

    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario(mode="train"))
    >>> needs(base)(64).total_bytes
    8730708904
    """

    @cache
    def of(batch: int) -> Need:
        return need(run.at(batch))

    return of


def largest_batches(
    run: Workload, of: Callable[[int], Need], limits: Iterable[int]
) -> dict[int, int]:
    """The largest batch, in images, within each of ``limits``, in bytes; 0: none.

    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario(mode="train"))
    >>> largest_batches(base, needs(base), [8_730_708_904, 8_730_708_903, 10**9])
    {8730708904: 64, 8730708903: 63, 1000000000: 0}
    """
    by_limit = largest_convex(lambda batch: of(batch).total_bytes, limits, 2)
    # a single image runs other operators, so it is checked by itself
    least = run.least_batch
    return {
        limit: most if most > 1 else int(least == 1 and of(1).total_bytes <= limit)
        for limit, most in by_limit.items()
    }


def largest_sizes(
    name: str, model: Resolved, scenario: Scenario, limits: Iterable[int]
) -> dict[int, int]:
    """The largest square image, in pixels a side, or the largest depth, in layers, with which the
    scenario's batch is within each of ``limits``, in bytes; 0: none.

    Raises ``NotCovered`` for a model without that size, ``ConfigError`` for the name of any other
    size.

    >>> base, scenario = resolve("vit_base_patch16_224"), Scenario(batch=64, mode="train")
    >>> largest_sizes("img_size", base, scenario, [8_730_708_904])
    {8730708904: 224}
    """
    if name not in LARGEST:
        raise ConfigError(f"largest must be one of {', '.join(LARGEST)}, got {shown(name)}")
    step = _image_step(model.config) if name == "img_size" else 1

    @cache
    def of(size: int) -> int:
        other = resolve(model, **{name: size}).config
        return need(workload(other, scenario)).total_bytes

    def most(limit: int) -> int:
        whole = step * largest_monotone(lambda steps: of(steps * step), limit, last)
        # a backbone, and a model that pads, also take sizes between, which need no less memory
        between = [size for size in range(whole + 1, whole + step) if _taken(model, name, size)]
        more = largest_monotone(lambda i: of(between[i - 1]), limit, len(between))
        return between[more - 1] if more else whole

    # computed once beforehand, so that an error of the model is raised before the search
    of(step)
    last = LARGEST[name] // step
    return {limit: most(limit) for limit in limits}


def _taken(model: Resolved, name: str, size: int) -> bool:
    """Whether the model exists with this size."""
    try:
        resolve(model, **{name: size})
    except VitcostError:
        return False
    return True


def _image_step(config: object) -> int:
    """By how many pixels a square image grows: by whole patches, of the backbone's features in a
    hybrid."""
    vision: Any = getattr(config, "vision", config)
    if hasattr(config, "workload"):
        raise NotCovered("a traced model is of one image size: it has a largest batch alone")
    if not isinstance(vision, ViTConfig):
        raise NotCovered("a model that reads text has no largest image; ask for its depth")
    step = lcm(*vision.patch_size)
    if vision.backbone:
        # imported only for hybrids
        from vitcost.config.backbones import BACKBONES

        for stride in BACKBONES[vision.backbone].strides:
            step *= stride
    return step
