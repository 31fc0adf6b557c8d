"""Passes that turn the declared tree into what really runs under a scenario.

The attention kernel is chosen first: it replaces whole groups of ops. The others look at one op at
a time, in the order they run, with what is known of every tensor so far: where gradients flow,
which precision it is in, what autograd has already kept. A run of equal layers is visited once;
where a tensor leaves a layer in another state than it entered (the first block may read a frozen
embedding, or a stream of another precision), that layer is split off and the rest visited again.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from vitcost.engine.model import AnyStructure, build
from vitcost.engine.ops import KINDS, Axis, Op, Tensor
from vitcost.engine.tree import Node

__all__ = ["Mode", "lower"]


class Mode(NamedTuple):
    """The part of a scenario that decides what runs."""

    kernel: str = "eager"  # eager | flash | efficient | cudnn
    precision: str = "fp32"  # fp32 | amp | half
    platform: str = "cuda"  # cpu | cuda


# what a fused kernel keeps for its backward besides q, k, v and its output: (axes, bytes) each.
# aten's _scaled_dot_product_{flash,efficient,cudnn}_attention: the log-sum-exp, padded to 32 by
# the efficient kernel, and two seeds and offsets of the random state
_STATISTICS: dict[tuple[str, str], tuple[tuple[tuple[Axis, ...], int], ...]] = {
    ("flash", "cpu"): ((("b", "a", "s"), 4),),
    ("flash", "cuda"): ((("b", "a", "s"), 4), ((3,), 8)),
    ("efficient", "cuda"): ((("b", "a", "s32"), 4), ((2,), 8)),
    ("cudnn", "cuda"): ((("b", "a", "s"), 4), ((2,), 8)),
}


@lru_cache(maxsize=1024)
def lower(structure: AnyStructure, mode: Mode) -> Node:
    """The declared tree of a structure, lowered to what runs in a mode."""
    tree = build(structure)
    if mode.kernel != "eager":
        tree = _fuse(tree)
    return _Walk(mode, structure.training).node(tree)


def _fuse(node: Node) -> Node:
    """Replaces each run of ops of one group by one fused op that reads and writes the same."""
    body: list[Op | Node] = []
    group: list[Op] = []
    for item in (*node.body, None):
        if group and (item is None or not item.group):
            written = {op.write for op in group}
            reads = [t for op in group for t in op.reads if t not in written]
            body.append(Op("sdpa", tuple(reads), group[-1].write, parts=tuple(group)))
            group = []
        if item is None:
            break
        if item.group:
            group += _ops(item)
        else:
            body.append(_fuse(item) if isinstance(item, Node) else item)
    return node._replace(body=tuple(body))


def _ops(item: Op | Node) -> Iterator[Op]:
    if isinstance(item, Op):
        yield item
    else:
        for inner in item.body:
            yield from _ops(inner)


# what is there anyway: parameters, and the caller's images and indices
_NOT_SAVED = ("param", "input", "index")


class _State(NamedTuple):
    """What is known of a declared tensor when an op reads it."""

    tensor: Tensor  # as lowered
    needs: bool  # whether a gradient flows back through it


class _Walk:
    """One walk over the tree that applies the passes to each op in turn."""

    def __init__(self, mode: Mode, training: bool) -> None:
        self.mode, self.training = mode, training
        self.states: dict[Tensor, _State] = {}
        self.kept: set[Tensor] = set()

    def node(self, node: Node) -> Node:
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
        )

    def layers(self, run: Node) -> Iterator[Node]:
        """A run, with the layers split off in front whose inputs are in a state of their own."""
        x, *outer = run.inputs
        rest = run.run
        while rest is not None:
            entered = [self.seen(t) for t in (x, *outer)]
            layer = self.node(run)
            left = [self.seen(t) for t in (run.output, *outer)]
            first, more = rest.split()
            if left == entered or more is None:
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
            itemsize = 2 if self.mode.precision == "half" else 4
            if declared.role == "index":
                itemsize = 8
            low = Tensor(declared.name, declared.axes, declared.role, None, itemsize)
            self.states[declared] = _State(low, self.training and declared.role == "param")
        return self.states[declared]

    def op(self, op: Op) -> Iterable[Op]:
        op = self.gradients(op)
        needs = any(op.needs) or op.trains
        *casts, low = self.precision(op)
        self.states[op.write] = _State(low.write, needs)
        return (*casts, self.saved(low) if needs else low)

    def gradients(self, op: Op) -> Op:
        """Needs-grad flows along the data: from parameters that train, never from the image."""
        if op.parts is not None:
            parts = []
            for part in op.parts:
                part = self.gradients(part)
                self.states[part.write] = _State(part.write, any(part.needs))
                parts.append(part)
            op = op._replace(parts=tuple(parts))
        return op._replace(
            needs=tuple(self.read(t).needs for t in op.reads),
            trains=self.training and op.weight is not None,
        )

    def precision(self, op: Op) -> Iterator[Op]:
        """Gives every tensor its bytes an element, and inserts the casts that autocast makes."""
        reads = [self.read(t).tensor for t in op.reads]
        own = [None if t is None else self.read(t).tensor for t in (op.weight, op.bias)]
        wanted = self.wanted(op.kind, reads)
        # the arguments of autocast's wrapper are evaluated from the last to the first
        for group in (own, reads):
            for i, tensor in reversed(list(enumerate(group))):
                if tensor is not None and wanted and tensor.itemsize != wanted:
                    cast = Tensor(tensor.name, tensor.axes, "cast", None, wanted)
                    yield Op("cast", (tensor,), cast)
                    group[i] = cast
        itemsize = wanted or max(t.itemsize for t in (*reads, *own) if t is not None)
        # a fused op writes a storage of its own, even where the last of its parts is a view
        declared = op.write.base if op.parts is None else None
        base = None if declared is None else self.read(declared).tensor
        write = Tensor(op.write.name, op.write.axes, op.write.role, base, itemsize)
        low = op._replace(reads=tuple(reads), write=write, weight=own[0], bias=own[1])
        yield low._replace(extra=tuple(self.extra(low)))

    def wanted(self, kind: str, reads: list[Tensor]) -> int:
        """The bytes an element that autocast brings an op's operands to; 0: as they come."""
        row = KINDS[kind]
        rule = row.autocast if self.mode.platform == "cuda" else row.on_cpu or row.autocast
        if self.mode.precision != "amp" or rule == "widest":
            return 0
        if rule == "promote":
            return max(t.itemsize for t in reads)
        return {"half": 2, "float": 4}.get(rule, 0)

    def extra(self, op: Op) -> Iterator[Tensor]:
        """Statistics and masks, which exist only while a gradient is wanted (norms: always)."""
        keeps, e = KINDS[op.kind].saves, op.write.itemsize
        cpu_half = self.mode.platform == "cpu" and self.mode.precision == "half"
        if op.kind == "sdpa":
            for axes, itemsize in _STATISTICS[self.mode.kernel, self.mode.platform]:
                yield Tensor("statistics", axes, "stat", None, itemsize)
        elif "s" in keeps:
            for name in ("mean", "rstd"):
                axes = op.write.axes[:-1]
                yield Tensor(name, axes, "stat", None, 2 if cpu_half else 4)
        elif "m" in keeps:
            axes = op.write.axes[:1] if op.kind == "droppath" else op.write.axes
            boolean = op.kind == "dropout" and self.mode.platform == "cuda"
            yield Tensor("mask", axes, "mask", None, 1 if boolean else e)

    def saved(self, op: Op) -> Op:
        """What autograd keeps of this op, each storage once: with the first op that keeps it."""
        keeps = KINDS[op.kind].saves
        kept = list(op.extra)
        if "x" in keeps:
            kept += op.reads
        if "y" in keeps:
            kept.append(op.write)
        if "o" in keeps:
            kept += self.partners(op)
        keeps = dict.fromkeys(
            t.storage for t in kept if t.storage.role not in ("param", "input", "index")
        )
        fresh = tuple(storage for storage in keeps if storage not in self.kept)
        self.kept.update(fresh)
        return op._replace(saves=fresh, keeps=tuple(keeps))

    def partners(self, op: Op) -> Iterator[Tensor]:
        """The factors of a product that the other factors' gradients need."""
        if op.kind == "sdpa":
            yield from (*op.reads, op.write)
        elif op.kind == "conv":
            # convolution_backward takes both, whichever gradient is wanted
            yield op.reads[0]
            if op.weight is not None:
                yield op.weight
        elif op.weight is not None:
            if op.trains:
                yield op.reads[0]
            if op.needs[0]:
                yield op.weight
        else:
            left, right = op.reads
            if op.needs[1]:
                yield left
            if op.needs[0]:
                yield right
