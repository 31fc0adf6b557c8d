"""Passes that turn the declared tree into what really runs under a scenario.

Some passes rearrange the tree: frozen parts, adapters, the attention kernel, which replaces whole
groups of ops, checkpointed regions. The others look at one op at a time, in the order they run,
with what is known of every tensor so far: where gradients flow, which precision it is in, what
autograd has already kept. A run of equal layers is visited once; where a tensor leaves a layer in
another state than it entered (the first block may read a frozen embedding, or a stream of another
precision), that layer is split off and the rest visited again.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from typing import NamedTuple

from vitcost.engine.keeps import brings_back, extra, kept_of, mark, storages
from vitcost.engine.kernels import choose, decompose, fuse, padded, root_mean_square
from vitcost.engine.kinds import KINDS
from vitcost.engine.model import AnyStructure, build
from vitcost.engine.ops import Axis, Op, Sizes, Tensor
from vitcost.engine.regions import REGION, cores, groups, rerun
from vitcost.engine.runs import counted, run_axes
from vitcost.engine.structure import Structure
from vitcost.engine.tree import Node
from vitcost.errors import NotCovered

__all__ = ["Mode", "layer_counts", "lower", "passes"]


class Mode(NamedTuple):
    """The part of a scenario that decides what runs."""

    kernel: str = "eager"  # eager | sdpa: as torch chooses | math | flash | efficient | cudnn
    precision: str = "fp32"  # fp32 | amp | half
    platform: str = "cuda"  # cpu | cuda
    checkpointing: str = "none"  # none | selective | layers
    every: int = 1  # layers in a checkpointed group
    frozen: str = ""  # "" | all | backbone | first | last: all but the last layers, see freeze
    frozen_layers: int = 0
    adapted: tuple[str, ...] = ()  # names of the linear layers that have an adapter
    rank: Axis = 0
    split: bool = False  # whether it is one rank of a tensor-parallel run
    sequence: str = ""  # how that divides tokens: one of split.SEQUENCES
    # how long the runs of layers are, by axis: where layers are counted off
    layers: tuple[tuple[Axis, int], ...] = ()
    half: str = "bf16"  # the type of two bytes: bf16 | fp16


@lru_cache(maxsize=1024)
def lower(structure: AnyStructure, mode: Mode) -> Node:
    """The declared tree of a structure, lowered to what runs in a mode."""
    tree = build(run_as(structure, mode))
    for each in passes(structure, mode):
        tree = each(tree)
    return tree


def run_as(structure: AnyStructure, mode: Mode) -> AnyStructure:
    """The structure with the forward of an attention that its code takes under a scenario."""
    if isinstance(structure, Structure):
        attention = _forward(structure.code.attention, mode)
        if attention == structure.code.attention:
            return structure
        return structure._replace(code=structure.code._replace(attention=attention))
    # text is imported by those who ask for it
    from vitcost.engine.text import ClipStructure

    if not isinstance(structure, ClipStructure):
        return structure
    vision = run_as(structure.vision, mode)
    assert isinstance(vision, Structure)
    return structure._replace(vision=vision)


def _forward(attention: str, mode: Mode) -> str:
    """torch's own module has a fast forward outside of autocast, which asks for a fused kernel on a
    card alone; tensor-parallel ranks have a forward of their own."""
    if attention.startswith("mha") and mode.split:
        return "timm"
    if attention != "mha fast":
        return attention
    fused = mode.platform == "cuda" and mode.kernel not in ("eager", "math")
    return "mha" if mode.precision == "amp" else "timm" if fused else "native"


def passes(structure: AnyStructure, mode: Mode) -> Iterator[Callable[[Node], Node]]:
    """What makes the declared tree into the lowered one, in the order that it is applied."""
    if mode.split:
        if mode.adapted:
            raise NotCovered("adapters of layers that tensor-parallel ranks share")
        # the only who needs it
        from vitcost.engine.split import split

        yield partial(split, sequence=mode.sequence, one_image=structure.one_image)
    if mode.layers:
        yield partial(counted, layers=dict(mode.layers))
    if mode.frozen or mode.adapted:
        # most models train as a whole
        from vitcost.engine.trainable import adapt, freeze
    if mode.frozen:
        yield partial(freeze, what=mode.frozen, layers=mode.frozen_layers)
    if mode.adapted:
        yield partial(adapt, names=mode.adapted, rank=mode.rank)
    if mode.kernel != "eager":
        yield fuse
    if structure.training and mode.checkpointing == "selective":
        yield cores
    elif structure.training and mode.checkpointing == "layers":
        yield partial(groups, every=mode.every)
    yield _Walk(mode, structure.training, structure.one_image).node


def layer_counts(structure: AnyStructure, sizes: Sizes) -> tuple[tuple[Axis, int], ...]:
    """How long the runs of layers are, for passes that count them off."""
    return tuple((axis, sizes[axis]) for axis in run_axes(build(structure)))


class _State(NamedTuple):
    """What is known of a declared tensor when an op reads it."""

    tensor: Tensor  # as lowered
    needs: bool  # whether a gradient flows back through it


class _Walk:
    """One walk over the tree that applies the passes to each op in turn."""

    def __init__(self, mode: Mode, training: bool, one_image: bool) -> None:
        self.mode, self.training, self.one_image = mode, training, one_image
        self.states: dict[Tensor, _State] = {}
        self.kept: set[Tensor] = set()
        # the order in which attention kernels write: ``by image``, with the heads of a token side
        # by side, or ``as read``, as their queries lie
        self.laid: dict[Tensor, str] = {}
        # the operands of a product that are laid out anew inside it, and its arguments: what each
        # is a copy of
        self.arguments: dict[Tensor, list[Tensor]] = {}

    def node(self, node: Node) -> Node:
        return self.region(node) if node.type == REGION else self.module(node)

    def region(self, node: Node) -> Node:
        """A checkpointed region keeps its inputs; what its ops keep comes back when it is rerun."""
        inputs = [self.read(t).tensor for t in node.inputs]
        outer, held = self.kept, storages(inputs)
        self.kept = outer | set(held)
        low = self.module(node)
        body, live = rerun(low.body)
        if not live:
            # no gradient comes by: nothing is kept, nor the inputs
            self.kept = outer
            return low
        self.kept = outer | set(held)
        marks = tuple(mark(t, t not in outer) for t in held)
        first, *rest = body
        if isinstance(first, Node) and first.run is not None:
            # told with the first layer, as the region is no module of its own
            first = first._replace(body=(*marks, *first.body))
            marks = ()
        return low._replace(body=(*marks, first, *rest))

    def module(self, node: Node) -> Node:
        inputs = tuple(self.read(t).tensor for t in node.inputs)
        body: list[Op | Node] = []
        for item in node.body:
            if isinstance(item, Op):
                body += self.op(item)
            elif item.run is None:
                body.append(self.node(item))
            else:
                body += self.layers(item)
        return node._replace(
            body=tuple(body),
            inputs=inputs,
            output=self.read(node.output).tensor,
            held=tuple(self.read(t).tensor for t in node.held if t in self.states),
            also=tuple(self.read(t).tensor for t in node.also),
        )

    def layers(self, run: Node) -> Iterator[Node]:
        """A run, with the layers split off in front whose inputs are in a state of their own."""
        x, *outer = run.inputs
        rest, given = run.run, self.read(x)
        while rest is not None:
            entered = [self.seen(t) for t in (x, *outer)]
            layer = self.node(run)
            left = [self.seen(t) for t in (run.output, *outer)]
            first, more = rest.split()
            if left == entered or more is None:
                # the forward around may have a name for what the first layer reads
                self.states[x] = given
                yield layer._replace(run=rest)
                return
            yield layer._replace(run=first)
            self.states[x] = self.states[run.output]
            rest = more

    def seen(self, declared: Tensor) -> tuple[int, bool, bool]:
        tensor, needs = self.read(declared)
        return tensor.itemsize, needs, tensor.storage in self.kept

    def read(self, declared: Tensor) -> _State:
        """The state of a tensor; inputs and parameters are met here first."""
        if declared not in self.states:
            # an image comes in the precision of the parameters
            own = 2 if self.mode.precision == "half" else 4
            itemsize = declared.itemsize or (8 if declared.role == "index" else own)
            low = Tensor(declared.name, declared.axes, declared.role, None, itemsize)
            self.states[declared] = _State(low, self.training and declared.role == "param")
        return self.states[declared]

    def op(self, op: Op) -> Iterable[Op]:
        op = self.gradients(op)
        if op.kind == "sdpa":
            return self.attention(op)
        if op.kind == "cast":
            return (self.cast(op),)
        if op.kind in ("merge", "by token") and self.lies(op):
            return (self.passed_on(op),)
        if op.kind == "apart":
            return self.apart(op)
        if op.kind == "rows":
            return self.rows(op)
        if op.kind == "rms norm" and self.mode.platform == "cpu":
            return self.each(op, root_mean_square(op, self.read(op.reads[0]).tensor.itemsize == 2))
        return self.plain(op)

    def plain(self, op: Op) -> Iterable[Op]:
        """An op as it stands; every softmax is that of an attention."""
        needs = any(op.needs) or op.trains
        *casts, low = self.precision(op)
        if op.kind == "softmax" and not op.kernel:
            low = low._replace(kernel="eager")
        low = low._replace(extra=tuple(extra(low, self.mode.platform, self.mode.precision)))
        self.states[op.write] = _State(low.write, needs)
        return (*casts, self.saved(low) if needs else low)

    def cast(self, op: Op) -> Op:
        """What is in the wanted precision already, that of another tensor say, is passed on."""
        x, needs = self.read(op.reads[0])
        itemsize = op.write.itemsize or self.read(op.reads[1]).tensor.itemsize
        if itemsize == x.itemsize:
            return self.passed_on(op)
        write = Tensor(op.write.name, op.write.axes, op.write.role, None, itemsize)
        self.states[op.write] = _State(write, needs)
        holds = tuple(self.read(t).tensor for t in op.holds)
        return Op("cast", (x,), write, needs=(needs,), holds=holds)

    def rows(self, op: Op) -> Iterable[Op]:
        """A copy, or the cast that takes its place."""
        *casts, low = self.precision(op)
        if not casts:
            return self.plain(op)
        self.states[op.write] = _State(low.reads[0], op.needs[0])
        return casts

    def lies(self, op: Op) -> bool:
        """Whether an attention kernel has laid its result out already: tokens of an image in order,
        or images of a token, where its queries lie so."""
        laid = self.laid.get(op.reads[0])
        return (laid == "by image" and (op.kind == "merge" or self.one_image)) or (
            laid == "as read" and op.kind == "by token"
        )

    def apart(self, op: Op) -> Iterator[Op]:
        """A linear layer of rows that lie apart: a copy of them, the product, its bias added. They
        are its arguments, which autocast has cast, until it returns."""
        *casts, low = self.precision(op)
        yield from casts
        mode, self.mode = self.mode, self.mode._replace(precision="fp32")
        x, weight, bias = (
            self.stand_in(t, needs)
            for t, needs in (
                (low.reads[0], op.needs[0]), (low.weight, op.trains), (low.bias, op.trains)
            )
        )  # fmt: skip
        rows, y = Tensor("rows", op.reads[0].axes), Tensor(op.write.name, op.write.axes)
        parts = (
            Op("copy", (x,), rows),
            Op("linear", (rows,), y, op.over, weight, frozen=op.frozen, holds=(x,)),
            Op("bias", (y,), Tensor(y.name, y.axes), weight=bias, frozen=op.frozen, holds=(x,)),
        )
        yield from self.each(op, parts)
        self.mode = mode

    def stand_in(self, low: Tensor | None, needs: bool) -> Tensor:
        """A declared tensor for a lowered one."""
        assert low is not None
        declared = Tensor(low.name, low.axes, low.role)
        self.states[declared] = _State(low, needs)
        return declared

    def passed_on(self, op: Op) -> Op:
        """An op that has nothing to do: a view of what it reads."""
        x, needs = self.read(op.reads[0])
        write = Tensor(op.write.name, op.write.axes, op.write.role, x, x.itemsize)
        self.states[op.write] = _State(write, needs)
        return Op("view", (x,), write, needs=(needs,))

    def each(self, op: Op, ops: Iterable[Op]) -> Iterator[Op]:
        """The ops that a declared one is made of."""
        for part in ops:
            yield from self.op(part)
        self.states[op.write] = self.states[part.write]

    def attention(self, op: Op) -> Iterator[Op]:
        """A fused attention by its kernel; ``math`` is none: plain products."""
        assert op.parts is not None
        *casts, low = self.precision(op)
        half = low.write.itemsize == 2
        kernel = self.mode.kernel
        if kernel == "sdpa":
            kernel = choose(op, self.mode.platform, half)
        yield from casts
        given = {t: self.states[t] for t in op.reads}
        # autocast reaches the operands, each by itself, and not what happens inside
        mode, self.mode = self.mode, self.mode._replace(precision="fp32")
        operands = []
        for declared, operand in zip(op.reads, low.reads, strict=True):
            operands.append(self.stand_in(operand, self.read(declared).needs))
        if kernel == "math":
            yield from self.each(op, decompose(op.parts, operands, half))
        else:
            op = op._replace(reads=tuple(operands))
            if kernel == "efficient":
                *pads, op = padded(op)
                for pad in pads:
                    yield from self.op(pad)
            self.laid[op.write] = "by image" if kernel == "efficient" else "as read"
            yield from self.plain(op._replace(kernel=kernel))
        # who else reads what was cast here casts it anew
        self.states.update(given)
        self.mode = mode

    def gradients(self, op: Op) -> Op:
        """Needs-grad flows along the data: from parameters that train, never from the image."""
        if op.parts is not None:
            parts = []
            for part in op.parts:
                part = self.gradients(part)
                self.states[part.write] = _State(part.write, any(part.needs))
                parts.append(part)
            op = op._replace(parts=tuple(parts))
        if op.frozen and op.weight is not None:
            # a head that reads the table of a frozen embedding trains nothing
            self.states[op.weight] = self.read(op.weight)._replace(needs=False)
        return op._replace(
            needs=tuple(self.read(t).needs for t in op.reads),
            trains=self.training and op.weight is not None and not op.frozen,
        )

    def precision(self, op: Op) -> Iterator[Op]:
        """Gives every tensor its bytes an element, and inserts the casts that autocast makes."""
        reads = [self.read(t).tensor for t in op.reads]
        own = [None if t is None else self.read(t).tensor for t in (op.weight, op.bias)]
        rule = self.rule(op.kind)
        # a softmax may be asked to compute in fp32
        asked = op.write.itemsize if KINDS[op.kind].autocast == "float" else 0
        wanted = asked or self.wanted(rule, reads)
        widens = self.mode.platform == "cuda" and self.mode.half in KINDS[op.kind].widens
        holds = [self.read(t).tensor for t in op.holds]
        # the arguments of autocast's wrapper are evaluated from the last to the first
        for group, needs in ((own, (op.trains,) * 2), (reads, op.needs)):
            for i, tensor in reversed(list(enumerate(group))):
                if tensor is not None and wanted and tensor.itemsize != wanted and not widens:
                    # autocast's cache holds those of parameters alone
                    role = "cast" if tensor.leaf else "activation"
                    # what is gathered again is cast before
                    x = tensor.storage if tensor.role == "regathered" else tensor
                    cast = Tensor(x.name, x.axes, role, None, wanted)
                    yield Op("cast", (tensor,), cast, needs=(needs[i],))
                    group[i] = cast
                    # what is cast for an op is the argument of that op
                    holds.append(tensor)
        holds += (t for read in op.reads for t in self.arguments.get(read, ()))
        if op.kind == "copy":
            self.arguments[op.write] = [*holds, *reads]
        # a norm in half precision writes that, whatever its weight is
        given = [t.itemsize for t in (*reads, *own) if t is not None and t.role != "index"]
        itemsize = op.write.itemsize or wanted or (given[0] if rule == "keep" else max(given))
        # a fused op writes a storage of its own, even where the last of its parts is a view
        declared = op.write.base if op.parts is None else None
        base = None if declared is None else self.read(declared).tensor
        write = Tensor(op.write.name, op.write.axes, op.write.role, base, itemsize)
        yield op._replace(
            reads=tuple(reads), write=write, weight=own[0], bias=own[1], holds=tuple(holds)
        )

    def rule(self, kind: str) -> str:
        """The precision that autocast runs an op in."""
        row = KINDS[kind]
        return row.autocast if self.mode.platform == "cuda" else row.on_cpu

    def wanted(self, rule: str, reads: list[Tensor]) -> int:
        """The bytes an element that autocast brings an op's operands to; 0: as they come."""
        if self.mode.precision != "amp" or rule == "widest":
            return 0
        if rule == "promote":
            return max(t.itemsize for t in reads)
        return {"half": 2, "float": 4}.get(rule, 0)

    def saved(self, op: Op) -> Op:
        """What autograd keeps of this op, each storage once: with the first op that keeps it."""
        kept = kept_of(op)
        held = storages(kept)
        fresh = tuple(storage for storage in held if storage not in self.kept)
        self.kept.update(fresh)
        packs = brings_back(op, kept, self.mode.platform) if kept else ""
        return op._replace(saves=fresh, keeps=held, packs=packs)
