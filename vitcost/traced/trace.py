"""A trace in integers and names: no torch is needed to read it.

A *pass* is one run, of a forward in eval or of a training step, at one batch or as polynomials in
the batch. Its events are integers: ``LOOK`` after each operator, and between two looks the storages
that are born, saved by autograd, taken over as gradients, or freed; see ``coded``.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from vitcost.config.scenario import Scenario
from vitcost.traced.batch_sizes import Polynomial

__all__ = [
    "BORN",
    "DIES",
    "EMPTY",
    "GRADIENT",
    "ITEMSIZE",
    "LOOK",
    "MARKS",
    "SAVED",
    "VIEWS",
    "Array",
    "How",
    "Mark",
    "Module",
    "Operator",
    "Pass",
    "Returned",
    "Trace",
    "Weight",
    "coded",
    "decoded",
    "how_of",
    "ordered",
]

LOOK, BORN, SAVED, GRADIENT, DIES = 0, 1, 2, 3, 4

# the hooks of ``fully_shard`` that a mark may stand for: see ``engine.sharded.Shards``
MARKS = (
    "enter", "leave", "enter_again", "leave_again", "enter_backward", "reshard", "copy_in",
    "reduce", "finish",
)  # fmt: skip

# bytes per element, by torch's name of the type
ITEMSIZE = {
    "float64": 8, "int64": 8, "uint64": 8, "complex64": 8, "float32": 4, "int32": 4, "uint32": 4,
    "float16": 2, "bfloat16": 2, "int16": 2, "uint16": 2, "int8": 1, "uint8": 1, "bool": 1,
    "float8_e4m3fn": 1, "float8_e5m2": 1, "complex128": 16,
}  # fmt: skip

# operators that return a view and copy nothing
VIEWS = frozenset({
    "view", "_unsafe_view", "reshape", "permute", "transpose", "t", "select", "slice", "unbind",
    "split", "split_with_sizes", "unsqueeze", "squeeze", "expand", "detach", "alias", "chunk",
    "unfold", "as_strided", "diagonal", "lift_fresh", "view_as_real", "view_as_complex",
    "_reshape_alias", "swapaxes", "movedim", "view_as",
    "unsafe_split", "unsafe_split_with_sizes", "unsafe_chunk",
})  # fmt: skip
# operators that allocate, but write nothing
EMPTY = frozenset({"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"})


def coded(kind: int, storage: int) -> int:
    """An event of a ``kind``, such as ``BORN``, as an integer. Sorted integers of one storage are
    in the order in which they happen.

    >>> coded(BORN, 0), coded(DIES, 0), decoded(coded(SAVED, 7)) == (SAVED, 7)
    (1, 4, True)
    """
    return 4 * storage + kind


def decoded(event: int) -> tuple[int, int]:
    """The kind of an event, and the number of its storage; a look has no storage.

    >>> decoded(coded(SAVED, 7)) == (SAVED, 7), decoded(LOOK)
    (True, (0, -1))
    """
    if event == LOOK:
        return LOOK, -1
    storage, kind = divmod(event - 1, 4)
    return kind + 1, storage


def ordered(events: Iterable[int]) -> Iterator[int]:
    """The same events, sorted between each two looks: their order there changes no peak, and
    differs from run to run. After the last look a step frees the tensors that its last operator
    read. A mark is below 0 while a run is recorded, and separates events like a look.

    >>> list(ordered([9, 5, 0, 1, 0, 8, 7]))
    [5, 9, 0, 1, 0, 7, 8]
    """
    gap: list[int] = []
    for event in events:
        if event <= LOOK:
            yield from sorted(gap)
            yield event
            gap.clear()
        else:
            gap.append(event)
    yield from sorted(gap)


class Array(NamedTuple):
    """A tensor that an operator reads or writes; with strides if it is not contiguous."""

    dtype: str
    shape: tuple[Polynomial, ...]
    strides: tuple[Polynomial, ...] | None = None


class Operator(NamedTuple):
    """Equal calls of one operator: on tensors of these shapes, in one phase.

    FLOPs are those of torch's counter; ``module_rows.too_many`` are the ones for which no product
    runs.
    """

    name: str
    phase: str  # forward | backward | recomputation
    reads: tuple[Array, ...]
    writes: tuple[Array, ...]
    flops: Polynomial  # FLOPs of the kernels that run
    defined: Polynomial  # FLOPs by the definition of the forward
    defined_backward: Polynomial


class Module(NamedTuple):
    """A module that was called, or that has parameters, with the shape of its first output.

    ``hooks`` is how often a walk through all children sets a hook on it (never on lists of
    modules); ``elements`` is the size of its ``weight`` and ``bias``.
    """

    path: str
    type: str
    shape: tuple[Polynomial, ...]
    calls: int
    hooks: int
    elements: int
    trains: bool  # whether its ``weight`` trains


class Returned(NamedTuple):
    """The return of a module's call: the number of its path, and the shape of a tensor, or shapes
    of ``many`` in a list; no shape for any other value."""

    path: int
    many: bool
    shapes: tuple[tuple[Polynomial, ...], ...]


class Mark(NamedTuple):
    """A hook of ``fully_shard`` that runs before an event: its index in ``MARKS``, and the number
    of the path of the wrapped module."""

    event: int
    kind: int
    path: int


class Pass(NamedTuple):
    """One run. ``calls`` are pairs of numbers, of an operator and of a path, in order; ``saved_by``
    is the path of the module that saved each storage; ``touched`` are the storages that each call
    reads and writes, in the order of its operator's tensors, -1 for one that outlives the run."""

    operators: tuple[Operator, ...]
    calls: tuple[tuple[int, int], ...]
    paths: tuple[str, ...]
    sizes: tuple[Polynomial, ...]
    events: tuple[int, ...]
    saved_by: tuple[tuple[int, int], ...]  # numbers of a storage and of a path
    modules: tuple[Module, ...]
    batch_bytes: Polynomial  # bytes of the caller's inputs and targets
    kernels: tuple[str, ...]  # the attention kernels, most used first
    inputs: tuple[Array, ...]
    returns: tuple[Returned, ...]  # the results of each module's call, in order
    touched: tuple[tuple[int, ...], ...]
    marks: tuple[Mark, ...] = ()


class Weight(NamedTuple):
    """A parameter under its first name, or a buffer. A parameter that trains but is not reached by
    a backward pass has neither a gradient nor optimizer states."""

    path: str
    shape: tuple[int, ...]
    dtype: str
    trains: bool
    reached: bool


class How(NamedTuple):
    """The part of a scenario that decides what a module runs."""

    precision: str = "fp32"  # fp32 | amp-bf16 | amp-fp16 | bf16 | fp16
    platform: str = "cuda"
    attention: str = "sdpa"
    checkpointing: str = "none"
    freeze: str = "none"
    lora: int = 0
    lora_layers: str = ""
    onto: bool = False  # whether an earlier backward pass left gradients, to which this one adds
    # whether the hooks of fully_shard are set on its layers and on the module
    sharded: bool = False
    casts: bool = False  # whether these hooks cast weights and inputs to the precision

    def said(self) -> str:
        """The flags that differ from the defaults, as a user types them.

        >>> How(precision="bf16").said(), How().said()
        ('--precision bf16', 'no flags')
        """
        flags = [
            f"--{name.replace('_', '-')} {value}"
            for name, value in self._asdict().items()
            if value != How._field_defaults[name] and name not in _SAID_APART
        ]
        flags += ["gradients kept"] if self.onto else []
        flags += ["--zero 3"] if self.sharded else []
        flags += ["--policy reduce-fp32"] if self.casts else []
        return " ".join(flags) or "no flags"


_SAID_APART = ("onto", "lora_layers", "sharded", "casts")


class Trace(NamedTuple):
    """A module under one scenario: a forward in eval, and a training step if there is one."""

    weights: tuple[Weight, ...]
    buffers: tuple[Weight, ...]
    inference: Pass
    step: Pass | None
    missing: str  # why there is no training step
    # notes for the reader: how the module was built, its inputs and loss, and parts that are left
    # out
    notes: tuple[str, ...]
    batches: tuple[int, ...]  # the traced batches; with one, sizes hold for that batch alone
    torch: str
    # the buffers in training, if a first step leaves other buffers on the module than a forward in
    # eval
    step_buffers: tuple[Weight, ...] | None = None


def how_of(scenario: Scenario) -> How:
    """The part of a scenario that decides which operators a module runs.

    >>> how_of(Scenario(batch=64, precision="bf16")) == How(precision="bf16")
    True
    """
    sharded = scenario.zero > 1 and scenario.recipe == "torch"
    return How(
        scenario.precision,
        scenario.platform,
        scenario.attention,
        scenario.checkpointing,
        scenario.freeze,
        scenario.lora,
        scenario.lora_layers if scenario.lora else "",
        # each backward pass of a sharded model makes new gradients, which are added only as shards
        scenario.keeps_gradients and not sharded,
        sharded,
        sharded and scenario.policy != "none",
    )
