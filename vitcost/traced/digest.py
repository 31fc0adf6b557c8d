"""Schema ``vitcost.digest/1``: small digests of the traces of many models, in one file; looking up
a name reads only the block of that name.

A digest keeps the parts of a trace that answers need: costs of the top-level modules, the looks
that can be a peak, every parameter's shape, and the work of its kernels summed by class. All
numbers are polynomials in the batch, or constants for one image. A file is a line of JSON that
lists the names, and for each name a compressed block of JSON. In a block, each column of numbers is
stored as its difference from the column of another pass, or from half of it, since most passes
differ little. ``tests/digest/make.py`` writes it.
"""

from collections.abc import Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from vitcost.engine.cost import Cost
from vitcost.engine.live import PARTS
from vitcost.errors import ConfigError
from vitcost.traced.batch_sizes import Polynomial, value

__all__ = [
    "BY_CLASS",
    "SCHEMA",
    "Digest",
    "Entry",
    "Head",
    "Index",
    "Refused",
    "Run",
    "Scenes",
    "Sum",
    "Top",
    "content",
    "index",
    "read",
]

SCHEMA = "vitcost.digest/1"


class Entry(NamedTuple):
    """A name of a file: its class, the shape of its first input without the batch, its size, and
    where its block is."""

    name: str
    kind: str
    image: tuple[int, ...]
    params: int
    macs: int  # for one image; half of the MACs of two images if batch 1 is not traced
    start: int
    length: int


class Refused(NamedTuple):
    """A name that cannot be traced: the reason, and the numbers that torch counts on its meta
    device."""

    name: str
    kind: str
    image: tuple[int, ...]
    params: int
    macs: int  # for one image
    reason: str


class Index(NamedTuple):
    """A file: its library and its torch, each with its version, the names with a digest, and the
    refused names."""

    path: str
    library: str
    torch: str
    entries: Mapping[str, Entry]
    dictionary: bytes  # the dictionary for the compression of blocks
    start: int  # the offset of the first block
    refused: Mapping[str, Refused]


class Top(NamedTuple):
    """A top-level module, a run of equal ones, or a parameter of the model itself."""

    path: str
    last: str
    type: str
    repeat: int


class Head(NamedTuple):
    """The linear layer that scores classes, the last of the model: its top-level module, its number
    of inputs, whether it has a bias, and its number of classes, in the trace (``traced``) and as
    asked for (``classes``)."""

    top: str
    inputs: int
    bias: bool
    traced: int
    classes: int
    engine: str  # precision of the computation: fp32 | amp | half
    training: bool


class Sum(NamedTuple):
    """The work of all kernels of one class, summed: its amounts by fields of ``Work``."""

    kind: str
    backward: bool
    amounts: tuple[tuple[str, Polynomial], ...]


class Run(NamedTuple):
    """A digest of a pass. The last of ``shapes`` and ``costs`` is the model itself, whose costs
    have the fields of ``Cost``; the last of ``looks`` is the end of the pass, and its parts are the
    fields of ``Live``. ``sums`` has a key for each way to launch: eager, compiled, or unfused, as
    torch before 2.0 did. ``by_class`` are the bytes that one more class adds to each look; empty if
    they are not known. A ``head`` is set if the number of classes is not the traced one; ``sums``
    are still those of the trace."""

    number: int  # number of the pass in its block
    tops: tuple[Top, ...]
    shapes: tuple[tuple[Polynomial, ...], ...]
    costs: tuple[tuple[Polynomial, ...], ...]
    places: tuple[tuple[str, str], ...]  # phase and path of every look but the end
    looks: tuple[tuple[Polynomial, ...], ...]
    batch_bytes: Polynomial
    attention: tuple[str, ...]  # kernels and products that compute attention
    kernels: tuple[str, ...]  # kernels that scaled_dot_product_attention runs
    unknown: tuple[str, ...]  # fields that are unknown because an operator has no rule
    left_out: tuple[str, ...]  # operators whose FLOPs no rule counts
    sums: Mapping[str, tuple[Sum, ...]]
    by_class: tuple[tuple[Polynomial, ...], ...] = ()
    head: Head | None = None

    def work(self, way: str, batch: int) -> tuple[Sum, ...]:
        """The sums of one way to launch at a batch. If some kernel changes its class at N images,
        ``way@N`` has the sums from N images on."""
        starts = [key for key in self.sums if key.partition("@")[0] == way]
        held = [key for key in starts if int(key.partition("@")[2] or 1) <= batch]
        return self.sums[max(held, key=lambda key: int(key.partition("@")[2] or 1))]


class Scenes(NamedTuple):
    """The digest of a trace: of one image, or of every batch from 2 on."""

    reached: int  # whether a backward pass reaches any of its parameters
    param_bytes: int
    weights_bytes: int
    buffers_bytes: int
    step_buffers_bytes: int
    missing: str  # the reason why there is no training step
    inference: Run
    step: Run | None


class Digest:
    """The block of one name; each trace in it is decoded only when it is asked for."""

    def __init__(self, entry: Entry, index: Index, block: Mapping[str, Any]) -> None:
        self.entry, self.index, self._block = entry, index, block
        self.notes: tuple[str, ...] = tuple(block["notes"])

        # pairs of precisions whose traces differ only in the name of a type
        self._same: Mapping[str, str] = {"tf32": "fp32", **block["same"]}
        self._passes: dict[int, dict[str, list[Polynomial]]] = {}
        self._scenes: dict[int, Scenes] = {}

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions that it answers for: traced ones, and those with the same tensors."""
        traced = dict.fromkeys(precision for precision, _ in self._places())
        return (*traced, *(name for name, of in self._same.items() if of in traced))

    @property
    def parameters(self) -> list[tuple[tuple[int, ...], bool, bool, str]]:
        """Every parameter in order: its shape, whether it is a linear layer's, whether a backward
        pass reaches it, and its top-level module."""
        block = self._block
        kinds = [(tuple(s), bool(li), bool(r)) for s, li, r in block["weights"]]
        parameters = []
        for top, kind, times in zip(*block["parameters"], strict=True):
            parameters += [(*kinds[kind], block["names"][top])] * times
        return parameters

    @property
    def classes(self) -> int:
        """The number of classes that the name is built with by default; 0 if the model has no class
        scores."""
        traces = (self.scenes(precision, one=False) for precision in self.precisions)
        shapes = (each.inference.shapes[-1] for each in traces if each is not None)
        return _CLASSES if next(shapes, ())[1:] == ((_CLASSES,),) else 0

    def scenes(self, precision: str, one: bool) -> Scenes | None:
        """The trace of a precision, of ``one`` image or of larger batches; None if the digest has
        none."""
        place = self._places().get((self._same.get(precision, precision), one))
        if place is None:
            return None
        if place not in self._scenes:
            *facts, infer, step = self._block["traces"][place][2:]
            training = None if step < 0 else self._run(step)
            self._scenes[place] = Scenes._make([*facts, self._run(infer), training])
        return self._scenes[place]

    def _places(self) -> dict[tuple[str, bool], int]:
        traces = self._block["traces"]
        return {(each[0], bool(each[1])): place for place, each in enumerate(traces)}

    def _run(self, number: int) -> Run:
        block, columns = self._block, self._columns(number)
        names, stored = block["names"], block["passes"][number]
        tops = tuple(Top(*block["tops"][top]) for top in stored["tops"])
        sides = iter(columns["shape"])
        return Run(
            number,
            tops,
            tuple(tuple(islice(sides, rank)) for rank in stored["ranks"]),
            tuple(zip(*(columns[field] for field in Cost._fields), strict=True)),
            tuple((names[phase], names[path]) for phase, path in stored["places"]),
            tuple(zip(*(columns[part] for part in PARTS), strict=True)),
            columns["batch"][0],
            tuple(stored["attention"]),
            tuple(stored["kernels"]),
            tuple(stored["unknown"]),
            tuple(stored["left_out"]),
            {how: _sums(block, rows, columns, how) for how, rows in stored["sums"].items()},
            tuple(zip(*(columns[part + BY_CLASS] for part in PARTS), strict=True))
            if PARTS[0] + BY_CLASS in columns
            else (),
        )

    def _columns(self, number: int) -> dict[str, list[Polynomial]]:
        """The columns of a pass; each is decoded from its prediction, a column of another pass."""
        if number not in self._passes:
            stored = self._block["passes"][number]
            self._passes[number] = {
                name: self._column(number, name, column)
                for name, column in stored["columns"].items()
            }
        return self._passes[number]

    def _column(self, number: int, name: str, column: list[Any]) -> list[Polynomial]:
        other, divisor, *by_power = column
        keys = keys_of(self._block, number, name)
        known: Mapping[object, Polynomial] = {}
        if other >= 0:
            others = keys_of(self._block, other, name)
            known = dict(zip(others, self._columns(other)[name], strict=True))
        one = bool(self._block["passes"][number]["one"])
        return [
            _sum(at, expected(known.get(key, ()), one), by_power, divisor)
            for at, key in enumerate(keys)
        ]


# the default number of classes of a model
_CLASSES = 1000
# suffix of a column: the bytes that one more class adds to a part of memory at every look
BY_CLASS = " by class"


def keys_of(block: Mapping[str, Any], number: int, column: str) -> list[object]:
    """The key of each number in a column: a number is predicted from the number with the same key
    in another pass."""
    stored = block["passes"][number]
    if column == "batch":
        return [0]
    if column in Cost._fields:
        return [*stored["tops"], -1]
    if column.removesuffix(BY_CLASS) in PARTS:
        counts: dict[object, int] = {}
        keys: list[object] = []
        for phase, path in stored["places"]:
            # a module may have several looks
            count = counts[phase, path] = counts.get((phase, path), 0) + 1
            keys.append((phase, path, count))
        return [*keys, -1]
    if column == "shape":
        tops = [*stored["tops"], -1]
        return [(top, i) for top, rank in zip(tops, stored["ranks"], strict=True)
                for i in range(rank)]  # fmt: skip
    how, _, field = column.partition(".")
    return [(kind, back) for kind, back, fields in stored["sums"][how]
            if field in block["fields"][fields]]  # fmt: skip


def expected(other: Polynomial, one: bool) -> Polynomial:
    """The predicted polynomial, from that of another pass; for a pass of one image, its value at
    batch 1."""
    return (value(other, 1),) if one and other else other


def _sum(at: int, other: Polynomial, by_power: list[Any], divisor: int) -> Polynomial:
    """A polynomial: the prediction plus the stored differences, by power of the batch. A column
    without differences stores none."""
    sizes = [
        ((column[at] if column else 0) + (other[power] if power < len(other) else 0)) // divisor
        for power, column in enumerate(by_power)
    ]
    sizes += [each // divisor for each in other[len(sizes) :]]
    while len(sizes) > 1 and not sizes[-1]:
        sizes.pop()
    return tuple(sizes) or (0,)


def _sums(
    block: Mapping[str, Any], rows: list[Any], columns: Mapping[str, list[Polynomial]], how: str
) -> tuple[Sum, ...]:
    # each row takes the next number of each of its columns
    numbers = {name: iter(column) for name, column in columns.items()}
    sums = []
    for kind, back, fields in rows:
        amounts = tuple((f, next(numbers[f"{how}.{f}"])) for f in block["fields"][fields])
        sums.append(Sum(block["names"][kind], bool(back), amounts))
    return tuple(sums)


@cache
def index(path: str) -> Index:
    """The names of a file. Raises ``ConfigError`` for a file that is not a digest, or has another
    version.

    >>> from vitcost.zoo.digests import TIMM
    >>> index(str(TIMM)).entries["convnext_tiny"].params  # Liu et al. 2022, table 9: 29 M
    28589128
    """
    import json

    with Path(path).open("rb") as file:
        line = file.readline()
        try:
            head = json.loads(line)
            if head["schema"] != SCHEMA:
                raise ValueError(f"schema {head['schema']}")
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}: no digest of traces ({error})") from None
        dictionary = file.read(head["dictionary"])
    entries = {}
    start = len(line) + len(dictionary)
    at = 0
    for name, kind, image, params, macs, length in head["names"]:
        entries[name] = Entry(name, kind, tuple(image), params, macs, at, length)
        at += length
    # a file of an older version lacks the key
    rows = (Refused(name, kind, tuple(image), *rest)
            for name, kind, image, *rest in head.get("refused", ()))  # fmt: skip
    refused = {row.name: row for row in rows}
    return Index(path, head["library"], head["torch"], entries, dictionary, start, refused)


@cache
def read(path: str, name: str) -> Digest:
    """The digest of a name in a file. Raises ``KeyError`` for a name that the file does not have,
    ``ConfigError`` for a file that is not a digest.

    >>> from vitcost.zoo.digests import TIMM
    >>> read(str(TIMM), "convnext_tiny").entry.image
    (3, 224, 224)
    """
    listed = index(path)
    return Digest(listed.entries[name], listed, content(path, name))


def content(path: str, name: str) -> dict[str, Any]:
    """The block of a name. Raises ``ConfigError`` if it is damaged.

    >>> from vitcost.zoo.digests import TIMM
    >>> "names" in content(str(TIMM), "convnext_tiny")
    True
    """
    import json
    import zlib

    listed = index(path)
    entry = listed.entries[name]
    with Path(path).open("rb") as file:
        file.seek(listed.start + entry.start)
        data = file.read(entry.length)
    try:
        block = zlib.decompressobj(zdict=listed.dictionary).decompress(data)
        read: dict[str, Any] = json.loads(block)
    except (zlib.error, ValueError) as error:
        raise ConfigError(f"{path}: a damaged digest of {name} ({error})") from None
    return read
