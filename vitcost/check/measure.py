"""What any torch module costs, measured on the meta device: for modules that no formula describes.

Parameters are exact. FLOPs are exact as far as every operator that multiplies matrices has a rule
in torch's counter; those without one are listed, and so is what stopped the run.
"""

from collections.abc import AsyncIterator, Awaitable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from inspect import iscoroutine
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from vitcost.check.counters import by_path, counting
from vitcost.check.scopes import INNERMOST, OUTERMOST, Call, Scopes
from vitcost.users_code import reason_of

__all__ = ["Measured", "MeasuredModule", "measure"]

# words in the names of operators that multiply matrices, or do comparable work
_MATRIX_WORDS = {
    "mm", "addmm", "bmm", "addbmm", "baddbmm", "smm", "hspmm", "sspaddmm", "mv", "addmv", "dot",
    "vdot", "ger", "addr", "matmul", "kron", "tensordot", "einsum", "linear", "bilinear",
    "trilinear", "conv", "conv1d", "conv2d", "conv3d", "convolution", "depthwise3d", "attention",
    "lstm", "gru", "rnn", "fft", "linalg", "solve", "cholesky", "cdist", "int4pack", "int8pack",
}  # fmt: skip
_HARMLESS = {"linalg_vector_norm"}


class MeasuredModule(NamedTuple):
    """A module that was called, its children included. FLOPs are those of all its calls; of one
    that the model's own forward calls, those of the calls from there."""

    path: str
    type: str
    shape: tuple[int, ...]
    params: int
    flops: int
    children: "tuple[MeasuredModule, ...]" = ()


class Measured(NamedTuple):
    """A module's parameters and forward FLOPs, and what the FLOPs leave out."""

    params: int
    trainable: int
    weights_bytes: int  # in the types that the parameters have
    flops: int
    # the model's own modules with those inside them, and under the path that torch has for the
    # model itself what stands on none of them: the numbers add up to the model's
    layers: tuple[MeasuredModule, ...]
    own: Mapping[str, tuple[int, int]]  # parameters and FLOPs of each module without those inside
    uncounted: tuple[str, ...]
    unread: tuple[str, ...]  # modules and parameters that no operator of this forward read
    params_by_part: Mapping[str, int]  # by the model's own modules and parameters
    stopped: bool  # the forward did not come to its end: its FLOPs are those up to there


def measure(module: nn.Module, input_shape: Sequence[int]) -> Measured:
    """Parameters and forward FLOPs of a module in eval mode, for one input of a shape.

    The module is left as it is, wherever it lies: it runs on meta copies of its tensors.

    >>> measured = measure(nn.Sequential(nn.Linear(4, 8), nn.GELU()), (2, 3, 4))
    >>> measured.params, measured.flops, measured.uncounted
    (40, 384, ())
    """
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    on_meta = {name: tensor.to("meta") for name, tensor in tensors.items()}
    kinds = [t.dtype for t in tensors.values() if t.is_floating_point()]
    x = torch.empty(*input_shape, device="meta", dtype=kinds[0] if kinds else torch.float32)
    scopes, seen = Scopes(module, ends=True), _Seen()
    stopped: list[str] = []
    with ExitStack() as stack:
        stack.enter_context(_evaluating(module))
        stack.enter_context(seen)
        counter = stack.enter_context(counting(scopes))
        try:
            lazy = _lazy(functional_call(module, on_meta, (x,)))
            if lazy:
                stopped.append(f"the model's own forward is a {lazy}: none of it ran")
        except (Exception, SystemExit) as error:
            # whatever a foreign forward raises is part of the answer
            where = scopes.running or "the model's own forward"
            stopped.append(f"stopped in {where}: {reason_of(error)}")
        flops = by_path(counter)
    parts: dict[str, int] = {}
    for name, p in module.named_parameters():
        part = name.partition(".")[0]
        parts[part] = parts.get(part, 0) + p.numel()
    own = list(module.parameters())
    return Measured(
        params=sum(p.numel() for p in own),
        trainable=sum(p.numel() for p in own if p.requires_grad),
        weights_bytes=sum(p.numel() * p.element_size() for p in own),
        flops=flops[""],
        layers=_layers(module, scopes, flops),
        own=_own(module, flops),
        uncounted=(*sorted(seen.uncounted), *stopped),
        unread=() if stopped else tuple(_unread(module, on_meta, seen.read)),
        params_by_part=parts,
        stopped=bool(stopped),
    )


def _lazy(output: Any) -> str:
    """The type of an output that computes when it is read: a generator, a coroutine, a map."""
    for leaf in tree_leaves(output):
        if isinstance(leaf, Iterator | AsyncIterator | Awaitable):
            if iscoroutine(leaf):
                leaf.close()
            return type(leaf).__name__
    return ""


def _layers(
    module: nn.Module, scopes: Scopes, flops: Mapping[str, int]
) -> tuple[MeasuredModule, ...]:
    """The modules that were called, each inside the one that called it first; a parameter that
    several hold is told with the first."""
    inside: dict[str, dict[str, Call]] = {}
    called: set[str] = set()
    for call, caller in zip(scopes.calls, scopes.callers, strict=True):
        if call.path and call.path not in called:
            called.add(call.path)
            inside.setdefault(caller, {})[call.path] = call
    left = {id(p): p.numel() for p in module.parameters()}

    def told(call: Call, left: dict[int, int], outermost: str) -> MeasuredModule:
        ids = {id(p) for p in module.get_submodule(call.path).parameters()}
        own = {key: left.pop(key) for key in ids & left.keys()}
        params = sum(own.values())
        children = tuple(told(child, own, "") for child in inside.get(call.path, {}).values())
        count = flops.get(outermost + call.path, 0)
        return MeasuredModule(call.path, call.type, call.shape, params, count, children)

    top = [told(call, left, OUTERMOST) for call in inside.get("", {}).values()]
    params = sum(left.values())
    own = flops[""] - sum(each.flops for each in top)
    shape = next((call.shape for call in scopes.calls if not call.path), ())
    rest = MeasuredModule("", type(module).__name__, shape, params, own)
    return (*top, rest) if params or own else tuple(top)


def _own(module: nn.Module, flops: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    params: dict[str, int] = {}
    for name, p in module.named_parameters():
        path = name.rpartition(".")[0]
        params[path] = params.get(path, 0) + p.numel()
    runs = {path.removeprefix(INNERMOST): n for path, n in flops.items() if INNERMOST in path}
    return {path: (params.get(path, 0), runs.get(path, 0)) for path in {**params, **runs}}


def _unread(
    module: nn.Module, tensors: Mapping[str, torch.Tensor], read: Collection[int]
) -> Iterator[str]:
    """The largest modules of which no parameter was read, and parameters that stand alone."""
    idle = {name for name, _ in module.named_parameters() if id(tensors[name]) not in read}
    names = [name for name, _ in module.named_parameters()]
    told: list[str] = []
    for name in (name for name in names if name in idle):
        if any(name.startswith(f"{path}.") for path in told):
            continue
        path = name
        while path.rpartition(".")[0] and all(
            each in idle for each in names if each.startswith(f"{path.rpartition('.')[0]}.")
        ):
            path = path.rpartition(".")[0]
        told.append(path)
        yield path


class _Seen(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every operator that torch's counter has no rule for and that may multiply matrices."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.uncounted: set[str] = set()
        self.read: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        self.read |= {id(leaf) for leaf in tree_leaves((args, kwargs))}
        space, _, name = func.overloadpacket._qualified_op_name.partition("::")
        words = set(name.split("_"))
        matrix = name not in _HARMLESS and bool(words & _MATRIX_WORDS)
        known = func.overloadpacket in flop_registry
        # nobody knows what an operator of a foreign library does
        if not known and (matrix or space not in ("aten", "prim", "prims")):
            self.uncounted.add(f"{space}::{name}")
        return func(*args, **(kwargs or {}))


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    training = [m for m in module.modules() if m.training]
    module.eval()
    try:
        yield
    finally:
        for m in training:
            m.training = True
