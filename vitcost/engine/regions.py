"""Checkpointing: regions that save only their inputs and run again in the backward pass.

``torch.utils.checkpoint`` without reentry: the forward saves nothing inside a region. The first
gradient that reaches the region runs it again, up to the last tensor that autograd had saved: later
ops, such as a block's last linear layer, do not run a second time.
"""

from collections.abc import Iterable, Iterator

from vitcost.engine.attention_kernels import BIAS
from vitcost.engine.ops import Op, Sizes
from vitcost.engine.runs import argument_casts, chained, cut_at, has_runs
from vitcost.engine.tree import APART, REGION, Count, Node, Run

__all__ = ["cores", "first_or_last", "groups", "rerun"]

Piece = tuple[Node, int]


def cores(node: Node) -> Node:
    """A region around the core of each attention, from q, k and v to its output: Korthikanti et al.
    2022, section 5, selective recomputation."""
    body: list[Op | Node] = []
    core: list[Op | Node] = []
    for item in (*node.body, None):
        if item is not None and item.group == BIAS:
            body.append(item)
            continue
        if item is not None and (item.group or (isinstance(item, Op) and item.kind == "sdpa")):
            core.append(item)
            continue
        if core:
            body.append(_core(core))
            core = []
        if item is not None:
            body.append(cores(item) if isinstance(item, Node) else item)
    # temporaries of a region are not returned
    there = {item.write if isinstance(item, Op) else item.output for item in body}
    also = tuple(t for t in node.also if t in there)
    return node._replace(body=tuple(body), also=also)


def _core(body: list[Op | Node]) -> Node:
    reads = [t for item in body for t in (item.reads if isinstance(item, Op) else item.inputs)]
    written = [item.write if isinstance(item, Op) else item.output for item in body]
    inputs = tuple(dict.fromkeys(t for t in reads if t not in written))
    return Node("", REGION, tuple(body), inputs, written[-1])


def groups(node: Node, every: int) -> Node:
    """A region around each group of ``every`` blocks; the last group may have fewer."""
    if node.type in APART:
        return node
    if not has_runs(node):
        return node.each(lambda item: groups(item, every))
    if every == 1:
        return node.each(_each)
    layers = [item for item in node.body if isinstance(item, Node)]
    return node._replace(body=tuple(_groups(node, list(_cut(layers, every)))))


def first_or_last(node: Node, end: str, number: int) -> Node:
    """A region around each of the ``first`` or of the ``last`` blocks, ``number`` of them."""
    if node.type in APART:
        return node
    if not has_runs(node):
        return node.each(lambda item: first_or_last(item, end, number))
    cut = list(cut_at(node, number if end == "first" else node.layers(Sizes()) - number))
    pieces = chained(node, [(layer, count) for layer, count, _ in cut])
    inside = [is_ahead == (end == "first") for _, _, is_ahead in cut]
    body = (_each(run) if each else run for run, each in zip(pieces, inside, strict=True))
    return node._replace(body=tuple(body))


def _each(layer: Node) -> Node:
    """Makes every layer of a run a region of its own. The casts of the layer's arguments stay in
    front of it."""
    casts = argument_casts(layer)
    one = layer._replace(body=layer.body[len(casts) :], run=Run(Count(1)))
    return Node("", REGION, (*casts, one), layer.inputs, layer.output, run=layer.run)


def _cut(layers: Iterable[Node], every: int) -> Iterator[tuple[list[Piece], int]]:
    """The layers of each group, and how many equal groups follow each other."""
    group: list[Piece] = []
    room = every
    for layer in layers:
        assert layer.run is not None
        left = layer.run.layers.of(Sizes())
        if room == every and left >= every:
            yield [(layer, every)], left // every
            left %= every
        while left:
            count = min(room, left)
            group.append((layer, count))
            room, left = room - count, left - count
            if not room:
                yield group, 1
                group, room = [], every
            if room == every and left >= every:
                yield [(layer, every)], left // every
                left %= every
    if group:
        yield group, 1


def _groups(container: Node, cut: list[tuple[list[Piece], int]]) -> Iterator[Node]:
    """A node for each kind of group. The first layer of a group stands alone because it saves the
    region's input; the last because it does not rerun to its end."""
    pieces = [list(_ends(group)) for group, _ in cut]
    nodes = list(chained(container, [piece for group in pieces for piece in group]))
    for group, (_, times) in zip(pieces, cut, strict=True):
        body, nodes = nodes[: len(group)], nodes[len(group) :]
        yield Node("", REGION, tuple(body), body[0].inputs, body[-1].output, run=Run(Count(times)))


def _ends(group: list[Piece]) -> Iterator[tuple[Node, Count]]:
    total, at = sum(count for _, count in group), 0
    for node, count in group:
        first = at == 0
        last = at + count == total and total > 1
        middle = count - first - last
        for n in (int(first), middle, int(last)):
            if n:
                yield node, Count(n)
        at += count


def rerun(body: tuple[Op | Node, ...], saves: bool = False) -> tuple[tuple[Op | Node, ...], bool]:
    """Marks the ops of a region that run again; also tells whether autograd saves anything
    in it."""
    marked: list[Op | Node] = []
    for item in reversed(body):
        if isinstance(item, Op):
            # an op behind which autograd saves nothing more is where recomputation ends
            marked.append(item._replace(again="runs" if saves else item.packs or "stops"))
            saves = saves or item.packs != ""
        else:
            inner, saves = rerun(item.body, saves)
            marked.append(item._replace(body=inner))
    return tuple(reversed(marked)), saves
