"""How the outputs of a norm lie, said at once where torch's shape function runs twenty operators.

Fake tensors run a decomposition for these operators, 10 to 50 ms a call. A layer norm writes its
output in order, and the rule of a batch norm covers an image in order; for every other tensor the
decomposition runs.
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
    """y as x; mean and 1/deviation a number for each row, in float32 on a card."""
    x, over, weight = args[:3]
    if not _sure(x) or not _plain(x, weight):
        return None
    rows = [*x.shape[: x.dim() - len(over)], *[1] * len(over)]
    statistics = (_new(x, rows, torch.float32) for _ in range(2))
    return (_new(x, x.shape, x.dtype), *statistics)


def _layer_norm_backward(args: _Args) -> Any:
    """The gradients of x, weight and bias, each as its own tensor."""
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
    """y as x; the statistics of each channel in float32."""
    x, weight, bias = args[:3]
    if bias is None or not _plain(x, weight) or not _in_order(x):
        return None
    statistics = (_new(x, [x.shape[1]], torch.float32) for _ in range(2))
    return (torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device), *statistics)


def _batch_norm_backward(args: _Args) -> Any:
    """The gradients of x, weight and bias, each as its own tensor."""
    gradient, x, weight, *_, mask = args
    alike = gradient.stride() == x.stride() and gradient.dtype == x.dtype
    if not alike or not _plain(x, weight) or not _in_order(x):
        return None
    of_input = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device)
    rows = (_new(weight, weight.shape, weight.dtype) if asked else None for asked in mask[1:])
    return (of_input if mask[0] else None, *rows)


def _plain(x: Tensor, weight: Tensor | None) -> bool:
    """On a card, with a weight in float32 or as the input."""
    fits = weight is not None and weight.dtype in (torch.float32, x.dtype)
    return fits and x.device.type != "cpu" and x.numel() > 0


def _sure(x: Tensor) -> bool:
    """Whether the strides of a tensor in this shape's order are one list: the stride of an axis of
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
