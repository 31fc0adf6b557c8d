"""The kernels of a backward pass, from the kernels of the forward pass.

The tensors of a backward kernel follow from the lowered op: it reads the gradient of the op's
output and the tensors that autograd saved for the op, and writes a gradient for each operand that
needs one (``derivatives.yaml``). A matrix product runs one product for each such operand. In a
pointwise op, a parameter's gradient is a sum over all rows, in a kernel of its own.
"""

from collections.abc import Iterator, Sequence

from vitcost.engine.kinds import KINDS
from vitcost.engine.launches import Step, like, step_of
from vitcost.engine.ops import Op, Tensor
from vitcost.engine.tree import Count

__all__ = ["ACCUMULATED", "backward", "rerun"]

# before torch 2.0, zero_grad wrote zeros (1 pass), and backward added to them (3 passes)
ACCUMULATED = 1 + 3


def rerun(steps: list[Step]) -> Iterator[Step]:
    """The kernels of ``steps`` that run again in the backward pass, because checkpointing kept none
    of their outputs. Source: torch 2.13, torch/utils/checkpoint.py.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.zoo import resolve
    >>> scenario = Scenario(mode="train", checkpointing="block")
    >>> forward = workload(resolve("vit_base_patch16_224").config, scenario).kernels()
    >>> {step.path.partition(".")[0] for step in rerun(list(forward))}
    {'blocks'}
    """
    for step in steps:
        if step.op.again == "runs":
            yield step._replace(again=True)


def backward(steps: list[Step]) -> Iterator[Step]:
    """The kernels of the backward pass of ``steps``, those of the last op first; a product has one
    product for each operand that needs a gradient. Source: torch 2.13,
    tools/autograd/derivatives.yaml.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario(mode="train"))
    >>> steps = list(backward(list(base.kernels())))
    >>> len([step for step in steps if step.product and step.path == "head"])  # of input and weight
    2
    """
    parted: set[tuple[Tensor, tuple[Count, ...]]] = set()
    for step in reversed(steps):
        op = step.op
        if KINDS[op.kind].gradient == "gathered, copied" and any(op.needs):
            # one kernel puts the gradients of all parts side by side, and a second copies them to
            # the layout of the whole tensor
            whole = op.reads[0], step.counts
            if whole not in parted:
                gradient = (_gradient(op.reads[0]),)
                for _ in range(2):
                    yield step._replace(reads=gradient, writes=gradient, backward=True)
            parted.add(whole)
            continue
        widens = op.kind == "cast" and op.reads[0].role != "input"
        if any(op.needs) or op.trains or widens:
            for kernel in _rule(step):
                yield kernel._replace(strided=step.strided, backward=True)
    yield from _sums(steps)


def _rule(step: Step) -> Iterator[Step]:
    op, gradient, row = step.op, _gradient(step.op.write), KINDS[step.op.kind]
    if step.product:
        yield from _products(step, gradient)
    elif step.view:
        # the gradient of a part is written into a gradient of the whole tensor, which is 0
        # elsewhere
        if row.back == "kernel":
            laid = gradient if row.gradient == "gathered" else _gradient(op.reads[0])
            yield step._replace(reads=(gradient,), writes=(laid,))
    elif row.back == "passes":
        # a gradient is cast back if its operand had been widened, and summed if it had been
        # repeated
        for operand in _wanted(op):
            # a scalar is a part of a weight, and passes its gradient on
            repeated = operand.axes[:1] not in (("b",), ())
            if repeated or operand.itemsize != op.write.itemsize:
                yield step._replace(reads=(gradient,), writes=(_gradient(operand),))
    else:
        kept = tuple(t for t in op.keeps if t.role != "param")
        wanted = op.reads if op.kind == "cast" else _wanted(op)
        yield from _narrowed(step, (gradient, *kept), wanted)
        if op.trains:
            yield from _of_weight(step, gradient, kept)


def _narrowed(step: Step, reads: tuple[Tensor, ...], wanted: Sequence[Tensor]) -> Iterator[Step]:
    """The gradients of the operands. The product with a wider gradient is as wide, and is then
    cast."""
    op, gradients = step.op, tuple(map(_gradient, wanted))
    if KINDS[op.kind].gradient != "factors" or len(wanted) != 1:
        yield step._replace(reads=reads, writes=gradients)
        return
    (narrow,) = gradients
    wide = like(narrow, op.write.itemsize, "gradient")
    # the gradient times the other factor, which is the weight if the op reads one tensor
    others = tuple(t for t in reads if t is not wanted[0])
    yield step._replace(reads=others, writes=(wide,))
    if narrow.itemsize != wide.itemsize:
        yield step._replace(reads=(wide,), writes=(narrow,))


def _of_weight(step: Step, gradient: Tensor, kept: tuple[Tensor, ...]) -> Iterator[Step]:
    """The gradient of a weight: a product is written, then summed over all rows."""
    op = step.op
    gradients = tuple(_gradient(t) for t in (op.weight, op.bias) if t is not None)
    if KINDS[op.kind].gradient != "factors":
        yield step._replace(reads=(gradient, *kept), writes=gradients)
        return
    product = like(gradient, role="gradient")
    yield step._replace(reads=(gradient, *kept), writes=(product,))
    yield step._replace(reads=(product,), writes=gradients)


def _products(step: Step, gradient: Tensor) -> Iterator[Step]:
    """One product for each factor that needs a gradient: the result's gradient times the other
    factors."""
    op = step.op
    if op.kind == "sdpa":
        gradients = tuple(map(_gradient, op.reads))
        yield step._replace(reads=(gradient, *op.reads, op.write), writes=gradients)
        return
    factors = [t for t in (*op.reads, op.weight) if t is not None]
    wanted = [*_wanted(op), *([op.weight] if op.trains and op.weight is not None else [])]
    for factor in wanted:
        others = tuple(t for t in factors if t is not factor)
        yield step._replace(reads=(gradient, *others), writes=(_gradient(factor),))
    if op.trains and op.bias is not None:
        total = Op("sum", (gradient,), _gradient(op.bias))
        yield step_of(total, step.path, step.counts)


def _sums(steps: list[Step]) -> Iterator[Step]:
    """If several ops read a tensor, their gradients are added."""
    readers: dict[Tensor, tuple[str, str]] = {}
    for step in steps:
        # the gradients of the parts of one tensor are put side by side, not added
        gathered = KINDS[step.op.kind].gradient.startswith("gathered")
        # an op that is repeated in a run of layers reads another tensor each time
        reader = step.path, step.op.kind
        for tensor in () if gathered else _wanted(step.op):
            if readers.setdefault(tensor, reader) != reader and tensor.role != "param":
                gradient = _gradient(tensor)
                total = Op("add", (gradient, gradient), gradient)
                yield step_of(total, step.path, step.counts)._replace(backward=True)


def _wanted(op: Op) -> list[Tensor]:
    return [t for t, needs in zip(op.reads, op.needs, strict=True) if needs] if op.needs else []


def _gradient(tensor: Tensor) -> Tensor:
    return like(tensor, role="gradient")
