"""The kernels that torch would launch on a card: aten's calls under fake tensors, without a card.

A model is traced on a fake CUDA device under torch's own autocast for CUDA. Where a call would ask
for a real device, or a fake card would be given another kernel than a real one, it is replaced:
indexing by the views that it is, scaled dot product attention by the flash kernel.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vitcost.traced.card import flash

__all__ = ["Traced", "trace"]

_CARD = "cuda"
# operators that make a view, and read and write no element
_FREE = {
    "view", "_unsafe_view", "reshape", "expand", "unsqueeze", "squeeze", "transpose", "permute",
    "t", "select", "slice", "split", "split_with_sizes", "chunk", "unbind", "alias", "detach",
    "device", "empty",
}  # fmt: skip


class Traced(NamedTuple):
    """The launches of a forward pass: FLOPs of products, and bytes that kernels read and write."""

    flops: int
    bytes: int
    launches: Counter[str]


def trace(model: nn.Module, shape: Sequence[int]) -> Traced:
    """The kernels of one forward pass under autocast; the model may lie on meta."""
    recorder = _Recorder()
    fake = FakeTensorMode()
    with fake:
        for module in model.modules():
            for tensors in (module._parameters, module._buffers):
                _place(tensors)
        image = torch.empty(*shape, device=_CARD)
        before = torch.get_autocast_dtype(_CARD)
        # torch.autocast itself refuses where there is no card
        torch.set_autocast_enabled(_CARD, True)
        torch.set_autocast_dtype(_CARD, torch.bfloat16)
        try:
            with torch.no_grad(), _OnACard(), recorder:
                model(image)
        finally:
            torch.set_autocast_enabled(_CARD, False)
            torch.set_autocast_dtype(_CARD, before)
    return Traced(recorder.flops, recorder.bytes, recorder.launches)


def _place(tensors: dict[str, Any]) -> None:
    """Puts a module's tensors on the fake card."""
    for name, tensor in tensors.items():
        if tensor is not None:
            placed = torch.empty(tensor.shape, dtype=tensor.dtype, device=_CARD)
            trains = isinstance(tensor, nn.Parameter)
            tensors[name] = nn.Parameter(placed, requires_grad=False) if trains else placed


class _OnACard(TorchFunctionMode):
    """Makes torch behave as if the card were real."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is Tensor.__getitem__:
            return _indexed(*args)
        if func is scaled_dot_product_attention:
            # the wrapper of autocast casts what the kernel reads
            q, k, v = (t.to(torch.bfloat16) for t in args[:3])
            return flash(q, k, v, 0.0, False, None)
        return func(*args, **(kwargs or {}))


def _indexed(x: Tensor, key: Any) -> Tensor:
    """``x[key]`` by views: ints, slices, None, and one ellipsis."""
    keys = list(key) if isinstance(key, tuple) else [key]
    if any(item is Ellipsis for item in keys):
        at = next(i for i, item in enumerate(keys) if item is Ellipsis)
        named = sum(item is not None for item in keys) - 1
        keys[at : at + 1] = [slice(None)] * (x.dim() - named)
    dim = 0
    for item in keys:
        if item is None:
            x = x.unsqueeze(dim)
        elif isinstance(item, int):
            x = x.select(dim, item)
            continue
        elif isinstance(item, Tensor):
            x = torch.ops.aten.index.Tensor(x, [None] * dim + [item])
        elif item != slice(None):
            x = torch.ops.aten.slice.Tensor(x, dim, item.start, item.stop, item.step or 1)
        dim += 1
    return x


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up FLOPs and bytes of the calls that reach aten."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0
        self.bytes = 0
        self.launches: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name not in _FREE:
            read, written = list(_tensors((args, kwargs))), list(_tensors(result))
            self.launches[name] += 1
            self.flops += _flops(name, read, written)
            self.bytes += sum(t.numel() * t.element_size() for t in (*read, *written))
            if name == "native_layer_norm" and not read[0].is_contiguous():
                # the kernel copies its input into order first
                self.launches["clone"] += 1
                self.bytes += 2 * read[0].numel() * read[0].element_size()
        return result


def _tensors(values: Any) -> Iterator[Tensor]:
    yield from (leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor))


def _flops(name: str, read: list[Tensor], written: list[Tensor]) -> int:
    """FLOPs of a product: two for each multiply-add."""
    if name in ("mm", "bmm", "addmm", "baddbmm"):
        left, right = read[-2:]
        return 2 * left.numel() * right.shape[-1]
    if name == "convolution":
        weight = read[1]
        return 2 * written[0].numel() * (weight.numel() // weight.shape[0])
    if name == "_scaled_dot_product_flash_attention":
        q, k, v = read
        return 2 * q.numel() // q.shape[-1] * k.shape[-2] * (q.shape[-1] + v.shape[-1])
    return 0
