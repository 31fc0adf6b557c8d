"""The largest batch, image and depth whose tensors are within some bytes."""

from collections.abc import Callable, Iterable
from functools import cache
from math import lcm
from typing import Any

from vitcost.config.scenario import Scenario
from vitcost.config.vit_config import ViTConfig
from vitcost.engine.workload import Workload, workload
from vitcost.errors import ConfigError, NotCovered, VitcostError, shown
from vitcost.planner.invert import largest_convex, largest_monotone
from vitcost.planner.need import Need, need
from vitcost.zoo import Resolved, resolve

__all__ = ["LARGEST", "largest_batches", "largest_sizes", "needs"]

# the largest image side in pixels and the largest depth of a config
LARGEST = {"img_size": 10**6, "depth": 10**5}


def needs(run: Workload) -> Callable[[int], Need]:
    """A function from a batch to the need of a workload there, which computes each batch once.

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
    """The largest batch within each limit in bytes; 0: none.

    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario(mode="train"))
    >>> largest_batches(base, needs(base), [8_730_708_904, 8_730_708_903, 10**9])
    {8730708904: 64, 8730708903: 63, 1000000000: 0}
    """
    by_limit = largest_convex(lambda batch: of(batch).total_bytes, limits, 2)
    # a batch of one runs other operators, and is computed separately
    least = run.least_batch
    return {
        limit: most if most > 1 else int(least == 1 and of(1).total_bytes <= limit)
        for limit, most in by_limit.items()
    }


def largest_sizes(
    name: str, model: Resolved, scenario: Scenario, limits: Iterable[int]
) -> dict[int, int]:
    """The largest square image or depth with which the scenario's batch is within each limit in
    bytes; 0: none.

    Raises ``NotCovered`` for a model that has no such size, ``ConfigError`` for another size.

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
        # a backbone and a model that pads take sizes between, which hold no less
        between = [size for size in range(whole + 1, whole + step) if _taken(model, name, size)]
        more = largest_monotone(lambda i: of(between[i - 1]), limit, len(between))
        return between[more - 1] if more else whole

    # an error of the model is raised before anything is searched
    of(step)
    last = LARGEST[name] // step
    return {limit: most(limit) for limit in limits}


def _taken(model: Resolved, name: str, size: int) -> bool:
    """Whether there is such a model."""
    try:
        resolve(model, **{name: size})
    except VitcostError:
        return False
    return True


def _image_step(config: object) -> int:
    """By how many pixels a square image grows: whole patches, of the features of a backbone."""
    vision: Any = getattr(config, "vision", config)
    if hasattr(config, "workload"):
        raise NotCovered("a traced model is of one image size: it has a largest batch alone")
    if not isinstance(vision, ViTConfig):
        raise NotCovered("a model that reads text has no largest image; ask for its depth")
    step = lcm(*vision.patch_size)
    if vision.backbone:
        # hybrids alone load it
        from vitcost.config.backbones import BACKBONES

        for stride in BACKBONES[vision.backbone].strides:
            step *= stride
    return step
