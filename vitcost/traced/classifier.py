"""Adapts a digest to another number of classes than it was traced with. The rule holds if the last
linear layer scores the classes and nothing else in the model depends on their number.

The layer and its loss are the same few operators in every model (``run``), whose sizes are written
down here; the parameters, FLOPs and bytes of these operators are computed for both numbers of
classes, and the difference is added to the model's. A digest may store by how much the live bytes
at each look grow with one more class. Without these amounts, or for fewer classes, the bytes at
every look are upper bounds, and so is the peak of the step.
"""

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import NamedTuple

from vitcost.config.scenario import PRECISIONS
from vitcost.engine.cost import Cost
from vitcost.engine.ops import Size
from vitcost.traced.batch_sizes import Polynomial, plus, value
from vitcost.traced.digest import Digest, Head, Run, Scenes
from vitcost.traced.module_rows import moved_bytes
from vitcost.traced.trace import ITEMSIZE, Array, Operator, Pass

__all__ = ["OtherClasses", "ambiguous", "head_of", "run", "with_classes"]

_LOSS = "loss"
# if a pass has another loss, its notes say so
_CROSS_ENTROPY = "loss: cross entropy of logits on class indices"


class _Call(NamedTuple):
    operator: Operator
    path: str
    touched: tuple[int, ...]


def run(head: Head, classes: int, batch: int) -> Pass:
    """The calls of a pass, at a ``batch``, whose tensors depend on the number of classes: those of
    the last layer, and in training also of the cross entropy and of the layer's backward.
    Parameters outlive the pass, so their storages are -1; other storages are numbered in order.

    >>> head = Head("head", 8, True, 1000, 5, "fp32", training=False)
    >>> [(o.name, o.flops, o.writes[0].shape) for o in run(head, 5, 2).operators]
    [('addmm', (160,), ((2,), (5,)))]
    """
    calls = _forward(head, classes, batch)
    if head.training:
        calls += _trained(head, classes, batch)
    paths = (head.top, _LOSS)
    return Pass(
        tuple(call.operator for call in calls),
        tuple((number, paths.index(call.path)) for number, call in enumerate(calls)),
        paths,
        *((), (), (), (), (0,), (), (), ()),
        tuple(call.touched for call in calls),
    )


# the numbers of the storages of a pass
_X, _B16, _W16, _OUT, _LOG, _WIDE, _BACK, _NARROW, _SCORES, _GX, _GW, _GB, _GW32, _GB32 = range(14)


def _forward(head: Head, k: int, b: int) -> list[_Call]:
    h, low, top = head.inputs, _low(head), head.top
    bias, weight, x, out = _of("float32", k), _of("float32", k, h), _of(low, b, h), _of(low, b, k)
    calls = []
    if head.engine == "amp":
        if head.bias:
            calls.append(_call("_to_copy", top, (bias, _of(low, k)), (-1, _B16)))
        calls.append(_call("_to_copy", top, (weight, _of(low, k, h)), (-1, _W16)))
    arrays, touched = [x, _of(low, h, k, turned=True), out], [_X, _as(head, _W16), _OUT]
    if head.bias:
        arrays, touched = [_of(low, k), *arrays], [_as(head, _B16), *touched]
    name = "addmm" if head.bias else "mm"
    return [*calls, _call(name, top, arrays, touched, flops=2 * b * h * k)]


def _trained(head: Head, k: int, b: int) -> list[_Call]:
    h, low, amp = head.inputs, _low(head), head.engine == "amp"
    top = head.top
    scores, wide = _of(low, b, k), _of("float32" if amp else low, b, k)
    one, targets = wide._replace(shape=()), _of("int64", b)
    kept = _WIDE if amp else _LOG
    calls = [_call("_log_softmax", _LOSS, (scores, scores), (_OUT, _LOG))]
    if amp:
        calls.append(_call("_to_copy", _LOSS, (scores, wide), (_LOG, _WIDE)))
    calls += [
        _call("nll_loss_forward", _LOSS, (wide, targets, one, one), (kept, -1, 20, 21), writes=2),
        _back(
            "nll_loss_backward", _LOSS, (one, wide, targets, one, wide), (22, kept, -1, 21, _BACK)
        ),
    ]
    if amp:
        calls.append(_back("_to_copy", _LOSS, (wide, scores), (_BACK, _NARROW)))
    gradient = _NARROW if amp else _BACK
    calls.append(
        _back("_log_softmax_backward_data", _LOSS, (scores,) * 3, (gradient, _LOG, _SCORES))
    )
    x, weight, flops = _of(low, b, h), _of(low, k, h), 2 * b * h * k
    # for the weight's gradient, the batch is the length of a dot product: the product sums over
    # images
    turned = _of(low, k, b, turned=True)._replace(shape=((k,), (0, 1) if b > 1 else (1,)))
    calls += [
        _back("mm", top, (scores, weight, x), (_SCORES, _as(head, _W16), _GX), flops),
        _back("mm", top, (turned, x, weight), (_SCORES, _X, _GW), flops),
    ]
    if head.bias:
        calls.append(_back("sum", top, (scores, _of(low, 1, k)), (_SCORES, _GB)))
    if amp:
        calls.append(_back("_to_copy", top, (weight, _of("float32", k, h)), (_GW, _GW32)))
        if head.bias:
            calls.append(_back("_to_copy", top, (_of(low, k), _of("float32", k)), (_GB, _GB32)))
    return calls


def _low(head: Head) -> str:
    """The type in which products are computed; fp16 has as many bytes."""
    return "float32" if head.engine == "fp32" else "bfloat16"


def _as(head: Head, copy: int) -> int:
    """The storage from which a product reads a parameter: itself, or its cast copy."""
    return copy if head.engine == "amp" else -1


def _of(dtype: str, *shape: int, turned: bool = False) -> Array:
    """A tensor; ``turned``: a transposed matrix, unless one of its sides is 1, so that the order is
    the same."""
    strides = ((1,), (shape[0],)) if turned and 1 not in shape else None
    return Array(dtype, tuple((side,) for side in shape), strides)


def _call(
    name: str,
    path: str,
    arrays: Sequence[Array],
    touched: Sequence[int],
    flops: int = 0,
    writes: int = 1,
    phase: str = "forward",
) -> _Call:
    reads, written = tuple(arrays[:-writes]), tuple(arrays[-writes:])
    forward = phase == "forward"
    by_phase = ((flops,), (0,)) if forward else ((0,), (flops,))
    return _Call(Operator(name, phase, reads, written, (flops,), *by_phase), path, tuple(touched))


_back = partial(_call, phase="backward")


def head_of(digest: Digest) -> Head | None:
    """The layer of a digest that scores its classes; None if the digest cannot rule out that
    anything but one linear layer, called once for each image, depends on their number.

    >>> from vitcost.zoo import resolve
    >>> head = head_of(resolve("resnet26").config.digest)
    >>> head.top, head.inputs, head.classes
    ('fc', 2048, 1000)
    """
    classes = digest.classes
    candidates = [row for row in digest.parameters if classes in row[0]]
    if not classes or _CROSS_ENTROPY not in digest.notes or not candidates:
        return None
    weight, linear, reached, top = candidates[0]
    other_parameters = candidates[1:]
    one = len(weight) == 2 and weight[0] == classes != weight[1]
    if not (
        one and linear and reached and other_parameters in ([], [((classes,), True, True, top)])
    ):
        return None
    head = Head(top, weight[1], bool(other_parameters), classes, classes, "fp32", training=False)
    # a layer that is called for every token would have more FLOPs
    layers = [shape for shape, *_, its in digest.parameters if its == top and len(shape) > 1]
    once = (0, 2 * sum(map(prod, layers)))
    for precision in digest.precisions:
        scenes = digest.scenes(precision, one=False)
        if scenes is None:
            continue
        for each in (scenes.inference, scenes.step):
            if each is not None and not _scores(each, head, once):
                return None
    return head


def _scores(traced: Run, head: Head, flops: Polynomial) -> bool:
    """Whether a module with ``flops`` FLOPs contains the layer in this pass, and the pass returns
    its scores."""
    places = [i for i, top in enumerate(traced.tops) if top.path == head.top and top.repeat == 1]
    if len(places) != 1 or traced.shapes[-1] != ((0, 1), (head.traced,)):
        return False
    return traced.costs[places[0]][Cost._fields.index("flops")] == flops


class OtherClasses(Digest):
    """A digest of the same model with another number of classes."""

    def __init__(self, digest: Digest, head: Head, classes: int) -> None:
        super().__init__(digest.entry, digest.index, digest._block)
        self.traced = digest
        self.notes = (
            *self.notes,
            f"{classes:,} classes by rule: {head.traced:,} were traced, and nothing but the last "
            f"linear layer, {head.top}, and its loss depends on them",
        )
        self._head = head._replace(classes=classes)
        self._made: dict[tuple[str, bool], Scenes | None] = {}

    @property
    def classes(self) -> int:
        return self._head.classes

    @property
    def parameters(self) -> list[tuple[tuple[int, ...], bool, bool, str]]:
        was, now = self._head.traced, self._head.classes
        return [
            (tuple(now if side == was else side for side in shape), linear, reached, top)
            for shape, linear, reached, top in super().parameters
        ]

    def at_most(self, traced: Run, batch: Size) -> str:
        """The reason why the peak of a pass may be lower than its looks; empty where it is exact.

        A look before the layer has unchanged bytes. If such a look is the highest, it is the peak
        with fewer classes too.
        """
        head = self._head
        if traced.by_class:
            return ""
        if isinstance(batch, int) and head.classes < head.traced:
            totals = [sum(value(part, batch) for part in parts) for parts in traced.looks]
            phase, path = (*traced.places, ("", ""))[totals.index(max(totals))]
            if phase == "forward" and path.partition(".")[0] not in (head.top, _LOSS, ""):
                return ""
        return (
            f"its digest is of {head.traced:,} classes, and does not say which moments "
            f"{head.classes:,} make another peak of"
        )

    def scenes(self, precision: str, one: bool) -> Scenes | None:
        if (precision, one) not in self._made:
            scenes = super().scenes(precision, one)
            changed = None if scenes is None else self._changed(scenes, precision, one)
            self._made[precision, one] = changed
        return self._made[precision, one]

    def _changed(self, scenes: Scenes, precision: str, one: bool) -> Scenes:
        head = self._head._replace(engine=PRECISIONS[precision].engine)
        more = scenes.param_bytes * (head.classes - head.traced) * (head.inputs + head.bias)
        step = scenes.step
        if step is not None:
            step = _rerun(step, head._replace(training=True), one, more)
        return scenes._replace(
            weights_bytes=scenes.weights_bytes + more,
            inference=_rerun(scenes.inference, head, one, 0),
            step=step,
        )


def _rerun(traced: Run, head: Head, one: bool, gradients: int) -> Run:
    """A pass with another number of classes; ``gradients`` are the additional bytes of gradients at
    its end."""
    place = next(i for i, top in enumerate(traced.tops) if top.path == head.top)
    of_layer, of_loss = (_differences(head, path, one) for path in (head.top, _LOSS))
    costs = list(traced.costs)
    costs[place] = _sums(costs[place], of_layer)
    costs[-1] = _sums(_sums(costs[-1], of_layer), of_loss)
    scores = (head.traced,)
    shapes = [
        (*shape[:-1], (head.classes,)) if at >= place and shape[1:] == (scores,) else shape
        for at, shape in enumerate(traced.shapes)
    ]
    if traced.by_class:
        times = head.classes - head.traced
        pairs = zip(traced.looks, traced.by_class, strict=True)
        looks = [_sums(parts, more, times) for parts, more in pairs]
    else:
        most = _most(head, one) if head.classes > head.traced else ((0,), (0,), (0,))
        looks = [_sums(parts, most) for parts in traced.looks[:-1]]
        looks.append(_sums(traced.looks[-1], _left(head, one, gradients)))
    return traced._replace(costs=tuple(costs), shapes=tuple(shapes), looks=tuple(looks), head=head)


def _left(head: Head, one: bool, gradients: int) -> tuple[Polynomial, ...]:
    """How many bytes more are alive at the end: gradients in training, else the scores."""
    if head.training:
        return (0,), (gradients,), (0,)
    more = (head.classes - head.traced) * ITEMSIZE[_low(head)]
    return (0,), (0,), (more,) if one else (0, more)


def ambiguous(traced: Run) -> bool:
    """Whether a digest cannot tell the classes of work of the compiled kernels around the layer. A
    compiler fuses the casts of its weights with earlier kernels, and the sum for its bias gradient
    with later ones.

    >>> from vitcost.zoo import resolve
    >>> traced = resolve("resnet26").config.digest.scenes("fp32", one=False)
    >>> ambiguous(traced.step)  # with the classes that it was traced with
    False
    """
    if traced.head is None or traced.by_class:
        return False
    around = {False: traced.head.engine == "amp", True: traced.head.training}
    compiled = [sums for key, sums in traced.sums.items() if key.partition("@")[0] == "compiled"]
    return any(
        each.kind.startswith("fused ") and around[each.backward]
        for sums in compiled
        for each in sums
    )


def _most(head: Head, one: bool) -> tuple[Polynomial, ...]:
    """The most bytes by which a look can grow: everything that the calls of the layer and of the
    loss write, alive at one time."""

    def written(classes: int, batch: int) -> int:
        calls = run(head, classes, batch).operators
        return sum(_bytes(o.writes[0]) for o in calls)

    at = [written(head.classes, batch) - written(head.traced, batch) for batch in (1, 2)]
    return ((0,), (0,), (at[0],) if one else (2 * at[0] - at[1], at[1] - at[0]))


def _sums(
    sums: tuple[Polynomial, ...], more: tuple[Polynomial, ...], times: int = 1
) -> tuple[Polynomial, ...]:
    return tuple([plus(a, b, times) for a, b in zip(sums, more, strict=True)])


def _differences(head: Head, path: str, one: bool) -> tuple[Polynomial, ...]:
    """By how much the costs of the layer, or of the loss, grow with the new number of classes, by
    fields of ``Cost``."""

    def at(batch: int) -> list[int]:
        was, now = (_cost(head, path, k, batch) for k in (head.traced, head.classes))
        return [b - a for a, b in zip(was, now, strict=True)]

    if one:
        return tuple((each,) for each in at(1))
    return tuple((2 * one - two, two - one) for one, two in zip(at(1), at(2), strict=True))


def _cost(head: Head, path: str, classes: int, batch: int) -> list[int]:
    head_run = run(head, classes, batch)
    calls = [
        (head_run.operators[number], touched)
        for (number, where), touched in zip(head_run.calls, head_run.touched, strict=True)
        if head_run.paths[where] == path
    ]
    flops = sum(o.defined[0] for o, _ in calls)
    back = sum(o.defined_backward[0] for o, _ in calls)
    kept = {_W16, _LOG, _WIDE} if head.training else set()
    saved = sum(_bytes(o.writes[0]) for o, touched in calls if touched[-1] in kept)
    parameters = classes * (head.inputs + head.bias) if path == head.top else 0
    cost = Cost(
        params=parameters,
        flops=flops,
        backward_flops=back,
        moved_bytes=sum(moved_bytes(o, batch) for o, _ in calls if o.phase == "forward"),
        saved_bytes=saved,
        executed_backward_flops=back,
        trainable=parameters,
        executed_flops=flops,
    )
    return [int(each) for each in cost]


def _bytes(array: Array) -> int:
    return ITEMSIZE[array.dtype] * prod(side[0] for side in array.shape)


def with_classes(digest: Digest, classes: int) -> Digest | None:
    """A digest with another number of classes; None if no rule gives one.

    >>> from vitcost.zoo import resolve
    >>> digest = resolve("resnet26").config.digest
    >>> with_classes(digest, 10).parameters[-2][0]  # the weight of the last layer
    (10, 2048)
    """
    if isinstance(digest, OtherClasses):
        digest = digest.traced
    if classes == digest.classes:
        return digest
    head = head_of(digest)
    return None if head is None or classes < 1 else OtherClasses(digest, head, classes)
