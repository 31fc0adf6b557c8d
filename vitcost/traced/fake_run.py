"""One run of a module under fake tensors: a forward in eval, or a training step up to the
optimizer, recorded."""

import gc
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import is_dataclass
from inspect import iscoroutine
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from vitcost.errors import NotCovered
from vitcost.traced import apply_flags, card
from vitcost.traced.autocast import CARD, autocast, inference_as_no_grad, recomputing
from vitcost.traced.chosen_loss import Loss
from vitcost.traced.fakes import attributes, put, switched, types_of, unchanged
from vitcost.traced.inputs import Arguments, Inputs
from vitcost.traced.leaves import leaves
from vitcost.traced.record import Recorder
from vitcost.traced.replayed import Spec, faker, spec_of
from vitcost.traced.stops import told
from vitcost.traced.trace import How, Weight
from vitcost.traced.wrapped_modules import marked

__all__ = ["AUTOCASTS", "CASTS", "Run", "no_fast_path", "run", "uncollected"]


class Run(NamedTuple):
    """A recorded run at one batch."""

    recorder: Recorder
    weights: tuple[Weight, ...]
    buffers: tuple[Weight, ...]
    # rows of all modules, with the fields of trace.Module
    modules: tuple[tuple[str, str, int, int, bool], ...]
    inputs: tuple[Spec, ...]
    batch_bytes: int
    loss: str
    unread: tuple[str, ...]  # modules with parameters of which no operator reads any


class _Mode(FakeTensorMode):  # type: ignore[no-untyped-call]
    """Fake tensors without constant folding on a device, as the card has no kernels."""

    avoid_device_init = True


# the parameters' types; under autocast the type of products
CASTS = {"bf16": torch.bfloat16, "fp16": torch.float16}
AUTOCASTS = {"amp-bf16": torch.bfloat16, "amp-fp16": torch.float16}
# torch's log of an operator that no shape fits; the error message says the same
_LOG = logging.getLogger("torch._subclasses.fake_tensor")


def run(
    model: nn.Module, inputs: Inputs, batch: int, how: How, loss: Loss | None, name: str
) -> Run:
    """Records a training step on ``batch`` images; without a ``loss``, a forward in eval under
    ``no_grad``. The module is left as it was.

    Raises ``NotCovered`` for a module that cannot be traced, with the operator that stopped it,
    ``UnknownName`` for layers of ``how`` that it has not.

    >>> from vitcost.traced.inputs import inputs_of
    >>> head = nn.Linear(768, 1000)
    >>> one = run(head, inputs_of(head, "768"), 8, How(), None, "head")
    >>> [(call.name, call.flops) for call in one.recorder.calls]  # 2 · 8 · 768 · 1000
    [('addmm', 12288000)]
    """
    device = CARD if how.platform == "cuda" else "cpu"
    if how.platform == "cuda":
        card.install()
    dtype = CASTS.get(how.precision)
    with ExitStack() as stack:
        stack.enter_context(unchanged(model))
        stack.enter_context(no_fast_path())
        stack.enter_context(switched(_LOG, disabled=True))
        stack.enter_context(recomputing())
        stack.enter_context(inference_as_no_grad())
        mode = _Mode(allow_non_fake_inputs=True)
        mode.cache_enabled = False
        stack.enter_context(mode)
        types = types_of(model, dtype)
        if how.casts:
            # fully_shard casts only parameters ahead, and inputs when a module runs
            dtype, weights = None, {id(parameter) for parameter in model.parameters()}
            types = {number: kind for number, kind in types.items() if number in weights}
        plain = put(model, device, types, faker(mode))
        apply_flags.adapt(model, how.lora, how.lora_layers)
        apply_flags.freeze(model, how.freeze)
        model.train(loss is not None)
        if loss is not None:
            apply_flags.recompute(model, how.checkpointing)
        with told(name, None):
            arguments = inputs.at(batch, device, dtype)
        lasting = [*model.parameters(), *model.buffers(), *plain]
        if how.onto and loss is not None:
            lasting += _gradients(model)
        stack.enter_context(apply_flags.attention(model, how.attention, how.platform))
        stack.enter_context(uncollected())
        recorder = _recorded(model, arguments, batch, how, loss, name, lasting, mode)
        kept = _made(model, lasting)
        if kept:
            # tensors that a first step leaves on the module exist in every later step
            for parameter in model.parameters():
                parameter.grad = None
            if how.onto and loss is not None:
                kept += _gradients(model)
            recorder = _recorded(model, arguments, batch, how, loss, name, [*lasting, *kept], mode)
        bytes_of = {t.untyped_storage()._cdata: t.untyped_storage().nbytes()
                    for t in arguments.tensors()}  # fmt: skip
        return Run(
            recorder,
            _named(dict(model.named_parameters()), recorder),
            _named({**dict(model.named_buffers()), **_plain(model)}, recorder),
            tuple(_modules(model)),
            tuple(map(spec_of, arguments.tensors())),
            sum(bytes_of.values()) + recorder.targets_bytes,
            "" if loss is None else loss.note,
            _unread(model, recorder),
        )


def _recorded(
    model: nn.Module,
    arguments: Arguments,
    batch: int,
    how: How,
    loss: Loss | None,
    name: str,
    lasting: list[Tensor],
    mode: FakeTensorMode,
) -> Recorder:
    recorder = Recorder(model, [*lasting, *arguments.tensors()], mode)
    shapes = " and ".join(str(list(tensor.shape)) for tensor in arguments.tensors())
    with told(name, recorder, f"{shapes} at batch {batch}"):
        if loss is None:
            _forward(model, arguments, how, recorder)
        else:
            _step(model, arguments, batch, how, loss, recorder)
    return recorder


def _made(model: nn.Module, known: list[Tensor]) -> list[Tensor]:
    """Tensors that a run left on a module, as attributes or in place of its buffers."""
    ids = {id(tensor) for tensor in known}
    every = [t for m in model.modules() for _, t in attributes(m)]
    left = [t for t in (*model.buffers(), *every) if id(t) not in ids]
    # a module that keeps the graph of a run would record one more pass in each step
    return [t for t in left if t.grad_fn is None]


def _forward(model: nn.Module, arguments: Arguments, how: How, recorder: Recorder) -> None:
    with recorder, recorder.watching(), torch.no_grad(), _autocast(how):
        output = model(*arguments.args, **arguments.kwargs)
    returned = leaves(output)
    for leaf in returned:
        # a generator, a coroutine or a map does its work only when it is read
        if isinstance(leaf, Iterator | AsyncIterator | Awaitable):
            kind = type(leaf).__name__
            if iscoroutine(leaf):
                leaf.close()
            raise NotCovered(
                f"the forward of {type(model).__name__} returns a {kind}: none of its work is done"
            )
    if not any(isinstance(leaf, Tensor) for leaf in returned):
        returns = f"the forward of {type(model).__name__} returns a {type(output).__name__}"
        if is_dataclass(output):
            raise NotCovered(
                f"{returns}, a dataclass, whose tensors are not read: give a dictionary"
            )
        raise NotCovered(f"{returns}, and no tensor")
    recorder.close()
    del output


def _step(
    model: nn.Module, arguments: Arguments, size: int, how: How, loss: Loss, recorder: Recorder
) -> None:
    trained: list[Any] = [p for p in model.parameters() if p.requires_grad]
    hooks = [p.register_post_accumulate_grad_hook(recorder.gradient) for p in trained]
    with ExitStack() as stack:
        for each in (*hooks, recorder, recorder.watching(), torch.enable_grad()):
            stack.enter_context(each)
        if how.sharded:
            dtype = CASTS[how.precision] if how.casts else None
            stack.enter_context(marked(model, recorder, dtype))
        with _autocast(how):
            value = _loss(model, arguments, size, loss, recorder)
        recorder.backward = True
        # autograd counts its devices at the first backward pass of the process; if that was before
        # the card was registered, autograd's own thread must do the card's work
        threads = torch.autograd.set_multithreading_enabled(how.platform != "cuda")
        # anomaly detection reads values of gradients, and fake tensors have none
        plain = torch.autograd.set_detect_anomaly(False)
        with recorder.inside("loss"), threads, plain, card.raised_in_backward():
            value.backward()  # type: ignore[no-untyped-call]
    recorder.close()


def _loss(
    model: nn.Module, arguments: Arguments, size: int, loss: Loss, recorder: Recorder
) -> Tensor:
    output = [model(*arguments.args, **arguments.kwargs)]
    with recorder.inside("loss"):
        # no name may hold the output after the call
        return loss(output.pop(), arguments.batch, size, recorder)


@contextmanager
def _autocast(how: How) -> Iterator[None]:
    dtype = AUTOCASTS.get(how.precision)
    if how.platform == "cuda":
        with autocast(dtype):
            yield
        return
    with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        yield


@contextmanager
def uncollected() -> Iterator[None]:
    """Turns Python's collection of cycles off during a run, so that storages are freed at fixed
    moments.

    >>> with uncollected():
    ...     gc.isenabled()
    False
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@contextmanager
def no_fast_path() -> Iterator[None]:
    """Turns off the fused kernel for whole layers of nn.TransformerEncoderLayer and
    nn.MultiheadAttention in eval: no shape function describes it.

    >>> with no_fast_path():
    ...     torch.backends.mha.get_fastpath_enabled()
    False
    """
    was = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was)


def _gradients(model: nn.Module) -> list[Tensor]:
    """The gradients that an earlier batch has left."""
    gradients = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.empty_like(parameter)
            gradients.append(parameter.grad)
    return gradients


def _named(tensors: dict[str, Any], recorder: Recorder) -> tuple[Weight, ...]:
    """Each tensor once, under its first name."""
    known: set[int] = set()
    weights = []
    for path, t in tensors.items():
        if id(t) not in known:
            known.add(id(t))
            reached = id(t) in recorder.reached
            weights.append(Weight(path, tuple(t.shape), str(t.dtype)[6:], t.requires_grad, reached))
    return tuple(weights)


def _unread(model: nn.Module, recorder: Recorder) -> tuple[str, ...]:
    """The outermost modules that have parameters, none of which an operator read."""
    outermost: list[str] = []
    for path, module in model.named_modules():
        storages = {p.untyped_storage()._cdata for p in module.parameters()}
        inside = any(path.startswith(f"{outer}.") for outer in outermost)
        if path and storages and not inside and not storages & recorder.read:
            outermost.append(path)
    return tuple(outermost)


def _modules(model: nn.Module) -> Iterator[tuple[str, str, int, int, bool]]:
    """Every module: its path and type, hooks, elements of its weight and bias, whether it trains.

    ``Module.apply`` goes to a module once for each module that it is a child of.
    """
    visits: Counter[int] = Counter()
    model.apply(lambda module: visits.update([id(module)]))
    for path, module in model.named_modules():
        weight_and_bias = [getattr(module, name, None) for name in ("weight", "bias")]
        elements = sum(t.numel() for t in weight_and_bias if isinstance(t, Tensor))
        trains = isinstance(weight_and_bias[0], Tensor) and weight_and_bias[0].requires_grad
        plain = isinstance(module, nn.Sequential | nn.ModuleList) or module is model
        hooks = 0 if plain else visits[id(module)]
        yield path, type(module).__name__, hooks, elements, trains


def _plain(model: nn.Module) -> dict[str, Tensor]:
    """Tensors that are only attributes, not parameters or buffers; a GRU also lists its parameters
    in such an attribute."""
    known = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
    return {
        f"{path}.{name}" if path else name: tensor
        for path, module in model.named_modules()
        for name, tensor in attributes(module)
        if id(tensor) not in known
    }
