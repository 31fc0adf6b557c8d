"""The witnesses: counts of torch and fvcore on a real module, without allocating its tensors."""

import warnings
import weakref
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, conv_backward_flop

from vitcost.check.scopes import Call, Scopes

__all__ = [
    "Counted", "Kept", "Packed", "by_fvcore", "by_path", "by_torch", "counting", "fill", "kept",
]  # fmt: skip

Shape = Sequence[int]


# pointwise operators, counted once for each element written; an add counts only if it is a residual
# add in a block
_NAMES = (
    "native_layer_norm", "native_group_norm", "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training", "_softmax", "gelu", "relu", "relu_", "tanh", "mul",
    "add", "add_",
)  # fmt: skip
_POINTWISE = tuple(getattr(torch.ops.aten, name) for name in _NAMES)
# modules whose own additions are residual adds
_RESIDUAL = ("Block", "Bottleneck")


class Counted(NamedTuple):
    """The counts of ``FlopCounterMode`` by module path, and the module calls in the order in which
    they return."""

    forward: Mapping[str, int]
    backward: Mapping[str, int]
    pointwise: Mapping[str, int]  # pointwise work of the forward pass
    calls: tuple[Call, ...]


def by_torch(model: nn.Module, shape: Shape, flash: bool = False) -> Counted:
    """FLOPs of a model on the meta device; in training mode also those of the backward pass.

    On meta, torch runs its fused attention as separate products; with ``flash`` the flash kernel
    itself is counted, forward and backward.
    """
    scopes = Scopes(model)
    with ExitStack() as stack:
        counter = stack.enter_context(counting(scopes))
        image = torch.zeros(*shape, device="meta")
        with _Flash() if flash else nullcontext():
            output = model(image)
        forward, pointwise = by_path(counter), by_path(counter, pointwise=True)
        if model.training:
            _total(output).backward()  # type: ignore[no-untyped-call]
        both = by_path(counter)
        backward = {path: n - forward.get(path, 0) for path, n in both.items()}
        return Counted(forward, backward, pointwise, tuple(scopes.calls))


@contextmanager
def counting(scopes: Scopes, beyond: list[int] | None = None) -> Iterator[FlopCounterMode]:
    """torch's counter, extended to count elements that pointwise operators write. ``beyond``
    collects the FLOPs that it counts too many for the weight gradients of grouped convolutions."""

    def written(*args: Any, out_shape: Any = None, **kwargs: Any) -> int:
        return prod(out_shape if isinstance(out_shape, torch.Size) else out_shape[0])

    def residual(*args: Any, out_shape: Any = None, **kwargs: Any) -> int:
        return prod(out_shape) if scopes.running_type.endswith(_RESIDUAL) else 0

    def grouped(*args: Any, out_shape: Any = None, **kwargs: Any) -> int:
        *operands, groups, asked = args
        rule: Any = conv_backward_flop
        if beyond is not None:
            weight = rule(*operands, groups, [False, asked[1], False], out_val=out_shape)
            beyond.append(weight - weight // groups)
        return int(rule(*args, out_val=out_shape))

    rules = dict.fromkeys(_POINTWISE, written) | {
        torch.ops.aten.convolution_backward: grouped,
        torch.ops.aten.add: residual,
        torch.ops.aten.add_: residual,
    }
    counter = FlopCounterMode(display=False, custom_mapping=rules)
    counter.mod_tracker = scopes
    with counter:
        yield counter


def by_path(counter: FlopCounterMode, pointwise: bool = False) -> dict[str, int]:
    """FLOPs, or pointwise work, by module path; ``""`` is the whole model."""
    paths = {
        path: sum(n for op, n in ops.items() if (op in _POINTWISE) == pointwise)
        for path, ops in counter.get_flop_counts().items()
    }
    paths[""] = paths.pop("Global", 0)
    return paths


class _Flash(TorchFunctionMode):
    """Calls the flash kernel when a model calls scaled_dot_product_attention."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        arguments = dict(kwargs or {})
        if func is not scaled_dot_product_attention:
            return func(*args, **arguments)
        flash = torch.ops.aten._scaled_dot_product_flash_attention
        return flash(*args, arguments.get("dropout_p", 0.0), scale=arguments.get("scale"))[0]


def by_fvcore(model: nn.Module, shape: Shape) -> dict[str, Counter[str]]:
    """fvcore's counts by module path and operator; operators that it has no rule for count 0.

    fvcore traces a real run, so the parameters must be real: each is a single zero, expanded.
    """
    with warnings.catch_warnings():
        # importing fvcore runs torch.jit.script, which torch deprecates
        warnings.simplefilter("ignore", DeprecationWarning)
        from fvcore.nn import FlopCountAnalysis
    fill(model, lambda p: torch.zeros((), dtype=p.dtype).expand(p.shape))
    # without gradients autograd saves no tensor of the run
    model.requires_grad_(False)
    image = torch.zeros(1).expand(*shape)
    analysis = FlopCountAnalysis(model, (image,))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.tracer_warnings("none")
    counts = analysis.by_module_and_operator()
    counts[""].update({op.removeprefix("aten::"): 0 for op in analysis.unsupported_ops()})
    return dict(counts)


class Kept(NamedTuple):
    """Bytes that autograd saves, by module path, and the forward FLOPs that torch counted on the
    CPU."""

    saved_bytes: Mapping[str, int]
    forward: Mapping[str, int]


def kept(
    model: nn.Module,
    shape: Shape,
    autocast: torch.dtype | None = None,
    loss: Callable[[Any, Tensor], Tensor] | None = None,
    vectors: int | None = None,
) -> Kept:
    """The storages that a forward pass on a CPU saves for backward, each once, with the module that
    first saved it.

    Autograd's own references are counted. A tensor that autograd packs but frees before the end is
    not counted, such as the inputs of a checkpointed region in which nothing trains. Parameters and
    the caller's images and targets are not counted. The tensors are fakes: shapes and storages are
    the CPU's, memory is not touched. ``loss`` is applied to the model's output, with targets for
    ``vectors`` score vectors, by default one for each image.
    """
    scopes = Scopes(model)
    packed: list[tuple[weakref.ref[Packed], tuple[str, ...]]] = []
    with ExitStack() as stack:
        stack.enter_context(FakeTensorMode())
        stack.enter_context(_CpuStatistics())  # type: ignore[no-untyped-call]
        fill(model, lambda p: torch.empty(p.shape, dtype=p.dtype))
        image = torch.empty(*shape, dtype=next(model.parameters()).dtype)
        targets = torch.zeros(len(image) if vectors is None else vectors, dtype=torch.long)
        lasting = (image, targets, *model.parameters(), *model.buffers())
        known = {t.untyped_storage()._cdata for t in lasting}

        def pack(tensor: Tensor) -> Packed:
            handle = Packed(tensor.untyped_storage())
            packed.append((weakref.ref(handle), tuple(scopes.parents)))
            return handle

        stack.enter_context(torch.autograd.graph.saved_tensors_hooks(pack, _never_unpacked))
        counter = stack.enter_context(counting(scopes))
        with torch.autocast("cpu", autocast or torch.bfloat16, enabled=autocast is not None):
            output = model(image)
            last = output if loss is None else loss(output, targets)
        saved = _by_path(packed, known)
        del output, last
        forward = by_path(counter)
    saved[""] = saved.pop("Global", 0)
    return Kept(saved, forward)


class Packed:
    """The object that autograd keeps in place of a tensor; it holds the tensor or its storage, and
    is freed when autograd frees it."""

    __slots__ = ("__weakref__", "kept")

    def __init__(self, kept: Any) -> None:
        self.kept = kept


def _never_unpacked(handle: Packed) -> Tensor:
    raise AssertionError("no backward pass runs here")


def _by_path(
    packed: Iterable[tuple[weakref.ref[Packed], tuple[str, ...]]], known: Collection[int]
) -> dict[str, int]:
    """The bytes of storages that are still kept, by the module that ran when each was first
    packed."""
    saved: dict[str, int] = defaultdict(int)
    storages = set(known)
    for reference, parents in packed:
        handle = reference()
        if handle is None or handle.kept._cdata in storages:
            continue
        storages.add(handle.kept._cdata)
        for path in parents:
            saved[path] += handle.kept.nbytes()
    return dict(saved)


class _CpuStatistics(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Corrects the statistics of a LayerNorm. torch's shape kernel gives them the type of its
    input, as the CPU does; but if autocast brings an input in half precision, the CPU gives them
    the type of the weight."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        at = _WEIGHTS.get(func)
        if at is None or args[at] is None:
            return out
        y, *statistics = out
        return y, *(t.to(args[at].dtype) for t in statistics)


# the index of the weight among a norm's arguments
_WEIGHTS = {
    torch.ops.aten.native_layer_norm.default: 2,
    torch.ops.aten.native_group_norm.default: 1,
    torch.ops.aten._native_batch_norm_legit.default: 1,
}


def _total(output: Any) -> Tensor:
    outputs = output if isinstance(output, tuple) else (output,)
    return torch.stack([t.sum() for t in outputs]).sum()


def fill(model: nn.Module, make: Callable[[Tensor], Tensor]) -> None:
    """Replaces the parameters and buffers of a model by other tensors; shared tensors stay
    shared."""
    filled: dict[int, Any] = {}
    for module in model.modules():
        table: dict[str, Any]
        for table in (module._parameters, module._buffers):
            for name, tensor in table.items():
                if tensor is None:
                    continue
                if id(tensor) not in filled:
                    new = make(tensor)
                    trains = isinstance(tensor, nn.Parameter)
                    filled[id(tensor)] = nn.Parameter(new, tensor.requires_grad) if trains else new
                table[name] = filled[id(tensor)]
