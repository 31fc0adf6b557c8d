"""The walk over a tree that takes each op through the passes that look at one op at a time.

The passes are ``Needs`` (where gradients flow), ``Kernels`` (which kernel an attention runs),
``Precision`` (bytes, casts) and ``Saved`` (what autograd keeps): each keeps its own state of the
tensors so far, and can be run alone on a list of ops. A run of equal layers is visited once; where
a tensor leaves a layer in another state than it entered (the first block may read a frozen
embedding, or a stream of another precision), that layer is split off and the rest visited again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from vitcost.engine.chosen import Kernels
from vitcost.engine.keeps import Saved, extra, mark, storages
from vitcost.engine.losses import cross_entropy
from vitcost.engine.needs import Needs
from vitcost.engine.ops import Axis, Op, Tensor
from vitcost.engine.orders import is_spaced, is_turned
from vitcost.engine.precision import Precision
from vitcost.engine.tree import REGION, Node, ops_of

__all__ = ["Walk"]


class Walk:
    """One walk over a tree, from its inputs to its output."""

    def __init__(
        self,
        *,
        training: bool,
        one_image: bool = False,
        odd_heads: Mapping[Axis, bool] = {},
        kernel: str = "eager",
        precision: str = "fp32",
        half: str = "bf16",
        platform: str = "cuda",
    ) -> None:
        self.platform, self.one_image = platform, one_image
        self.needs, self.saved = Needs(training), Saved(platform)
        self.precision = Precision(precision, platform, half)
        self.kernels = Kernels(kernel, platform, odd_heads)
        # declared tensors whose memory order is not the order of their axes; and tensors with gaps
        # between their rows
        self.turned: set[Tensor] = set()
        self.spaced: set[Tensor] = set()

    def node(self, node: Node) -> Node:
        return self._region(node) if node.type == REGION else self._module(node)

    def _region(self, node: Node) -> Node:
        """Lowers a checkpointed region. It saves its inputs; the tensors that its ops save exist
        only after it is rerun."""
        # loaded for checkpointing alone
        from vitcost.engine.regions import rerun

        # the region of a layer begins behind the casts of the layer's arguments
        casts_of_region = (
            [op for op in node.body if isinstance(op, Op)] if node.run is not None else []
        )
        casts = [low for op in casts_of_region for low in self._op(op)]
        copies = {op.reads[0]: op.write for op in casts_of_region}
        held = storages(self.precision.of(copies.get(t, t)) for t in node.inputs)
        outer = self.saved.kept
        self.saved.kept = outer | set(held)
        low = self._module(node._replace(body=node.body[len(casts_of_region) :]))
        body, live = rerun(low.body)
        if not live:
            # no gradient passes through the region, so nothing is saved, not even its inputs
            self.saved.kept, held, body = outer, (), low.body
        else:
            self.saved.kept = outer | set(held)
        marks = [*casts, *(mark(t, t not in outer) for t in held)]
        first, *rest = body
        if isinstance(first, Node) and first.run is not None:
            # a region has no path, so the bytes of its saved inputs are booked on its first layer
            first = first._replace(body=(*marks, *first.body))
            marks = []
        return low._replace(body=(*marks, first, *rest))

    def _module(self, node: Node) -> Node:
        low = self.precision.of
        inputs = tuple(map(low, node.inputs))
        body: list[Op | Node] = []
        for item in node.body:
            if isinstance(item, Op):
                body += self._op(item)
            elif item.run is None:
                body.append(self.node(item))
            else:
                body += self._layers(item)
        return node._replace(
            body=tuple(body),
            inputs=inputs,
            output=low(node.output),
            held=tuple([low(t) for t in node.held if t in self.precision.low]),
            also=tuple(map(low, node.also)),
        )

    def _layers(self, run: Node) -> Iterator[Node]:
        """Lowers a run of layers. Leading layers are split off while their inputs differ in state
        from the rest."""
        x, *outer = run.inputs
        rest, low, needs = run.run, self.precision.of(x), self.needs.of(x)
        while rest is not None:
            entered = [self._seen(t) for t in (x, *outer)]
            layer = self.node(run)
            left = [self._seen(t) for t in (run.output, *outer)]
            first, more = rest.split()
            if left == entered or more is None:
                # the parent's forward may hold the input of the first layer
                self._set(x, low, needs)
                yield layer._replace(run=rest)
                return
            yield layer._replace(run=first)
            self._set(x, self.precision.of(run.output), self.needs.of(run.output))
            rest = more

    def _seen(self, declared: Tensor) -> tuple[int, bool, bool]:
        tensor = self.precision.of(declared)
        return tensor.itemsize, self.needs.of(declared), tensor.storage in self.saved.kept

    def _set(self, declared: Tensor, low: Tensor, needs: bool) -> None:
        """Sets the state of a tensor in every pass."""
        self.precision.low[declared], self.needs.flows[declared] = low, needs

    def _op(self, op: Op) -> Iterable[Op]:
        op = self.needs.op(op)
        if is_turned(op, self.turned):
            self.turned.add(op.write)
        if is_spaced(op) and not self.one_image:
            self.spaced.add(op.write)
        return _BY_KIND.get(op.kind, Walk._plain)(self, op)

    def _plain(self, op: Op) -> Iterable[Op]:
        """Lowers an op as it is declared. A softmax always belongs to an attention of plain
        products."""
        *casts, low = self.precision.op(op)
        return (*casts, self._kept(op, low))

    def _kept(self, op: Op, low: Op) -> Op:
        if op.kind == "softmax" and not op.kernel:
            low = low._replace(kernel="eager")
        written = tuple(extra(low, self.platform, self.precision.name))
        if written:
            low = low._replace(extra=written)
        return self.saved.op(low) if self.needs.of(op.write) else low

    def _cast(self, op: Op) -> Iterable[Op]:
        """A cast; a tensor that has the wanted precision already becomes a view."""
        x = self.precision.of(op.reads[0])
        itemsize = op.write.itemsize or self.precision.of(op.reads[1]).itemsize
        if itemsize == x.itemsize:
            return self._passed_on(op)
        write = Tensor(op.write.name, op.write.axes, op.write.role, None, itemsize)
        self._set(op.write, write, op.needs[0])
        holds = tuple(self.precision.of(t) for t in op.holds)
        return (Op("cast", (x,), write, needs=op.needs[:1], holds=holds),)

    def _in_order(self, op: Op) -> Iterable[Op]:
        """A copy into another memory order; a view if an attention kernel has written that order
        already."""
        laid_out = self.kernels.has_laid_out(op, self.one_image)
        return self._passed_on(op) if laid_out else self._plain(op)

    def _linear(self, op: Op) -> Iterable[Op]:
        """Lowers a linear layer (linear in aten's Linear.cpp). Rows that are not contiguous make it
        a product and a sum with its bias, after a copy if no view gives matrix rows. If the weight
        is frozen, a batched product reads such rows in place: should_fold in LinearAlgebra.cpp."""
        *casts, low = self.precision.op(op)
        yield from casts
        (x,) = op.reads
        spaced = x in self.spaced and low.reads[0] is self.precision.of(x)
        if op.frozen or not (op.kind == "apart" or x in self.turned or spaced):
            yield self._kept(op, low._replace(kind="linear"))
            return
        assert low.weight is not None
        is_matrix = self.one_image or (spaced and x.axes[1] == 1)
        # autocast's wrapper casts the arguments, and keeps the casts alive until the layer returns
        with self.precision.without_autocast():
            read = self._stand_in(low.reads[0], op.needs[0])
            weight = self._stand_in(low.weight, op.trains)
            rows = read if is_matrix else Tensor("rows", x.axes)
            y = Tensor(op.write.name, op.write.axes)
            ops = [] if is_matrix else [Op("copy", (read,), rows)]
            ops.append(Op("linear", (rows,), y, op.over, weight, frozen=op.frozen, holds=(read,)))
            if low.bias is not None:
                bias, added = self._stand_in(low.bias, op.trains), Tensor(y.name, y.axes)
                holds = (read, weight)
                ops.append(Op("bias", (y,), added, weight=bias, frozen=op.frozen, holds=holds))
            yield from self._each(op, ops)

    def _cached(self, op: Op) -> Iterable[Op]:
        """An index table that a process caches in the memory of the host; a card holds nothing of
        it."""
        if self.platform != "cpu":
            self._set(op.write, Tensor(op.write.name, (0,), op.write.role, None, 8), False)
            return (op._replace(write=self.precision.of(op.write)),)
        return self._plain(op)

    def _fill(self, op: Op) -> Iterable[Op]:
        """Constants: no gradient flows through them."""
        (low,) = self.precision.op(op._replace(needs=(False,)))
        self.needs.flows[op.write] = False
        return (low._replace(reads=(), needs=()),)

    def _cross_entropy(self, op: Op) -> Iterable[Op]:
        """A cross entropy on classes that the forward makes itself, in the precision of its
        scores."""
        logits, classes = (self.precision.of(t) for t in op.reads)
        node = cross_entropy(logits, self.precision.name, self.platform, (classes,))
        self._set(op.write, node.output, self.needs.of(op.write))
        for each in ops_of(node):
            # the loss does not count as work of the model
            each = each._replace(parts=() if each.write.base is None else None)
            if not self.needs.of(op.write):
                each = each._replace(needs=(False,) * len(each.reads), keeps=())
            yield self.saved.booked(each)

    def _rms_norm(self, op: Op) -> Iterable[Op]:
        """An RMS norm: a card has one kernel for it, a CPU computes it step by step."""
        if self.platform != "cpu":
            return self._plain(op)
        half = self.precision.of(op.reads[0]).itemsize == 2
        return self._each(op, _root_mean_square(op, half, op.reads[0] in self.turned))

    def _attention(self, op: Op) -> Iterable[Op]:
        """Replaces a fused attention by its kernel, on operands that autocast has cast."""
        if op.kernel:
            yield from self._plain(op)
            return
        *casts, low = self.precision.op(op)
        yield from casts
        with self.precision.without_autocast():
            operands = [self._stand_in(*each) for each in zip(low.reads, op.needs, strict=True)]
            half = low.write.itemsize == 2
            yield from self._each(op, self.kernels.ops(op, operands, half))

    def _stand_in(self, low: Tensor, needs: bool) -> Tensor:
        """A declared tensor that stands for a lowered one."""
        declared = Tensor(low.name, low.axes, low.role)
        self._set(declared, low, needs)
        return declared

    def _passed_on(self, op: Op) -> Iterable[Op]:
        """An op without work becomes a view of its input."""
        x = self.precision.of(op.reads[0])
        write = Tensor(op.write.name, op.write.axes, op.write.role, x, x.itemsize)
        self._set(op.write, write, op.needs[0])
        return (Op("view", (x,), write, needs=op.needs[:1]),)

    def _each(self, op: Op, ops: Iterable[Op]) -> Iterator[Op]:
        """Lowers the ops that replace a declared op; the last of them writes its result."""
        for part in ops:
            yield from self._op(part)
        self._set(op.write, self.precision.of(part.write), self.needs.of(part.write))


def _root_mean_square(op: Op, half: bool, turned: bool) -> Iterator[Op]:
    """``x / rms(x) · weight`` as aten's ``rms_norm_composite`` runs it: bf16 and fp16 are computed
    in fp32, and ``contiguous()`` at the end copies a ``turned`` result."""
    (x,) = op.reads
    rows = (*x.axes[:-1], 1)
    if half:
        wide = Tensor(x.name, x.axes, "activation", None, 4)
        yield Op("cast", (x,), wide)
        x = wide
    square, mean, rms, y = (
        Tensor(name, axes)
        for name, axes in (("square", x.axes), ("mean", rows), ("rsqrt", rows), ("mul", x.axes))
    )
    yield Op("square", (x,), square)
    yield Op("mean", (square,), mean)
    # one C++ expression, whose temporaries live until the result exists
    yield Op("rsqrt", (mean,), rms, holds=(square,))
    yield Op("mul", (x, rms), y)
    wide = Tensor("gain", x.axes) if half or turned else op.write
    yield Op("gain", (y,), wide, weight=op.weight, frozen=op.frozen, holds=(x, rms))
    if turned:
        laid_out = Tensor("contiguous", x.axes) if half else op.write
        yield Op("contiguous", (wide,), laid_out, holds=(x, rms))
        wide = laid_out
    if half:
        result = Tensor(op.write.name, x.axes, "activation", None, 2)
        yield Op("cast", (wide,), result, holds=(rms,))


# kinds that are lowered to other ops, or to none
_BY_KIND: Mapping[str, Callable[[Walk, Op], Iterable[Op]]] = {
    "sdpa": Walk._attention,
    "cast": Walk._cast,
    "merge": Walk._in_order,
    "by token": Walk._in_order,
    "linear": Walk._linear,
    "apart": Walk._linear,
    "rms norm": Walk._rms_norm,
    "cross entropy": Walk._cross_entropy,
    "cached": Walk._cached,
    "fill": Walk._fill,
}
