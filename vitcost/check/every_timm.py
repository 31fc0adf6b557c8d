"""Compares every architecture of timm with timm itself, in as many processes as there are cores."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from vitcost.check.against_torch import compare
from vitcost.check.differences import ModelCheck
from vitcost.check.witness import case_of
from vitcost.config.vit_config import ViTConfig
from vitcost.zoo import resolve

__all__ = ["walk"]


def walk(
    names: Sequence[str], batch: int, on_done: Callable[[int, str], None]
) -> tuple[ModelCheck, ...]:
    """Runs the quick steps for every name; the results are in the order of the names."""
    if not names:
        return ()
    checks = []
    # a forked process would inherit the locks of torch's threads
    context = get_context("spawn")
    processes = min(os.cpu_count() or 1, len(names))
    with ProcessPoolExecutor(processes, context, initializer=_alone) as pool:
        for one in pool.map(partial(_quick, batch=batch), names):
            checks.append(one)
            on_done(len(checks), one.model)
    return tuple(checks)


def _alone() -> None:
    """Limits a process to one thread, since there are as many processes as cores."""
    import torch

    torch.set_num_threads(1)


def _quick(name: str, batch: int) -> ModelCheck:
    config = resolve(name).config
    assert isinstance(config, ViTConfig), name
    case = case_of(name, config, batch, {})
    return compare(name, case, lambda label: None, quick=True)
