"""Rules that every well-formed op list keeps, declared, half lowered or lowered.

Liveness, gradients and costs follow from the list, so that a tensor that nothing wrote, or an axis
that no operand has, is a wrong number and no error. Tests hold the list after the build and after
every pass, for every model.
"""

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from vitcost.engine.kinds import KINDS
from vitcost.engine.ops import Op, Tensor
from vitcost.engine.tree import Node

__all__ = ["verify"]

# tensors that exist from the beginning: parameters, buffers and the caller's
_GIVEN = ("param", "input", "index")


class _Scope(NamedTuple):
    """The tensors that a module's forward has names for, and those of the forwards around it."""

    own: set[Tensor]
    around: frozenset[Tensor]

    def has(self, tensor: Tensor) -> bool:
        return tensor in self.own or tensor.role in _GIVEN

    def reaches(self, tensor: Tensor) -> bool:
        """Whether it, or a tensor in its storage, is there or around: the tensors that are no
        arguments."""
        storages = {t.storage for t in (*self.own, *self.around)}
        return self.has(tensor) or tensor.storage in storages or tensor.storage.role in _GIVEN


# a checkpointed region keeps the storages of its inputs, a bias that the forward around puts
# together is cast where it is added, and fused kernels are given no causal mask: none of them is an
# argument of the module
_AROUND = ("checkpoint", "cast", "mask")


def _read(op: Op, scope: _Scope) -> bool:
    return all(map(scope.reaches if op.kind in _AROUND else scope.has, op.reads))


def _own(op: Op, scope: _Scope) -> bool:
    return all(scope.reaches(t) for t in (op.weight, op.bias) if t is not None)


def _contracted(op: Op, scope: _Scope) -> bool:
    factors = (t for t in (*op.reads, op.weight) if t is not None)
    return set(op.over) <= {axis for t in factors for axis in t.axes}


def _base(op: Op, scope: _Scope) -> bool:
    base = op.write.base
    # a fused op stands for ops of which the last may be a view
    return base is None or scope.reaches(base) or base in {part.write for part in op.parts or ()}


def _kept(op: Op, scope: _Scope) -> bool:
    there = {t.storage for t in (*op.reads, op.weight, op.bias, op.write, *op.extra) if t}
    return there >= {t.storage for t in op.keeps}


# the conditions of an op, each with the message where it does not hold
_RULES: tuple[tuple[str, Callable[[Op, _Scope], bool]], ...] = (
    ("is of no kind", lambda op, scope: op.kind in KINDS),
    ("reads what nothing wrote", _read),
    ("has a weight or a bias that nothing wrote", _own),
    ("reads more or fewer tensors than its kind", lambda op, _: len(op.reads) in _numbers(op)),
    ("contracts an axis that it does not read", _contracted),
    ("is a view of a storage that is not there", _base),
    ("writes what was written", lambda op, scope: op.write not in scope.own),
    ("does not say which reads need a gradient", lambda op, _: len(op.needs) in (0, len(op.reads))),
    ("keeps what it has not", _kept),
)


def _numbers(op: Op) -> Collection[int]:
    return KINDS[op.kind].reads if op.kind in KINDS else (len(op.reads),)


def verify(tree: Node) -> tuple[str, ...]:
    """Every place where an op list breaks a rule, and which; a well-formed list breaks none.

    >>> from vitcost.engine.ops import axes
    >>> x, y, z = (Tensor(name, axes("b h"), "") for name in "xyz")
    >>> verify(Node("", "Model", (Op("gelu", (y,), z),), (x,), z))
    ('gelu z[b h]: reads what nothing wrote',)
    """
    return tuple(_faults(tree, "", frozenset()))


def _faults(node: Node, path: str, around: frozenset[Tensor]) -> Iterator[str]:
    scope = _Scope(set(node.inputs), around)
    for item in node.body:
        if isinstance(item, Op):
            for rule, keeps in _RULES:
                if not keeps(item, scope):
                    yield f"{path}{item.kind} {item.write}: {rule}"
            scope.own.update((item.write, *item.extra))
            continue
        inner = f"{path}{item.name}."
        if not all(map(scope.has, item.inputs)):
            yield f"{inner[:-1]}: is given what nothing wrote"
        yield from _faults(item, inner, around.union(scope.own))
        scope.own.update((item.output, *item.also))
    if not all(map(scope.has, (node.output, *node.also))):
        yield f"{path[:-1]}: returns what nothing wrote"
