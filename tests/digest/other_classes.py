"""Digests with other classes than were traced, by rule, against traces with as many classes.

    PYTHONPATH=.:tests/start python tests/digest/other_classes.py [NAME ...]

Without names it takes a spread of families, each in one precision and with one number of classes by
turns. A name is held twice: as a digest that is made anew, which says what a class more adds to
each moment, and as its file has it.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from compare import PRECISIONS, differences
from condense import named
from make import _TIMM, traced

from vitcost.errors import NotCovered
from vitcost.traced.digest import Digest, Entry, index
from vitcost.traced.digested import DigestedModel
from vitcost.traced.file import TraceFile
from vitcost.zoo import Resolved, resolve, tracing
from vitcost.zoo.digests import TIMM

__all__ = ["other_classes"]

_NOT_SAID = "does not say what the kernels around the last layer lay out"
CLASSES = (10, 21841, 37, 2, 1)
SPREAD = (
    "resnet10t", "convnext_atto", "mixer_s32_224", "convit_tiny", "cspnext_tiny", "gernet_s",
    "lcnet_050", "legacy_seresnet18", "mambaout_femto", "nf_resnet26", "pvt_v2_b0",
    "swiftformer_xs", "ese_vovnet19b_slim", "test_vit_relpos", "test_coatnet", "regnetx_002",
    "edgenext_xx_small", "pit_ti_224", "mobilenetv1_100", "hiera_tiny_224",
)  # fmt: skip


def other_classes(name: str, classes: int, precision: str, batches: tuple[int, ...]) -> list[str]:
    """The answers in which the rule differs from a trace of a model with so many classes."""
    file = _traced(name, precision, classes)
    own = _anew(name, _traced(name, precision))
    found = [f"made anew: {each}" for each in _held(own, file, classes, precision, batches)]
    shipped = resolve(name)
    return found + list(_held(shipped, file, classes, precision, batches))


def _traced(name: str, precision: str, classes: int | None = None) -> TraceFile:
    def built(asked: str) -> Resolved | None:
        found = tracing.of_timm(asked)
        return found if found is None or classes is None else resolve(found, num_classes=classes)

    return traced(name, (precision,), more=False, library=_TIMM._replace(trace=built))


def _anew(name: str, file: TraceFile) -> Resolved:
    own = named(file)
    digest = Digest(Entry(name, *own[:4], 0, 0), index(str(TIMM)), own.block)
    model: object = DigestedModel(name, digest, "", lambda: None)
    return Resolved(name, "made anew", model)  # type: ignore[arg-type]


def _held(
    digest: Resolved, file: TraceFile, classes: int, precision: str, batches: tuple[int, ...]
) -> Iterator[str]:
    try:
        of = resolve(digest, num_classes=classes)
    except NotCovered as reason:
        yield str(reason)
        return
    if not isinstance(of.config, DigestedModel):
        yield f"no rule gives {classes:,} classes"
        return
    for each in differences(digest.name, file, (precision,), batches, of):
        # a digest of an older form has no such time
        if _NOT_SAID not in each:
            yield each


def main(*names: str) -> int:
    wrong = 0
    for i, name in enumerate(names or SPREAD):
        classes, precision = CLASSES[i % len(CLASSES)], PRECISIONS[i % 4]
        found = other_classes(name, classes, precision, (1, 2, 7, 64, 4096))
        wrong += bool(found)
        said = "; ".join(found[:4]) or "equal"
        print(f"{name}, {classes:,} classes, {precision}: {said}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
