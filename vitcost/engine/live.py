"""Liveness: the largest sum of bytes alive at one time, by a walk over a lowered tree.

A tensor is born at the op that writes it, and belongs to the forward that called the op. It dies
after the last op or module of that forward that reads it: while a module runs, its caller's frame
holds its arguments. Locals that a forward keeps die when it returns. What autograd keeps, and
autocast's copies of weights, outlive the walk.

Over a run of equal layers the live bytes are linear in the index, so the peak of a run lies in its
first or in its last layer.
"""

from typing import NamedTuple

from vitcost.engine.ops import Op, Size, Sizes, Tensor, bytes_of, largest
from vitcost.engine.tree import Node

__all__ = ["Peak", "forward_peak"]


class Peak(NamedTuple):
    """The most bytes alive at once, the module where, and how many are left at the end."""

    peak_bytes: Size
    path: str
    left_bytes: Size


def forward_peak(tree: Node, sizes: Sizes) -> Peak:
    """The peak of a forward pass over its own activations: no parameters, no inputs."""
    walk = _Walk(sizes)
    walk.node(tree, "")
    return Peak(walk.peak, walk.path, walk.live)


class _Walk:
    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.live: Size = 0
        self.peak: Size = 0
        self.path = ""
        # storages that are alive for good: kept by autograd, or in autocast's cache
        self.kept: set[Tensor] = set()

    def node(self, node: Node, path: str) -> None:
        """Runs one forward; what it returns stays alive and belongs to the caller."""
        last = _last_reads(node)
        returned = node.output.storage
        own: set[Tensor] = set()
        for i, item in enumerate(node.body):
            if isinstance(item, Op):
                born = self.op(item, path)
            elif item.run is None:
                self.node(item, f"{path}.{item.name}" if path else item.name)
                born = {item.output.storage} - {t.storage for t in item.inputs}
            else:
                self.run(item, path, item.inputs[0].storage in own)
                own.discard(item.inputs[0].storage)
                born = {item.output.storage}
            own |= {t for t in born if t.role not in ("param", "input")}
            dead = {t for t in own if last.get(t, i) <= i and t is not returned}
            own -= dead
            self.free(dead)
        self.free(own - {returned})

    def op(self, op: Op, path: str) -> set[Tensor]:
        """Runs one op and returns what it wrote."""
        if op.write.base is not None:
            return set()
        written = {op.write, *op.extra}
        for tensor in written:
            self.live = self.live + bytes_of(tensor, self.sizes)
        self.note(self.live, path)
        self.kept.update(op.saves)
        if op.write.role == "cast" and op.reads[0].role == "param":
            self.kept.add(op.write)
        self.free(set(op.extra))
        return {op.write}

    def run(self, layer: Node, path: str, owned: bool) -> None:
        """Runs the first layer of a run, then the last; the ones between are like them."""
        assert layer.run is not None
        count = layer.run.layers.of(self.sizes)
        y = bytes_of(layer.output, self.sizes)
        start, peak, where = self.live, self.peak, self.path
        self.peak = 0
        index = sum(n.of(self.sizes) for n in layer.run.before)
        self.node(layer, f"{path}.{index}")
        inside, inner = self.peak - start, self.path
        grown = self.live - start - y
        self.peak, self.path = peak, where
        self.note(start + inside, inner)
        if owned:
            # the layer's input was the output of the layer before, which nobody else holds
            start = start - y
        if layer.run.layers != (1, 0):
            at = start + y + (count - 1) * grown
            last = inner.replace(f"{path}.{index}", f"{path}.{index + count - 1}", 1)
            self.note(at + inside, last)
        self.live = start + y + count * grown

    def note(self, live: Size, path: str) -> None:
        if isinstance(live, int):
            if live > self.peak:
                self.peak, self.path = live, path
        else:
            self.peak = largest(self.peak, live)

    def free(self, tensors: set[Tensor]) -> None:
        for tensor in tensors - self.kept:
            self.live = self.live - bytes_of(tensor, self.sizes)


def _last_reads(node: Node) -> dict[Tensor, int]:
    """For each storage, the last item of a body that reads it; held locals live to the end."""
    last: dict[Tensor, int] = {}
    for i, item in enumerate(node.body):
        for tensor in item.reads if isinstance(item, Op) else item.inputs:
            last[tensor.storage] = i
    last.update((tensor.storage, len(node.body)) for tensor in node.held)
    return last
