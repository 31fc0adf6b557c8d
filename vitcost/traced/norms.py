"""The memory layout of a norm's outputs, from a rule; torch's shape function would run twenty
operators.

Fake tensors run a decomposition for these operators, 10 to 50 ms a call. The rules cover a layer
norm, which writes contiguously, and a batch norm of a contiguous image; all other norms run the
decomposition.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["laid_out"]

_aten = torch.ops.aten
_Args = tuple[Any, ...]


def laid_out(func: Any, args: _Args, kwargs: Mapping[str, Any]) -> Any:
    """The output of an operator on fake tensors: by a rule, or by the operator itself.

    >>> from torch._subclasses.fake_tensor import FakeTensorMode
    >>> norm = torch.ops.aten.native_layer_norm.default
    >>> with FakeTensorMode():
    ...     x, weight = torch.empty(2, 197, 768), torch.empty(768)
    ...     outputs = laid_out(norm, (x, [768], weight, weight, 1e-6), {})
    >>> [tuple(each.shape) for each in outputs]  # y, and a mean and a deviation for each row
    [(2, 197, 768), (2, 197, 1), (2, 197, 1)]
    """
    rule = _RULES.get(func)
    output = None if rule is None or kwargs else rule(args)
    return func(*args, **kwargs) if output is None else output


def _layer_norm(args: _Args) -> Any:
    """y like x; mean and 1/deviation, one number for each row, in float32 on a card."""
    x, over, weight = args[:3]
    if not _sure(x) or not _plain(x, weight):
        return None
    rows = [*x.shape[: x.dim() - len(over)], *[1] * len(over)]
    statistics = (_new(x, rows, torch.float32) for _ in range(2))
    return (_new(x, x.shape, x.dtype), *statistics)


def _layer_norm_backward(args: _Args) -> Any:
    """The gradients of x, weight and bias, each a new tensor."""
    gradient, x, _, _, _, weight, bias, mask = args
    if not (_sure(x) and _sure(gradient)) or not _plain(x, weight):
        return None
    if gradient.dtype != x.dtype or bias is None:
        return None
    return tuple(
        _new(t, t.shape, t.dtype) if asked else None
        for t, asked in zip((x, weight, bias), mask, strict=True)
    )


def _batch_norm(args: _Args) -> Any:
    """y like x; the statistics of each channel in float32."""
    x, weight, bias = args[:3]
    if bias is None or not _plain(x, weight) or not _in_order(x):
        return None
    statistics = (_new(x, [x.shape[1]], torch.float32) for _ in range(2))
    return (torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device), *statistics)


def _batch_norm_backward(args: _Args) -> Any:
    """The gradients of x, weight and bias, each a new tensor."""
    gradient, x, weight, *_, mask = args
    alike = gradient.stride() == x.stride() and gradient.dtype == x.dtype
    if not alike or not _plain(x, weight) or not _in_order(x):
        return None
    of_input = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device)
    rows = (_new(weight, weight.shape, weight.dtype) if asked else None for asked in mask[1:])
    return (of_input if mask[0] else None, *rows)


def _plain(x: Tensor, weight: Tensor | None) -> bool:
    """Whether the rule applies: on a card, with a weight in float32 or in the type of x."""
    fits = weight is not None and weight.dtype in (torch.float32, x.dtype)
    return fits and x.device.type != "cpu" and x.numel() > 0


def _sure(x: Tensor) -> bool:
    """Whether contiguous strides are the only strides of this shape; the stride of an axis of
    length 1 may be any number."""
    return 1 not in x.shape or _in_order(x)


def _in_order(x: Tensor) -> bool:
    return x.stride() == torch.empty(x.shape, device="meta").stride()


def _new(like: Tensor, shape: Any, dtype: torch.dtype) -> Tensor:
    return torch.empty(list(shape), dtype=dtype, device=like.device)


_RULES: Mapping[Any, Callable[[_Args], Any]] = {
    _aten.native_layer_norm.default: _layer_norm,
    _aten.native_layer_norm_backward.default: _layer_norm_backward,
    _aten.native_batch_norm.default: _batch_norm,
    _aten.native_batch_norm_backward.default: _batch_norm_backward,
}
