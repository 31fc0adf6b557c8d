"""What any torch module costs, measured on the meta device: for modules that no formula describes.

Parameters are exact. FLOPs are exact as far as every operator that multiplies matrices has a rule
in torch's counter; those without one are listed, and so is what stopped the run.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from vitcost.check.counters import by_path, counting
from vitcost.check.scopes import Call, Scopes

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
    """A module that was called, its children included; FLOPs are those of all its calls."""

    path: str
    type: str
    shape: tuple[int, ...]
    params: int
    flops: int
    children: "tuple[MeasuredModule, ...]" = ()


class Measured(NamedTuple):
    """A module's parameters and forward FLOPs, and what the FLOPs leave out."""

    params: int
    flops: int
    modules: tuple[MeasuredModule, ...]  # in the order in which they return
    uncounted: tuple[str, ...]
    params_by_part: Mapping[str, int]  # by the model's own modules and parameters
    stopped: bool  # the forward did not come to its end: its FLOPs are those up to there

    @property
    def layers(self) -> tuple[MeasuredModule, ...]:
        """The model's own modules with those inside them, and under the path that torch has for the
        model itself what stands on none of them: the numbers add up to the model's."""
        paths = {module.path for module in self.modules}
        inside: dict[str, list[MeasuredModule]] = {"": []}
        for module in self.modules[:-1]:
            # a module returns after those that it calls
            whole = module._replace(children=tuple(inside.pop(module.path, ())))
            inside.setdefault(_around(module.path, paths), []).append(whole)
        top, model = inside[""], self.modules[-1]
        params = model.params - sum(module.params for module in top)
        flops = model.flops - sum(module.flops for module in top)
        own = model._replace(params=params, flops=flops)
        return (*top, own) if params or flops else tuple(top)


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
    scopes, seen = Scopes(module), _Seen()
    stopped = []
    with ExitStack() as stack:
        stack.enter_context(_evaluating(module))
        stack.enter_context(seen)
        counter = stack.enter_context(counting(scopes))
        try:
            functional_call(module, on_meta, (x,))
        except Exception as error:  # whatever a foreign forward raises is part of the answer
            reason = str(error).strip().partition("\n")[0]
            where = scopes.running or "the model's own forward"
            stopped.append(f"stopped in {where}: {type(error).__name__}: {reason}")
        flops = by_path(counter)
    # a parameter that several modules hold is told with the first
    params = [(name, p.numel()) for name, p in module.named_parameters()]
    # and a module that is called several times with its first call; the model may have stopped
    calls = {
        call.path: call for call in reversed([*scopes.calls, Call("", type(module).__name__, ())])
    }
    order = dict.fromkeys(call.path for call in scopes.calls if call.path)
    modules = tuple(
        MeasuredModule(*calls[path], _inside(path, params), flops.get(path, 0))
        for path in (*order, "")
    )
    parts: dict[str, int] = {}
    for name, n in params:
        part = name.partition(".")[0]
        parts[part] = parts.get(part, 0) + n
    uncounted = (*sorted(seen.uncounted), *stopped)
    return Measured(_inside("", params), flops[""], modules, uncounted, parts, bool(stopped))


class _Seen(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every operator that torch's counter has no rule for and that may multiply matrices."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.uncounted: set[str] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
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


def _around(path: str, called: Collection[str]) -> str:
    """The nearest module around a path that was called."""
    while path:
        path = path.rpartition(".")[0]
        if path in called:
            return path
    return ""


def _inside(path: str, params: Iterable[tuple[str, int]]) -> int:
    return sum(n for name, n in params if not path or name.startswith(f"{path}."))
