"""One model against its torch module, quantity by quantity and module path by module path.

Every comparison is exact. If a counter is known to count differently, the amount is computed from
the formulas, and explains a difference of exactly that amount.
"""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from functools import lru_cache, partial
from math import prod
from time import perf_counter
from types import MappingProxyType
from typing import NamedTuple, TypeAlias, TypeVar

import torch
from torch import nn

from vitcost.check.counters import Counted, by_fvcore, by_torch, kept
from vitcost.check.differences import Difference, ModelCheck
from vitcost.check.expected import Expected, expected, folded
from vitcost.check.scopes import Call
from vitcost.config.vit_config import ViTConfig
from vitcost.costs.summary import Call as TableRow
from vitcost.costs.summary import calls as table_rows
from vitcost.costs.summary import covers
from vitcost.errors import VitcostError

__all__ = [
    "GROUPS", "REFERENCE", "STEPS", "Case", "Provider", "Step", "called", "compare",
    "steps_of", "told",
]  # fmt: skip

# builds the real model of a config, in eval mode, with eager or with torch's fused attention
Provider: TypeAlias = Callable[[ViTConfig, bool], nn.Module]

REFERENCE = "reference"
# modules that do nothing, and pointwise work that a definition leaves out or a counter misses: the
# reference and the formulas agree on these by construction, but another author's model need not
_REFERENCE_ALONE = {
    "calls", "calls_training", "calls_fused",
    "number_of_calls", "number_of_calls_training", "number_of_calls_fused",
    "pointwise", "pointwise_total", "pointwise_fvcore", "summary_rows", "summary",
}  # fmt: skip

_FLASH = "a fused attention computes its scores again in backward: five products instead of four"
_NO_CPU_RULE = "torch's FlopCounterMode has no rule for scaled_dot_product_attention on the CPU"
_QUERIES = "the model scales its queries; the definition counts the scores that this scales"
_GRID = "the model keeps its patches as a grid, and lays them out as tokens later"
GROUPS = "torch counts the gradient of a grouped convolution's weight as if it had one group"
_NO_RULE = "fvcore has no rule for scaled_dot_product_attention"
_PER_NORM = "fvcore counts 5 for every element of a LayerNorm, and has no rule for "

# pointwise operators that fvcore reports as unsupported; any other in its report is a difference
_POINTWISE = {"add", "div", "gelu", "mul", "softmax", "tanh"}


class Case(NamedTuple):
    """A model and the source of its real model (``against``); ``left_out`` says which source was
    not available, and why."""

    config: ViTConfig
    batch: int
    provider: Provider
    against: str = REFERENCE
    left_out: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.batch, self.config.in_chans, *self.config.image)

    def model(self, fused: bool = False, training: bool = False) -> nn.Module:
        """The real model on the meta device: it has shapes but no memory."""
        with torch.device("meta"):
            return self.provider(self.config, fused).train(training)

    def expected(
        self, training: bool = False, kernel: str = "eager", precision: str = "fp32"
    ) -> tuple[Expected, ...]:
        return expected(self.config, self.batch, training, kernel, precision)


_One = TypeVar("_One")


class Step(NamedTuple):
    """A part of a comparison; ``quick`` parts run nothing, and take about a second."""

    run: Callable[[Case], Iterator[Difference]]
    quick: bool = False


def steps_of(quick: bool) -> list[str]:
    """The labels of all steps, or of the quick ones."""
    return [label for label, step in STEPS.items() if step.quick or not quick]


def compare(
    name: str, case: Case, on_step: Callable[[str], None], quick: bool = False
) -> ModelCheck:
    """Runs every step of ``STEPS``, or only the quick ones, and returns the differences."""
    start = perf_counter()
    counts: Counter[str] = Counter()
    differences = []
    for label in steps_of(quick):
        on_step(f"{name}: {label}")
        for one in told(label, partial(STEPS[label].run, case)):
            if case.against != REFERENCE and one.quantity in _REFERENCE_ALONE:
                continue
            counts[one.quantity] += 1
            if one.expected != one.actual:
                differences.append(one)
    seconds = perf_counter() - start
    differs = tuple(dict.fromkeys(differences))
    return ModelCheck(name, dict(counts), differs, seconds, case.against, case.left_out)


def told(label: str, run: Callable[[], Iterator[_One]]) -> Iterator[_One | Difference]:
    """The comparison of a step; if the model raises an error, that is a difference too."""
    try:
        yield from run()
    except VitcostError:
        raise
    except Exception as error:  # a forward from outside of the project may raise any error
        reason = str(error).strip().partition("\n")[0]
        yield Difference("", label, "runs", f"{type(error).__name__}: {reason}")


def _parameters(case: Case) -> Iterator[Difference]:
    """Parameters of every module and of the whole, by shape."""
    model = case.model()
    actual = {path: sum(p.numel() for p in m.parameters()) for path, m in model.named_modules()}
    formula = _each(case.expected(), "params")
    # a parameter outside of layers is compared by itself; if the formulas lack one, the sum of its
    # module differs
    counted = {path: p.numel() for path, p in model.named_parameters() if path in formula}
    actual.update(counted)
    yield from _by_path("params", formula, actual)
    tensors = case.expected(training=True)[-1].cost.tensors
    yield Difference("", "parameter_tensors", tensors, len(list(model.parameters())))


def _eager_eval(case: Case) -> Iterator[Difference]:
    # only a forward pass is counted, so autograd need not follow it
    counted = by_torch(case.model().requires_grad_(False), case.shape)
    formula = case.expected()
    yield from _calls("calls", formula, counted.calls)
    yield from _by_path("flops", _each(formula, "flops"), counted.forward, _paths(counted))
    yield from _pointwise(case.config, formula, counted)
    yield from _summary(case, counted.calls)


def _pointwise(
    c: ViTConfig, formula: tuple[Expected, ...], counted: Counted
) -> Iterator[Difference]:
    """Elements that pointwise ops write. By definition an attention scales its scores, even if a
    model scales its queries."""
    moved: Counter[str] = Counter()
    for attention in formula:
        if attention.type == "Attention" and c.scale_query:
            b, s, h = attention.shape
            for path in _ancestry(attention.path):
                moved[path] += b * s * (h - c.num_heads * s)
    written = _each(formula, "pointwise")
    actual = counted.pointwise
    yield from _by_path("pointwise", {p: n + moved[p] for p, n in written.items()}, actual)
    if c.scale_query:
        yield _explained("pointwise_total", written[""], actual[""], moved[""], _QUERIES)


def _eager_training(case: Case) -> Iterator[Difference]:
    model = case.model(training=True)
    counted = by_torch(model, case.shape)
    formula = case.expected(training=True)
    habit = _grouped(model, formula)
    yield from _calls("calls_training", formula, counted.calls)
    forward, backward = _each(formula, "flops"), _each(formula, "backward_flops")
    called = _paths(counted)
    yield from _by_path("flops_training", forward, counted.forward, called)
    yield from _by_path("backward_flops", backward, counted.backward, called, habit)
    step = counted.forward[""] + counted.backward[""]
    want = forward[""] + backward[""]
    yield _explained("train_step_flops", want, step, habit[""], GROUPS)


def _grouped(model: nn.Module, formula: tuple[Expected, ...]) -> Counter[str]:
    """Backward FLOPs that torch's counter counts too many for grouped convolutions, by module."""
    flops = _each(formula, "flops")
    extra: Counter[str] = Counter()
    for path, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            for above in _ancestry(path):
                extra[above] += (module.groups - 1) * flops[path]
    return extra


def _fused(case: Case) -> Iterator[Difference]:
    """The fused kernel has the same forward FLOPs, and one more product in its backward."""
    model = case.model(fused=True, training=True)
    counted = by_torch(model, case.shape, flash=True)
    formula = case.expected(training=True, kernel="flash")
    habit = _grouped(model, formula)
    yield from _calls("calls_fused", formula, counted.calls)
    called, executed = _paths(counted), _each(formula, "executed_backward_flops")
    yield from _by_path("flops_fused", _each(formula, "flops"), counted.forward, called)
    yield from _by_path("executed_backward_flops", executed, counted.backward, called, habit)
    whole = formula[-1].cost
    # of the forward's two products, which have equal size, the backward computes one again
    again = _attention_flops(formula) // 2 + habit[""]
    why = f"{_FLASH}; {GROUPS}" if habit else _FLASH
    yield _explained("backward_flops_fused", whole.backward_flops, counted.backward[""], again, why)


def _fvcore_eager(case: Case) -> Iterator[Difference]:
    """fvcore counts a multiply-add as one. It runs the model, so one image is enough."""
    one = case._replace(batch=1)
    counts = by_fvcore(one.model(), one.shape)
    formula = one.expected()
    macs = {e.path: e.cost.flops // 2 for e in formula}
    actual = {path: _products(ops) for path, ops in counts.items()}
    yield from _by_path("macs_fvcore", macs, actual, called(one))
    norms = 5 * sum(prod(e.shape) for e in formula if e.type == "LayerNorm")
    whole = counts[""]
    silent = sorted(op for op, n in whole.items() if n == 0)
    why = _PER_NORM + ", ".join(silent) if _POINTWISE.issuperset(silent) else ""
    pointwise = formula[-1].cost.pointwise
    yield _explained("pointwise_fvcore", pointwise, whole["layer_norm"], norms - pointwise, why)


def _fvcore_fused(case: Case) -> Iterator[Difference]:
    one = case._replace(batch=1)
    counts = by_fvcore(one.model(fused=True), one.shape)
    formula = one.expected(kernel="flash")
    lost = _attention_flops(formula) // 2
    macs = formula[-1].cost.flops // 2
    yield _explained("macs_fvcore_fused", macs, _products(counts[""]), -lost, _NO_RULE)


def _saved_eager(case: Case) -> Iterator[Difference]:
    for precision in ("fp32", "amp"):
        yield from _saved(case, "eager", precision)


def _saved_fused(case: Case) -> Iterator[Difference]:
    c = case.config
    if c.attn_drop_rate or c.use_rel_pos_bias or c.use_shared_rel_pos_bias:
        # the CPU's fused kernel supports neither dropout nor a bias that trains: torch then runs
        # eager products
        return
    for precision in ("fp32", "amp"):
        yield from _saved(case, "flash", precision)
    counted = kept(case.model(fused=True, training=True), case.shape)
    formula = case.expected(training=True, kernel="flash")
    lost, flops = _attention_flops(formula), formula[-1].cost.flops
    yield _explained("flops_fused_cpu", flops, counted.forward[""], -lost, _NO_CPU_RULE)


def _saved(case: Case, kernel: str, precision: str) -> Iterator[Difference]:
    """Bytes saved for backward, in fp32 or under autocast."""
    model = case.model(fused=kernel == "flash", training=True)
    autocast = torch.bfloat16 if precision == "amp" else None
    actual = kept(model, case.shape, autocast).saved_bytes
    formula = case.expected(training=True, kernel=kernel, precision=precision)
    quantity = f"saved_bytes_{kernel}_{precision}"
    yield from _by_path(quantity, _each(formula, "saved_bytes"), actual, called(case))


def _summary(case: Case, calls: tuple[Call, ...]) -> Iterator[Difference]:
    """The table of torchsummary, compared with the records of its hooks on the real module."""
    if not covers(case.config):
        return
    model = case.model()
    table = list(table_rows(folded(case.config, 1, False, "eager", "fp32")))
    hooked = [
        TableRow(call.type, call.shape[1:], _weight_and_bias(model.get_submodule(call.path)))
        for call in calls
        if call.path and call.type not in ("Sequential", "ModuleList")
    ]
    yield Difference("", "summary_rows", len(table), len(hooked))
    for row, (formula, hook) in enumerate(zip(table, hooked, strict=False), 1):
        yield Difference(f"row {row}", "summary", str(formula), str(hook))


STEPS: Mapping[str, Step] = {
    "parameters": Step(_parameters, quick=True),
    "forward FLOPs, eager attention": Step(_eager_eval, quick=True),
    "forward and backward FLOPs, eager attention": Step(_eager_training),
    "forward and backward FLOPs, fused attention": Step(_fused),
    "fvcore, eager attention": Step(_fvcore_eager),
    "fvcore, fused attention": Step(_fvcore_fused),
    "saved activations, eager attention": Step(_saved_eager),
    "saved activations, fused attention": Step(_saved_fused),
}


def _each(formula: tuple[Expected, ...], cost: str) -> dict[str, int]:
    """One cost of every module, by its path."""
    return {e.path: getattr(e.cost, cost) for e in formula}


def _by_path(
    quantity: str,
    formula: Mapping[str, int],
    actual: Mapping[str, int],
    called: Container[str] | None = None,
    habit: Mapping[str, int] = MappingProxyType({}),
) -> Iterator[Difference]:
    """Compares numbers by path. A module that one side lacks counts 0 there; ``habit`` is the
    amount that a counter is known to count too much.

    Work is compared only for modules that are ``called``: if a model reads the weight of a layer
    without calling it, or loops over a list of blocks, the work belongs to the module around it.
    """
    for path in dict.fromkeys((*formula, *actual)):
        if called is None or path in called:
            want, got, amount = (each.get(path, 0) for each in (formula, actual, habit))
            yield Difference(path, quantity, want, got, GROUPS if got - want == amount else "")


def _paths(counted: Counted) -> set[str]:
    """The modules that a model called."""
    return {call.path for call in counted.calls}


@lru_cache(maxsize=1)
def called(case: Case) -> set[str]:
    """The modules that the model of a case calls."""
    return _paths(by_torch(case.model().requires_grad_(False), case.shape))


def _calls(
    quantity: str, formula: Iterable[Expected], calls: tuple[Call, ...]
) -> Iterator[Difference]:
    """Compares order and types of all module calls, and the output shapes of calls that both sides
    have."""
    declared = [e for e in formula if e.type != "Parameter"]
    yield Difference("", f"number_of_{quantity}", len(declared), len(calls))
    for want, call in zip(declared, calls, strict=False):
        yield Difference(
            want.path, quantity, f"{want.path}: {want.type}", f"{call.path}: {call.type}"
        )
    shapes = {call.path: call.shape for call in calls}
    for want in declared:
        if want.path in shapes:
            got = shapes[want.path]
            flat = (got[0], prod(got[1:-1]), got[-1]) if len(got) == 4 else ()
            why = _GRID if flat == want.shape else ""
            yield Difference(want.path, "output_shape", want.shape, got, why)


def _explained(quantity: str, want: int, actual: int, amount: int, why: str) -> Difference:
    return Difference("", quantity, want, actual, why if actual - want == amount else "")


def _ancestry(path: str) -> Iterator[str]:
    """A module and every module that contains it."""
    while path:
        yield path
        path = path.rpartition(".")[0]
    yield ""


def _attention_flops(formula: tuple[Expected, ...]) -> int:
    """FLOPs of the products of all attentions: the cost of a module that belongs to none of its
    children."""
    flops = _each(formula, "flops")
    in_children: Counter[str] = Counter()
    for path, n in flops.items():
        if path:
            in_children[path.rpartition(".")[0]] += n
    return sum(flops[path] - n for path, n in in_children.items())


def _products(ops: Mapping[str, int]) -> int:
    return sum(ops.get(op, 0) for op in ("conv", "linear", "matmul", "mm", "bmm", "addmm"))


def _weight_and_bias(module: nn.Module) -> int:
    tensors = (getattr(module, name, None) for name in ("weight", "bias"))
    return sum(p.numel() for p in tensors if isinstance(p, torch.Tensor))
