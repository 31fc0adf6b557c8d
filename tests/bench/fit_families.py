"""The weights of the classes of work of other families, fitted to timm's files.

    PYTHONPATH=.:tests/start python tests/bench/fit_families.py TIMINGS.csv [write]

The work of a model is that of its digest (``tests/digest/make.py``): timings of names that it has,
of images of its size, are fitted, those left out that are of a folded module. Names are held out by
half: each is predicted by weights that were fitted to the other half. Prints the errors; ``write``
makes the tables of ``vitcost/hardware/weights.py`` and ``tests/data/families.csv`` anew.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from csv import DictReader, writer
from math import ceil, prod
from pathlib import Path
from statistics import median
from textwrap import wrap
from typing import NamedTuple, TypeAlias, cast
from zlib import crc32

import numpy as np

from vitcost.config.optimizers import OPTIMIZERS
from vitcost.hardware.calibrate import percentile
from vitcost.hardware.calibrations import CALIBRATIONS
from vitcost.hardware.cards import CPUS
from vitcost.hardware.constants import Calibration, Sheet, host_seconds, sheet_of, terms
from vitcost.hardware.lowered import way_of
from vitcost.hardware.map_classes import SERIAL, column_of
from vitcost.hardware.measured_rows import Row, read
from vitcost.hardware.measurements import other_module
from vitcost.hardware.specs import card
from vitcost.hardware.weights import WEIGHTS, Weights
from vitcost.hardware.work_classes import Setup, Work
from vitcost.traced.batch_sizes import value
from vitcost.traced.digest import Digest, index
from vitcost.traced.digested import DigestedModel
from vitcost.zoo import resolve
from vitcost.zoo.digests import TIMM

# what a fit holds each weight near: those that are not here near 1, the bytes of one stream
NEAR = {
    "pointwise flops": 1.0,
    "pointwise bytes": 0.8,
    "dense flops": 1.1,
    "dense bytes": 1.0,
    "stem flops": 3.0,
    "merging flops": 2.0,
    "grouped flops": 2.0,
    "depthwise 3 flops": 5.0,
    "depthwise 5 flops": 5.0,
    "depthwise, large flops": 15.0,
    "depthwise, channels last flops": 5.0,
    "resampling flops": 0.0,
    # fp32 beside halves on matrix units
    "wide product flops": 4.0,
    "serial": 0.3,
    # on a processor: of a layer's constant
    "launch": 0.1,
}
# being off by its own size counts like a relative error of so much in every row
FIRM = 0.005
# no kernel is free: the least weight, in shares of the usual one
LEAST = 0.25
# families that are further off than this in half of their rows
FAR = 0.2
# steps of which the host takes more tell of no class
MOST_HOST = 0.7

COLUMNS = ("software", "family", "names", "rows", "median", "p90", "flops", "bias")
# modules of timm with windows or stages of tokens, and nets like ConvNeXt
LIKE_SWIN = (
    "convnext", "davit", "edgenext", "efficientformer", "focalnet", "gcvit", "hiera",
    "hieradet_sam2", "inception_next", "levit", "maxxvit", "mvitv2", "nest", "nextvit", "pit",
    "pvt_v2", "swin_transformer", "swin_transformer_v2", "swin_transformer_v2_cr", "tiny_vit",
    "twins",
)  # fmt: skip
TABLES, ERRORS = ("vitcost/hardware/weights.py", "tests/data/families.csv")
_WRITTEN = "# all that follows is written by tests/bench/fit_families.py\n"


class Amounts(NamedTuple):
    """The work of a step: that of kernels which plain ViTs have, and FLOPs and bytes by class."""

    plain: Work
    flops: dict[str, int]
    bytes: dict[str, int]
    serial: int


class Point(NamedTuple):
    """A timing: what plain kernels take of it, what each class would at weight 1, in shares."""

    row: Row
    module: str
    kind: str
    plain: float
    classes: dict[str, float]
    host: float
    seconds: float
    flops: int

    def share(self, weights: dict[str, float]) -> float:
        """Predicted over measured."""
        took = self.plain + sum(weights[name] * x for name, x in self.classes.items())
        return max(took, self.host)


def points(timings: str) -> list[Point]:
    """The timings of the models of the digest, on cards and in software that have constants."""
    with Path(timings).open(newline="") as lines:
        modules = {line["model"]: line["module"] for line in DictReader(lines)}
    known = {(c.gpu, c.setup): c for c in CALIBRATIONS}
    entries = index(str(TIMM)).entries
    found: list[Point] = []
    name, digest, work = "", None, {}
    for row in sorted(read(timings), key=lambda row: row.model):
        calibration, entry = known.get((row.gpu, row.setup)), entries.get(row.model)
        if calibration is None or entry is None:
            continue
        if row.img_size and entry.image[-2:] != (row.img_size, row.img_size):
            continue
        if digest is None or name != row.model:
            config = cast(DigestedModel, resolve(row.model).config)
            name, digest, work = row.model, config.digest, {}
        if other_module(row, config):
            continue
        setup = row.setup
        key = row.batch, setup.compiled, setup.training, setup.platform, setup.torch
        if key not in work:
            work[key] = amounts(digest, row.batch, setup)
        if work[key] is not None:
            names = modules[row.model], entry.kind
            found.append(_point(row, names, calibration, work[key]))
    return found


def amounts(digest: Digest, batch: int, setup: Setup) -> Amounts | None:
    """The pass of a digest that a timing is of; None where the digest has none."""
    cpu = setup.platform == "cpu"
    scenes = digest.scenes("fp32" if cpu else "amp-fp16", batch == 1)
    run = None if scenes is None else scenes.step if setup.training else scenes.inference
    if run is None or (setup.compiled and setup.torch < (2, 0) and run.kernels):
        return None
    plain, flops, moved, serial = Work(), Counter[str](), Counter[str](), 0
    for each in run.work(way_of(setup, run.kernels), batch):
        work = Work(**{field: value(size, batch) for field, size in each.amounts})
        if each.kind in WEIGHTS:
            name = f"{each.kind}, backward" if each.backward else each.kind
            flops[name] += work.map_flops
            moved[name] += work.map_bytes
            serial += 0 if each.backward or each.kind != SERIAL else work.serial
            work = Work(launches=work.launches, flops=work.flops)
        plain += work
    if setup.training:
        count = sum(prod(shape) for shape, _, _, _ in digest.parameters)
        passes = OPTIMIZERS["sgd-momentum"].passes + 4 * (setup.torch < (2, 0))
        plain += Work(stream_bytes=count * 4 * passes)
    return Amounts(plain, dict(flops), dict(moved), serial)


def _point(row: Row, names: tuple[str, str], c: Calibration, done: Amounts) -> Point:
    seconds, cpu = row.batch / row.images_per_second, row.setup.platform == "cpu"
    sheet: Sheet = sheet_of(CPUS[row.gpu] if cpu else card(row.gpu), row.setup)
    columns, fixed = terms(done.plain, sheet, row.setup)
    took = sum(x * y for x, y in zip(c.constants, columns, strict=True)) + fixed
    gemm, memory = c.constants[0], c.constants[1 if cpu else 2]
    # a processor's plain term has every FLOP once
    unit = "more" if cpu else "flops"
    classes = {f"{n} {unit}": gemm * f / sheet.flops_per_second for n, f in done.flops.items()}
    classes |= {f"{n} bytes": memory * b / sheet.bytes_per_second for n, b in done.bytes.items()}
    if cpu:
        classes["launch"] = c.constants[2] * 1e-3 * done.plain.launches
    else:
        classes["serial"] = 1e-6 * done.serial
    host = host_seconds(done.plain, row.setup, c.host_seconds)
    shares = {name: x / seconds for name, x in classes.items() if x}
    return Point(row, *names, took / seconds, shares, host / seconds, seconds, done.plain.flops)


def near_to(name: str) -> float:
    """The number that a fit holds a weight near."""
    return NEAR.get(name, 0.5 if name.endswith(" more") else 1.0)


def fitted(some: Sequence[Point], fixed: dict[str, float]) -> dict[str, float]:
    """Weights x ≥ 0 that make the points' shares 1: robust, and near to what is usual."""
    names = sorted({name for p in some for name in p.classes if name not in fixed})
    near = np.array([near_to(name) for name in names])
    rows = np.array([[p.classes.get(name, 0.0) for name in names] for p in some])
    held = [sum(fixed.get(n, 0.0) * x for n, x in p.classes.items()) for p in some]
    left = np.array([1 - p.plain - h for p, h in zip(some, held, strict=True)])
    # those that the host bounds tell of no class
    told = np.array([p.host < MOST_HOST for p in some])
    rows, left = rows[told], left[told]
    weights = np.ones(len(left))
    x = near.copy()
    for _ in range(12):
        prior = FIRM**2 * len(left) * np.median(weights) / np.maximum(near, 0.5) ** 2
        gram = rows.T @ (rows * weights[:, None]) + np.diag(prior)
        right = rows.T @ (left * weights) + prior * near
        for _ in range(300):
            before = x.copy()
            for i in range(len(x)):
                x[i] = max(LEAST * near[i], x[i] - (gram[i] @ x - right[i]) / gram[i, i])
            if np.abs(x - before).max() < 1e-5:
                break
        weights = 1 / np.maximum(np.abs(rows @ x - left), 0.02)
    return {**fixed, **dict(zip(names, map(float, x), strict=True))}


def half(point: Point) -> bool:
    return bool(crc32(point.row.model.encode()) % 2)


def by_file(some: Sequence[Point], weights: dict[str, float]) -> dict[str, float]:
    """How many times longer the classes take in each version of torch than in all."""
    found = {}
    for file in sorted({_torch(p) for p in some}):
        own = [p for p in some if _torch(p) == file and p.host < MOST_HOST]
        parts = [sum(weights[n] * x for n, x in p.classes.items()) for p in own]
        factors = sorted(
            ((1 - p.plain) / part, part) for p, part in zip(own, parts, strict=True) if part > 0.2
        )
        # the middle, each as heavy as its share
        heavy, at = sum(w for _, w in factors) / 2, 0.0
        for factor, w in factors:
            at += w
            if at >= heavy:
                found[file] = min(max(factor, 0.5), 2.0)
                break
    return found


def _torch(point: Point) -> str:
    return ".".join(map(str, point.row.setup.torch))


def share_of(p: Point, weights: dict[str, float], factors: dict[str, float]) -> float:
    factor = factors.get(_torch(p), 1.0)
    return p._replace(classes={n: factor * x for n, x in p.classes.items()}).share(weights)


# the weights, and what each version of torch departs from them
_Told: TypeAlias = "tuple[dict[str, float], dict[str, float]]"


def told(some: Sequence[Point], fixed: dict[str, float]) -> _Told:
    """The weights that fit best, and what each version of torch departs from them."""
    own, weights, factors = list(some), dict(fixed), {}
    for _ in range(3):
        weights = fitted(own, fixed)
        factors = by_file(some, weights)
        own = [
            p._replace(classes={n: factors.get(_torch(p), 1.0) * x for n, x in p.classes.items()})
            for p in some
        ]
    return weights, factors


def halves(some: Sequence[Point], fixed: Sequence[dict[str, float]]) -> list[_Told]:
    """The weights that predict each half of the names: they were fitted to the other half."""
    return [told([p for p in some if half(p) != side], fixed[side]) for side in (False, True)]


def held_out(some: Sequence[Point], by: Sequence[_Told]) -> list[float]:
    """Predicted over measured of each point, by weights of the other half of the names."""
    default = {name: near_to(name) for p in some for name in p.classes}
    return [share_of(p, {**default, **by[half(p)][0]}, by[half(p)][1]) for p in some]


# the columns of the table of weights, and those that hold of the forward pass of a training step
GROUPS = {
    "eager": "",
    "compiled": "",
    "backward": "eager",
    "last": "",
    "last_backward": "last",
    "processor": "",
}


def main(arguments: Sequence[str]) -> int:
    timings, *write = arguments
    groups: dict[str, list[Point]] = {column: [] for column in GROUPS}
    for point in points(timings):
        groups[column_of(point.row.setup)].append(point)
    by: dict[str, list[_Told]] = {"": [({}, {})] * 2}
    weights: dict[str, _Told] = {"": ({}, {})}
    rows: list[tuple[object, ...]] = []
    apart: dict[str, set[str]] = {}
    bands: dict[str, tuple[float, float]] = {}
    for name in sorted(GROUPS, key=lambda name: "backward" in name):
        some, forward = groups[name], GROUPS[name]
        by[name] = halves(some, [own for own, _ in by[forward]])
        shares = held_out(some, by[name])
        weights[name] = told(some, weights[forward][0])
        print(f"\n{name}: {_said(shares)}, time by FLOPs {median(_by_flops(some)):.1%}")
        alike = [x for p, x in zip(some, shares, strict=True) if p.module in LIKE_SWIN]
        others = [x for p, x in zip(some, shares, strict=True) if p.module not in LIKE_SWIN]
        print(f"like Swin: {_said(alike)}; others: {_said(others)}")
        right, pairs = _ordered(some, shares)
        print(f"order right in {right} of {pairs} pairs of equal FLOPs, {right / pairs:.1%}")
        families = list(_by_family(name, some, shares))
        apart[name] = set(_far(some, shares))
        print("further off than 20 % in half:", *sorted(apart[name]))
        near = [1 / x for p, x in zip(some, shares, strict=True) if p.kind not in apart[name]]
        bands[name] = _band(near)
        print("others took, times:", *(f"{percentile(near, p):.2f}" for p in (0.05, 0.95)))
        rows += families
    if write:
        Path(TABLES).write_text(_tables(weights, apart, bands), encoding="utf-8")
        with Path(ERRORS).open("w", newline="") as file:
            writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    return 0


def _far(some: Sequence[Point], shares: Sequence[float]) -> Iterator[str]:
    """The classes of models that are further off than 20 % in half of their timings."""
    errors: dict[str, list[float]] = defaultdict(list)
    for p, share in zip(some, shares, strict=True):
        errors[p.kind].append(abs(share - 1))
    yield from (kind for kind, own in errors.items() if median(own) > FAR)


def _band(took: Sequence[float]) -> tuple[float, float]:
    """How much shorter and longer than predicted nine in ten took, rounded outward to 0.05."""
    low, high = percentile(took, 0.05), percentile(took, 0.95)
    return round(ceil(20 * (1 - low)) / 20, 2), round(ceil(20 * (high - 1)) / 20, 2)


def _by_family(
    software: str, some: Sequence[Point], shares: Sequence[float]
) -> Iterator[tuple[str, str, int, int, float, float, float, float]]:
    """The errors of each module of timm, and of time by FLOPs in it and of all together."""
    groups: dict[str, list[int]] = defaultdict(list)
    for i, p in enumerate(some):
        groups[p.module].append(i)
    alike = [i for i, p in enumerate(some) if p.module in LIKE_SWIN]
    all_of = [("all", list(range(len(some)))), ("like Swin", alike)]
    for family, places in [*all_of, *sorted(groups.items())]:
        errors = [abs(shares[i] - 1) for i in places]
        flops = _by_flops(some, places)
        names = len({some[i].row.model for i in places})
        bias = median(shares[i] for i in places) - 1
        numbers = median(errors), percentile(errors, 0.9), median(flops), bias
        middle, nine, by_flops, bias = (round(x, 3) for x in numbers)
        yield software, family, names, len(places), middle, nine, by_flops, bias


def _tables(
    weights: Mapping[str, _Told],
    apart: Mapping[str, set[str]],
    bands: Mapping[str, tuple[float, float]],
) -> str:
    """The module of weights with its tables anew."""
    before = Path(TABLES).read_text(encoding="utf-8").partition(_WRITTEN)[0]
    rows = {name: own for name, (own, _) in weights.items()}
    lines = ["# fmt: off", "_ROWS: dict[str, tuple[tuple[float, float], ...]] = {", *_rows(rows)]
    lines += ["}", "# fmt: on"]
    lines += ["WEIGHTS: Mapping[str, Weights] = {n: Weights(*row) for n, row in _ROWS.items()}"]
    lines += ["# by which factor all classes take longer with the libraries of a torch version"]
    lines += ["VERSIONS: Mapping[str, Mapping[tuple[int, int], float]] = {"]
    for name in GROUPS:
        own = weights[name][1].items()
        pairs = ", ".join(f"({torch.replace('.', ', ')}): {x:.2f}" for torch, x in own)
        lines.append(f'    "{name}": {{{pairs}}},')
    lines += ["}", "# on a processor, how many layers a launch of a traced model counts as"]
    lines += [f"LAUNCH = {rows['processor']['launch']:.3f}"]
    lines += ["# classes of models for which half of the held-out errors are above 20 %"]
    lines += ["# fmt: off", "APART: Mapping[str, frozenset[str]] = {"]
    for name in GROUPS:
        words = ", ".join(f'"{kind}"' for kind in sorted(apart[name]))
        lines += [f'    "{name}": frozenset({{', *(f"        {line}" for line in wrap(words, 88))]
        lines += ["    }),"]
    lines += ["}", "# fmt: on"]
    lines += ["# for other models: how much less and more than predicted nine in ten timings took"]
    lines += [f"BANDS: Mapping[str, tuple[float, float]] = {dict(bands)!r}"]
    return before + _WRITTEN + "\n".join(lines) + "\n"


def _rows(weights: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The weights by class."""
    units = ("flops", "more", "bytes")
    names = {name.rpartition(" ") for own in weights.values() for name in own}
    kinds = sorted({kind.removesuffix(", backward") for kind, _, unit in names if unit in units})
    lines = []
    for kind in kinds:
        cells = []
        for column in Weights._fields:
            of = kind + ", backward" * ("backward" in column)
            pair = [f"{of} more" if column == "processor" else f"{of} flops", f"{of} bytes"]
            usual = [near_to(name.replace(", backward", "")) for name in pair]
            own = [weights[column].get(*each) for each in zip(pair, usual, strict=True)]
            cells.append("({:.2f}, {:.2f})".format(*own))
        lines += [f'    "{kind}": (', f"        {', '.join(cells)},", "    ),"]
    return lines


def _by_flops(some: Sequence[Point], places: Sequence[int] | None = None) -> list[float]:
    """The errors of time by FLOPs, with the factor of each file's middle model."""
    files: dict[str, list[float]] = defaultdict(list)
    for p in some:
        files[p.row.file].append(p.seconds / p.flops)
    factors = {file: median(own) for file, own in files.items()}
    chosen = some if places is None else [some[i] for i in places]
    return [abs(factors[p.row.file] * p.flops / p.seconds - 1) for p in chosen]


def _ordered(some: Sequence[Point], shares: Sequence[float]) -> tuple[int, int]:
    """Pairs of a file of equal FLOPs an image and other speed, and how many are ordered right."""
    pairs = right = 0
    files: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for p, share in zip(some, shares, strict=True):
        own = p.seconds / p.row.batch
        files[p.row.file].append((p.flops / p.row.batch, own, own * share))
    for rows in files.values():
        for i, (flops, seconds, guess) in enumerate(rows):
            for other, others, guessed in rows[:i]:
                equal = max(flops, other) <= 1.05 * min(flops, other)
                if equal and max(seconds, others) > 1.05 * min(seconds, others):
                    pairs += 1
                    right += (seconds > others) == (guess > guessed)
    return right, pairs


def _said(shares: Iterable[float]) -> str:
    errors = [abs(share - 1) for share in shares]
    nine = percentile(errors, 0.9)
    return f"{len(errors)} rows, median {median(errors):.1%}, nine in ten {nine:.1%}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
