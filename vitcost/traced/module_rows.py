"""A traced pass as rows by module path: the cost of each module, its children included."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from math import prod

from vitcost.engine.cost import Cost, Row
from vitcost.traced.alive import saved_at_end
from vitcost.traced.batch_sizes import Polynomial, through, value
from vitcost.traced.operators import looks_like_a_product
from vitcost.traced.pointwise import counts
from vitcost.traced.trace import EMPTY, ITEMSIZE, VIEWS, Array, Operator, Pass, Weight

__all__ = ["rows", "uncounted"]


def uncounted(run: Pass) -> tuple[str, ...]:
    """The operators of a pass that may multiply matrices, but whose FLOPs no rule counts.

    >>> import torch
    >>> from torch import nn
    >>> from vitcost.traced.inputs import inputs_of
    >>> from vitcost.traced.traces import trace
    >>> class Rotation(nn.Linear):
    ...     def forward(self, x):
    ...         return torch.linalg.matrix_exp(x) @ self.weight
    >>> rotation = Rotation(8, 8)
    >>> uncounted(trace(rotation, inputs_of(rotation, "8x8"), (2, 3, 4)).inference)
    ('linalg_matrix_exp',)
    """
    names = {o.name for o in run.operators if not any(o.flops) and looks_like_a_product(o.name)}
    return tuple(sorted(names))


def too_many(operator: Operator) -> Polynomial:
    """Backward FLOPs that torch's counter counts although no kernel runs them. For the weight
    gradient of a grouped convolution it counts every input channel with every output channel, so
    with g groups g times the real products (torch.utils.flop_counter, conv_backward_flop).

    The gradients of the input and of the weight have as many products as the forward has.
    """
    return _beyond(operator) if operator.name == "convolution_backward" else (0,)


@lru_cache(maxsize=1024)
def _beyond(operator: Operator) -> Polynomial:
    gradient, x, weight = operator.reads[:3]
    # a weight is output × input of a group; a transposed one input × output of a group
    transposed = weight.shape[0] != gradient.shape[1]
    channels = (gradient if transposed else x).shape[1]
    # a bias gradient has one side, a weight gradient more
    written = [each.shape for each in operator.writes if len(each.shape) > 1]
    if channels == weight.shape[1] or weight.shape not in written:
        return (0,)
    # if the batch is laid out as channels, each image is a group, so the count grows with the
    # square of the batch
    batches, excess = range(2, 7), []
    for batch in batches:
        groups = value(channels, batch) // value(weight.shape[1], batch)
        products = value(operator.flops, batch) // (groups + len(written) - 1)
        excess.append((groups - 1) * products)
    beyond = through(batches, excess)
    assert beyond is not None
    return beyond


def moved_bytes(operator: Operator, batch: int) -> int:
    """Bytes that a call reads and writes; a view reads and writes none."""
    if operator.name in VIEWS or operator.name in EMPTY:
        return 0
    return sum(_bytes(array, batch) for array in (*operator.reads, *operator.writes))


def pointwise(operator: Operator, batch: int) -> int:
    """The elements that a forward call writes, if it is pointwise work."""
    if operator.phase != "forward" or not operator.writes:
        return 0
    return _numel(operator.writes[0], batch) if counts(operator) else 0


def _bytes(array: Array, batch: int) -> int:
    return ITEMSIZE.get(array.dtype, 0) * _numel(array, batch)


def _numel(array: Array, batch: int) -> int:
    return prod(value(side, batch) for side in array.shape)


def rows(run: Pass, weights: Iterable[Weight], batch: int) -> Row:
    """The model's row with its modules inside, for ``batch`` images; consecutive equal layers are
    one row.

    A parameter that sits directly on a module with child modules has a row of its own.

    >>> from torch import nn
    >>> from vitcost.traced.inputs import inputs_of
    >>> from vitcost.traced.traces import trace
    >>> mlp = nn.Sequential(nn.Linear(768, 3072), nn.GELU(), nn.Linear(3072, 768))
    >>> made = trace(mlp, inputs_of(mlp, "768"), (2, 3, 4))
    >>> [(row.path, row.cost.params) for row in rows(made.inference, made.weights, 64).children]
    [('0', 2362368), ('1', 0), ('2', 2360064)]
    """
    costs: dict[str, Cost] = defaultdict(Cost)
    _operators(run, batch, costs)
    for storage, path in saved_at_end(run).items():
        where = run.paths[path]
        costs[where] = costs[where].plus(Cost(saved_bytes=value(run.sizes[storage], batch)))
    kinds = {module.path: module for module in run.modules}
    shapes = {p: tuple(value(s, batch) for s in m.shape) for p, m in kinds.items()}
    leaves = {path: module.type for path, module in kinds.items()}
    parents = {path.rpartition(".")[0] for path in kinds if path}
    for weight in weights:
        n = prod(weight.shape)
        where = weight.path.rpartition(".")[0]
        if where in parents:
            # the parameter does not sit on a layer
            where = weight.path
            leaves[where], shapes[where] = "Parameter", weight.shape
        trains = {"tensors": 1, "trainable": n} if weight.trains else {}
        costs[where] = costs[where].plus(Cost(params=n, **trains))
    return _tree(costs, leaves, shapes)


def _operators(run: Pass, batch: int, costs: dict[str, Cost]) -> None:
    """The costs of each module's calls. The pointwise work of the loss does not count as the
    model's."""
    loss = {"loss"} - {module.path for module in run.modules}
    for (number, path), times in Counter(run.calls).items():
        operator = run.operators[number]
        beyond = value(too_many(operator), batch)
        ran = value(operator.flops, batch) - beyond
        forward = operator.phase == "forward"
        backward = operator.phase == "backward"
        cost = Cost(
            flops=value(operator.defined, batch) - beyond * forward,
            backward_flops=value(operator.defined_backward, batch) - beyond * backward,
            pointwise=0 if run.paths[path] in loss else pointwise(operator, batch),
            moved_bytes=moved_bytes(operator, batch) if forward else 0,
            executed_backward_flops=0 if forward else ran,
            executed_flops=ran if forward else 0,
        )
        where = run.paths[path]
        costs[where] = costs[where].plus(cost, times)


def _tree(
    costs: Mapping[str, Cost], kinds: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]
) -> Row:
    inside: dict[str, list[str]] = defaultdict(list)
    for path in kinds:
        if path:
            inside[_around(path, kinds)].append(path)
    # costs whose path names no module belong to the module around that path
    extra: dict[str, Cost] = defaultdict(Cost)
    for path, cost in costs.items():
        where = path if path in kinds else _around(path, kinds)
        extra[where] = extra[where].plus(cost)

    def row(path: str) -> Row:
        children = [row(child) for child in inside.get(path, ())]
        cost = extra[path]
        for child in children:
            cost = cost.plus(child.cost)
        kind = kinds[path]
        return Row(path, path, kind, 1, shapes.get(path, ()), cost, tuple(_runs(children)))

    return row("")


def _around(path: str, kinds: Mapping[str, str]) -> str:
    while path:
        path = path.rpartition(".")[0]
        if path in kinds:
            return path
    return ""


def _runs(children: Iterable[Row]) -> list[Row]:
    """Merges consecutive children that are equal but for their index into one row."""
    runs: list[Row] = []
    for child in children:
        before = runs[-1] if runs else None
        if before is not None and _alike(before, child):
            runs[-1] = before._replace(last=child.path, repeat=before.repeat + 1)
        else:
            runs.append(child)
    return runs


def _alike(one: Row, other: Row) -> bool:
    parent, _, index = other.path.rpartition(".")
    before, _, last = one.last.rpartition(".")
    if not (parent == before and index.isdecimal() and last.isdecimal()):
        return False
    return int(index) == int(last) + 1 and _shape_of(one, one.path) == _shape_of(other, other.path)


def _shape_of(row: Row, root: str) -> object:
    children = tuple((child.repeat, _shape_of(child, root)) for child in row.children)
    return row.path[len(root) :], row.type, row.shape, row.cost, children
