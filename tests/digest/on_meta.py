"""Parameters and forward FLOPs of every name of timm's digest against torch on its meta device.

PYTHONPATH=.:tests/start python tests/digest/on_meta.py [NAME ...]
"""

import sys
from typing import NamedTuple

import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

import vitcost
from vitcost.traced.digest import index
from vitcost.zoo.digests import TIMM
from vitcost.zoo.tracing import built_by_timm

__all__ = ["Counted", "counted", "differs"]

BATCH = 2


class Counted(NamedTuple):
    """A model as torch and timm count it, at a batch."""

    kind: str
    image: tuple[int, ...]
    params: int
    trainable: int
    flops: int  # of a forward in eval, by torch's counter
    batch: int = BATCH


def counted(name: str) -> Counted:
    """A name as timm builds it with 1,000 classes, on the meta device."""
    with torch.device("meta"):
        model = built_by_timm(timm, name, {}).eval()
        image = tuple(timm.data.resolve_data_config(model=model)["input_size"])
        every = list(model.parameters())
        trained = sum(p.numel() for p in every if p.requires_grad)
        params = sum(p.numel() for p in every)
        # torch's counter hooks into the graph of a parameter that a module is given
        model.requires_grad_(False)
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            model(torch.empty(BATCH, *image))
    return Counted(type(model).__name__, image, params, trained, counter.get_total_flops())


def differs(name: str) -> str:
    """The first number of a name in which its digest is not torch; empty: all are equal."""
    own, file = counted(name), index(str(TIMM))
    if name in file.refused:
        row = file.refused[name]
        known = row.kind, row.image, row.params, own.trainable, 2 * BATCH * row.macs
    else:
        entry, found = file.entries[name], vitcost.report(name, batch=BATCH)
        known = entry.kind, entry.image, found.params, found.trainable_params, found.flops.forward
    pairs = zip(Counted._fields, known, own, strict=False)
    return "; ".join(f"{what} is {a}, torch says {b}" for what, a, b in pairs if a != b)


def main(*names: str) -> int:
    wrong = 0
    file = index(str(TIMM))
    every = names or sorted([*file.entries, *file.refused])
    for name in every:
        said = differs(name)
        wrong += bool(said)
        if said:
            print(f"{name}: {said}", flush=True)
    print(f"{len(every) - wrong} of {len(every)} names are torch's and timm's")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
