"""A traced step whose weights are fully sharded: it is made from the trace of a step under the
hooks of ``fully_shard``, by inserting the storages that the hooks allocate and free on a number of
ranks.

The inserted events come from ``engine.sharded``, as for models with formulas.
"""

from collections.abc import Sequence
from functools import lru_cache

from vitcost.engine.live import PARTS, Change, Place
from vitcost.engine.ops import Op, Sizes, Tensor, bytes_of
from vitcost.engine.sharded import ROOT, Sharding, Shards, unit_sizes
from vitcost.engine.tree import Node
from vitcost.errors import NotCovered
from vitcost.traced.trace import (
    BORN,
    DIES,
    GRADIENT,
    ITEMSIZE,
    LOOK,
    MARKS,
    Operator,
    Pass,
    Weight,
    coded,
)

__all__ = ["parameter_op", "sharded"]

_NOTHING = Tensor("nothing", (0,))
# the operator that writes each kind of storage of ``engine.sharded``
_OPERATORS = {
    "cast shards": "_foreach_copy_",
    "gathered": "all_gather",
    "weights": "split_with_sizes_copy",
    "reduced from": "chunk_cat",
    "gradients": "reduce_scatter",
}
# hooks that allocate, so that the bytes alive are looked at
_LOOKS = ("enter", "enter_again", "enter_backward", "copy_in", "reduce")


@lru_cache(maxsize=16)
def sharded(step: Pass, weights: tuple[Weight, ...], how: Sharding, ranks: int) -> Pass:
    """The same step on the first of the ranks, which has the largest shards.

    Raises ``NotCovered`` for a module whose weights are of several types.

    >>> from torch import nn
    >>> from vitcost.traced.alive import looks
    >>> from vitcost.traced.inputs import inputs_of
    >>> from vitcost.traced.trace import How
    >>> from vitcost.traced.traces import trace
    >>> head = nn.Linear(768, 1000, bias=False)
    >>> made = trace(head, inputs_of(head, "768"), (2, 3, 4), How(sharded=True))
    >>> how = Sharding(frees=True, weight=4, shard=4, reduced=4)
    >>> every = [look.total for look in looks(sharded(made.step, made.weights, how, 3))]
    >>> shard = 4 * 334 * 768  # 1000 rows among 3 ranks are 334 each
    >>> every[:2] == [(3 * shard,), (2 * 3 * shard,)], every[-1] == (shard + 4, 0)  # with the loss
    (True, True)
    """
    root = _root(weights, [step.paths[mark.path] for mark in step.marks], how)
    writer = _Writer(step, how, unit_sizes(root, Sizes(), ranks))
    units = {node.name: node for node in (root, *root.body) if isinstance(node, Node)}
    before = 0
    for event, kind, path in step.marks:
        writer.take(step.events[before:event])
        before = event
        writer.run(MARKS[kind], units[step.paths[path]])
    writer.take(step.events[before:])
    return step._replace(
        operators=tuple(writer.operators),
        calls=tuple(writer.calls),
        paths=tuple(writer.paths),
        sizes=tuple(writer.storages),
        events=tuple(writer.events),
        touched=tuple(writer.touched),
        marks=(),
    )


def _root(weights: Sequence[Weight], paths: Sequence[str], how: Sharding) -> Node:
    """The model with its wrapped modules, each as a node with its parameters."""
    inside: dict[str, list[Op | Node]] = {path: [] for path in dict.fromkeys((*paths, ""))}
    for weight in weights:
        if ITEMSIZE[weight.dtype] != how.weight:
            raise NotCovered(
                f"a fully sharded step with weights of several types: {weight.path} has "
                f"{weight.dtype}"
            )
        path = weight.path
        while path not in inside:
            path = path.rpartition(".")[0]
        inside[path].append(parameter_op(weight))
    body = inside.pop("")
    for path, parameters in inside.items():
        body.append(Node(path, "", tuple(parameters), (), Tensor(path, ()), unit=path))
    return Node("", "", tuple(body), (), Tensor("", ()), unit=ROOT)


def parameter_op(weight: Weight, name: str = "parameter") -> Op:
    """An op that writes nothing and stands for a parameter in a tree; ``name`` is the kind of op.

    >>> parameter_op(Weight("head.bias", (1000,), "float32", True, True)).weight
    head.bias[1000]
    """
    tensor = Tensor(weight.path, weight.shape, "param", itemsize=ITEMSIZE[weight.dtype])
    reached = weight.reached
    return Op(name, (), _NOTHING, weight=tensor, frozen=not reached, trains=reached)


class _Writer:
    """Writes the events of a step, and inserts the events of its hooks."""

    def __init__(self, step: Pass, how: Sharding, sizes: Sizes) -> None:
        self.ledger, self.sizes = Shards(how), sizes
        self.events: list[int] = []
        self.calls: list[tuple[int, int]] = []
        self.touched: list[tuple[int, ...]] = []
        self.storages = list(step.sizes)
        self.operators = {operator: i for i, operator in enumerate(step.operators)}
        self.paths = {path: i for i, path in enumerate(step.paths)}
        self._left = zip(step.calls, step.touched, strict=True)
        # for each tensor that is alive in the ledger, the index of its storage in ``storages``
        self._numbers: dict[Tensor, int] = {}

    def take(self, events: Sequence[int]) -> None:
        """Writes events of the step itself."""
        for event in events:
            if event == LOOK:
                self._called(*next(self._left))
            self.events.append(event)

    def run(self, hook: str, unit: Node) -> None:
        """Writes the storages that a hook of a module allocates and frees."""
        arguments = (unit, Place("", unit.name)) if hook in _LOOKS else (unit,)
        self.ledger.trace.clear()
        getattr(self.ledger, hook)(*arguments)
        written = ""
        for event in self.ledger.trace:
            if isinstance(event, Change):
                self._change(event)
                written = event.tensor.name if event.sign > 0 else written
            elif isinstance(event, Place):
                operator = Operator(_OPERATORS[written], event.phase, (), (), (0,), (0,), (0,))
                number = self.operators.setdefault(operator, len(self.operators))
                path = self.paths.setdefault(event.path, len(self.paths))
                self._called((number, path), ())
                self.events.append(LOOK)

    def _called(self, call: tuple[int, int], touched: tuple[int, ...]) -> None:
        self.calls.append(call)
        self.touched.append(touched)

    def _change(self, change: Change) -> None:
        tensor = change.tensor
        if change.sign < 0:
            self.events.append(coded(DIES, self._numbers.pop(tensor)))
            return
        number = self._numbers[tensor] = len(self.storages)
        self.storages.append((bytes_of(tensor, self.sizes),))
        self.events.append(coded(BORN, number))
        if PARTS[change.part] == "gradients":
            self.events.append(coded(GRADIENT, number))
