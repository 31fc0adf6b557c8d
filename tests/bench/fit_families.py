"""The weights of the classes of work of other families, fitted to timm's files.

    PYTHONPATH=.:tests/start python tests/bench/fit_families.py TIMINGS.csv FOLDER [OUT.csv]

FOLDER has the traces that trace_timm.py made. Names are held out by half: each is predicted by
weights that were fitted to the other half. Prints the errors and the table of
``vitcost/hardware/families.py``, and writes the errors by family.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from csv import DictReader, writer
from pathlib import Path
from statistics import median
from typing import NamedTuple
from zlib import crc32

import numpy as np

from vitcost.hardware.calibrate import percentile
from vitcost.hardware.calibrations import CALIBRATIONS
from vitcost.hardware.classes import Setup, Work
from vitcost.hardware.constants import Calibration, Sheet, host_seconds, sheet_of, terms
from vitcost.hardware.families import SERIAL, amounts, class_of
from vitcost.hardware.lowered import _plain, _serial, launched
from vitcost.hardware.measurements import Row, read
from vitcost.hardware.specs import card
from vitcost.optimizers import OPTIMIZERS
from vitcost.traced import file as traces
from vitcost.traced.trace import Trace

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
    "serial": 0.3,
}
# being off by its own size counts like a relative error of so much in every row
FIRM = 0.005
# no kernel is free: the least weight, in shares of the usual one
LEAST = 0.25


COLUMNS = ("software", "family", "names", "rows", "median", "p90", "flops", "bias")


class Point(NamedTuple):
    """A timing: what plain kernels take of it, what each class would at weight 1, in shares."""

    row: Row
    module: str
    plain: float
    classes: dict[str, float]
    host: float
    seconds: float
    flops: int

    def share(self, weights: dict[str, float]) -> float:
        """Predicted over measured."""
        took = self.plain + sum(weights[name] * x for name, x in self.classes.items())
        return max(took, self.host)


def points(timings: str, folder: str) -> list[Point]:
    """The timings of the models that are traced, on cards and in software that have constants."""
    with Path(timings).open(newline="") as lines:
        modules = {line["model"]: line["module"] for line in DictReader(lines)}
    known = {(c.gpu, c.setup): c for c in CALIBRATIONS}
    work: dict[object, tuple[Work, Counter[str], Counter[str]]] = {}
    files: dict[str, Trace] = {}
    found = []
    for row in read(timings):
        setup = row.setup
        calibration = known.get((row.gpu, setup))
        name = f"{row.model}@{row.img_size}.{setup.mode}"
        path = Path(folder) / f"{name}.json.gz"
        if calibration is None or setup.platform == "cpu" or setup.layout != "nchw":
            continue
        if not path.exists():
            continue
        if name not in files:
            files.clear()
            files[name] = traces.read(path).traces[0][1]
        key = name, row.batch, setup.compiled, setup.torch < (2, 0)
        if key not in work:
            work[key] = _work(files[name], row.batch, setup)
        found.append(_point(row, modules[row.model], calibration, *work[key]))
    return found


def _work(trace: Trace, batch: int, setup: Setup) -> tuple[Work, Counter[str], Counter[str]]:
    run = trace.step if setup.training else trace.inference
    assert run is not None
    plain = Work()
    flops: Counter[str] = Counter()
    moved: Counter[str] = Counter()
    for call, times in launched(run, batch, setup):
        kind = class_of(call, setup)
        own = Work(launches=1, flops=call.defined if call.phase == "forward" else 0)
        if kind:
            name = f"{kind}, backward" if call.backward else kind
            more = amounts(call, kind)
            flops[name] += times * more[0]
            moved[name] += times * more[1]
            if kind == SERIAL and not call.backward:
                moved["serial"] += times * _serial(call)
        else:
            own = _plain(call, setup)._replace(launches=1, flops=own.flops)
        plain += own.times(times)
    if setup.training:
        count = sum(np.prod(w.shape, dtype=int) for w in trace.weights if w.trains)
        passes = OPTIMIZERS["sgd-momentum"].passes + 4 * (setup.torch < (2, 0))
        plain += Work(stream_bytes=int(count) * 4 * passes)
    return plain, flops, moved


def _point(
    row: Row, module: str, c: Calibration, plain: Work, flops: Counter[str], moved: Counter[str]
) -> Point:
    seconds = row.batch / row.images_per_second
    sheet: Sheet = sheet_of(card(row.gpu), row.setup)
    columns, fixed = terms(plain, sheet, row.setup)
    took = sum(x * y for x, y in zip(c.constants, columns, strict=True)) + fixed
    gemm, _, memory, *_ = c.constants
    classes = {f"{n} flops": gemm * f / sheet.flops_per_second for n, f in flops.items()}
    classes |= {f"{n} bytes": memory * b / sheet.bytes_per_second for n, b in moved.items()}
    classes.pop("serial bytes", None)
    if moved["serial"]:
        classes["serial"] = 1e-6 * moved["serial"]
    host = host_seconds(plain, row.setup, c.host_seconds)
    shares = {name: x / seconds for name, x in classes.items() if x}
    return Point(row, module, took / seconds, shares, host / seconds, seconds, plain.flops)


def fitted(some: Sequence[Point], fixed: dict[str, float]) -> dict[str, float]:
    """Weights x ≥ 0 that make the points' shares 1: robust, and near to what is usual."""
    names = sorted({name for p in some for name in p.classes if name not in fixed})
    near = np.array([NEAR.get(name, 1.0) for name in names])
    rows = np.array([[p.classes.get(name, 0.0) for name in names] for p in some])
    held = [sum(fixed.get(n, 0.0) * x for n, x in p.classes.items()) for p in some]
    left = np.array([1 - p.plain - h for p, h in zip(some, held, strict=True)])
    # those that the host bounds tell of no class
    told = np.array([p.host < 0.7 for p in some])
    rows, left = rows[told], left[told]
    weights = np.ones(len(left))
    x = near.copy()
    for _ in range(12):
        prior = FIRM**2 * len(left) * np.median(weights) / np.maximum(near, 0.5) ** 2
        gram = rows.T @ (rows * weights[:, None]) + np.diag(prior)
        right = rows.T @ (left * weights) + prior * near
        for _ in range(300):
            for i in range(len(x)):
                x[i] = max(LEAST * near[i], x[i] - (gram[i] @ x - right[i]) / gram[i, i])
        weights = 1 / np.maximum(np.abs(rows @ x - left), 0.02)
    return {**fixed, **dict(zip(names, map(float, x), strict=True))}


def half(point: Point) -> bool:
    return bool(crc32(point.row.model.encode()) % 2)


def by_file(some: Sequence[Point], weights: dict[str, float]) -> dict[str, float]:
    """How many times longer the classes take in each version of torch than in all."""
    found = {}
    for file in sorted({_torch(p) for p in some}):
        own = [p for p in some if _torch(p) == file and p.host < 0.7]
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


def told(
    some: Sequence[Point], fixed: dict[str, float]
) -> tuple[dict[str, float], dict[str, float]]:
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


def held_out(some: Sequence[Point], fixed: dict[str, float]) -> list[float]:
    """Predicted over measured of each point, by weights of the other half of the names."""
    default = {name: NEAR.get(name, 1.0) for p in some for name in p.classes}
    by = [told([p for p in some if half(p) != side], fixed) for side in (False, True)]
    return [share_of(p, {**default, **by[half(p)][0]}, by[half(p)][1]) for p in some]


def main(arguments: Sequence[str]) -> int:
    timings, folder, *out = arguments
    every = points(timings, folder)
    groups = {
        "eager": [p for p in every if not p.row.setup.compiled and not p.row.setup.training],
        "compiled": [p for p in every if p.row.setup.compiled],
        "train": [p for p in every if p.row.setup.training],
    }
    weights: dict[str, dict[str, float]] = {}
    told_by: list[tuple[object, ...]] = []
    for name, some in groups.items():
        fixed = weights["eager"] if name == "train" else {}
        shares = held_out(some, fixed)
        weights[name], factors = told(some, fixed)
        print(f"\n{name}: {_said(shares)}, time by FLOPs {median(_by_flops(some)):.1%}")
        right, pairs = _ordered(some, shares)
        print(f"order right in {right} of {pairs} pairs of equal FLOPs")
        print("versions:", {torch: round(factor, 2) for torch, factor in factors.items()})
        told_by += _by_family(name, some, shares)
    print(_rows(weights))
    if out:
        with Path(out[0]).open("w", newline="") as file:
            writer(file, lineterminator="\n").writerows([COLUMNS, *told_by])
    return 0


def _by_family(
    software: str, some: Sequence[Point], shares: Sequence[float]
) -> Iterator[tuple[object, ...]]:
    """The errors of each module of timm, and of time by FLOPs in it and of all together."""
    groups: dict[str, list[int]] = defaultdict(list)
    for i, p in enumerate(some):
        groups[p.module].append(i)
    for family, places in [("all", list(range(len(some)))), *sorted(groups.items())]:
        errors = [abs(shares[i] - 1) for i in places]
        flops = _by_flops(some, places)
        names = len({some[i].row.model for i in places})
        numbers = median(errors), percentile(errors, 0.9), median(flops)
        bias = median(shares[i] for i in places) - 1
        yield (software, family, names, len(places), *(round(x, 3) for x in (*numbers, bias)))


def _rows(weights: dict[str, dict[str, float]]) -> str:
    """The table of ``families.py``."""
    names = sorted({
        name.rpartition(" ")[0].removesuffix(", backward")
        for own in weights.values()
        for name in own
        if name != "serial"
    })  # fmt: skip
    lines = []
    for name in names:
        cells = []
        for where, of in (("eager", name), ("compiled", name), ("train", f"{name}, backward")):
            pair = [weights[where].get(f"{of} {unit}") for unit in ("flops", "bytes")]
            usual = [NEAR.get(f"{name} {unit}", 1.0) for unit in ("flops", "bytes")]
            cells.append([u if w is None else w for w, u in zip(pair, usual, strict=True)])
        told = ", ".join(f"Weight({f:.2f}, {b:.2f})" for f, b in cells)
        lines.append(f'    "{name}": ({told}),')
    return "\n".join([*lines, f"serial {weights['eager'].get('serial')}"])


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
