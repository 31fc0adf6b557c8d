"""The memory layout of a batch norm's outputs, from a rule; torch's shape function would run twenty
operators.

Fake tensors run a decomposition for these operators, 10 to 50 ms for each distinct call, of which a
convolutional network has many. The rules cover a contiguous image; all other norms run the
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
    >>> norm = torch.ops.aten.native_batch_norm.default
    >>> with FakeTensorMode():
    ...     x, weight = torch.empty(2, 64, 56, 56), torch.empty(64)
    ...     outputs = laid_out(norm, (x, weight, weight, None, None, True, 0.1, 1e-5), {})
    >>> [tuple(each.shape) for each in outputs]  # y, and a mean and a deviation for each channel
    [(2, 64, 56, 56), (64,), (64,)]
    """
    rule = _RULES.get(func)
    output = None if rule is None or kwargs else rule(args)
    return func(*args, **kwargs) if output is None else output


def _batch_norm(args: _Args) -> Any:
    """y like x; the statistics of each channel in float32."""
    x, weight, bias = args[:3]
    if bias is None or not _plain(x, weight):
        return None
    statistics = (_new(x, [x.shape[1]], torch.float32) for _ in range(2))
    return (_new(x, x.shape, x.dtype), *statistics)


def _batch_norm_backward(args: _Args) -> Any:
    """The gradients of x, weight and bias, each a new tensor."""
    gradient, x, weight, *_, mask = args
    if gradient.stride() != x.stride() or gradient.dtype != x.dtype or not _plain(x, weight):
        return None
    rows = (_new(weight, weight.shape, weight.dtype) if asked else None for asked in mask[1:])
    return (_new(x, x.shape, x.dtype) if mask[0] else None, *rows)


def _plain(x: Tensor, weight: Tensor | None) -> bool:
    """Whether a rule applies: on a card, contiguous, with a weight in float32 or in x's type."""
    fits = weight is not None and weight.dtype in (torch.float32, x.dtype)
    in_order = x.stride() == torch.empty(x.shape, device="meta").stride()
    return fits and in_order and x.device.type != "cpu" and x.numel() > 0


def _new(like: Tensor, shape: Any, dtype: torch.dtype) -> Tensor:
    return torch.empty(list(shape), dtype=dtype, device=like.device)


_RULES: Mapping[Any, Callable[[_Args], Any]] = {
    _aten.native_batch_norm.default: _batch_norm,
    _aten.native_batch_norm_backward.default: _batch_norm_backward,
}
