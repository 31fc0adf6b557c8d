"""Rules that correct fake tensors where real tensors differ from them, each with its reason.

A test compares every rule with real CPU tensors.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch._prims_common import suggest_memory_format

__all__ = ["as_real"]

_aten = torch.ops.aten


def as_real(func: Any, args: tuple[Any, ...], output: Any) -> Any:
    """The output that a real kernel would give: the fake output, or a corrected one.

    A layer norm of half precision with weights in fp32 has statistics in fp32: aten's
    layer_norm_kernel.cu.

    >>> x, weight = torch.empty(2, 8, dtype=torch.bfloat16, device="meta"), torch.empty(8)
    >>> fake = x, x[:, :1], x[:, :1]
    >>> real = as_real(_aten.native_layer_norm.default, (x, [8], weight, weight, 1e-5), fake)
    >>> [t.dtype for t in real]
    [torch.bfloat16, torch.float32, torch.float32]
    """
    rule = _RULES.get(func)
    return output if rule is None else rule(args, output)


def _statistics(weight_at: int) -> Callable[[tuple[Any, ...], Any], Any]:
    """A norm whose weights have a wider type than its input writes statistics in the type of the
    weights, on a CPU (aten/src/ATen/native/cpu/mixed_data_type.h) and on a card (its accumulation
    type); torch's shape function gives them the type of the input."""

    def rule(args: tuple[Any, ...], output: Any) -> Any:
        weight = args[weight_at]
        y, *statistics = output
        narrow = weight is not None and args[0].dtype in (torch.bfloat16, torch.float16)
        if not narrow or weight.dtype == args[0].dtype:
            return output
        wide = (_like(t, weight.dtype) if t.numel() else t for t in statistics[:2])
        return (y, *wide, *statistics[2:])

    return rule


def _batch_norm(args: tuple[Any, ...], output: Any) -> Any:
    """In eval a batch norm computes no statistics: the kernels of cuDNN and of the CPU return empty
    tensors (aten/src/ATen/native/cudnn/BatchNorm.cpp), while torch's shape function for a card
    returns two with one number for each channel."""
    y, *statistics = _statistics(1)(args, output)
    training = args[5]
    if training:
        return (y, *statistics)
    return (y, *(torch.empty(0, dtype=t.dtype, device=t.device) for t in statistics))


def _in_order(args: tuple[Any, ...], output: Any) -> Any:
    """The backward kernel of a layer norm writes the input's gradient contiguously; torch's shape
    function gives it the memory layout of the output's gradient."""
    x, *rest = output
    return output if x is None or x.is_contiguous() else (_like(x, x.dtype), *rest)


def _as_input(args: tuple[Any, ...], output: Any) -> Any:
    """The backward kernel of a group norm writes the input's gradient in the type of the input; on
    a CPU in the input's memory layout, on a card contiguously
    (aten/src/ATen/native/group_norm.cpp). torch's shape function gives it the type of wider
    weights, and the layout of the output's gradient."""
    gradient, *rest = output
    if gradient is None:
        return output
    x, last = args[1], torch.channels_last
    pixels = x.dim() == 4 and x.device.type == "cpu" and x.is_contiguous(memory_format=last)
    order = last if pixels and not x.is_contiguous() else torch.contiguous_format
    if gradient.dtype == x.dtype and gradient.is_contiguous(memory_format=order):
        return output
    return (torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=order), *rest)


def _no_buffer(args: tuple[Any, ...], output: Any) -> Any:
    """A card's kernel of log sigmoid returns an empty buffer (Activation.cpp in aten/native/cuda);
    torch's shape function gives every device but CUDA the CPU's buffer."""
    y, buffer = output
    return (y, buffer if y.device.type == "cpu" else buffer.new_empty(0))


def _as_map(args: tuple[Any, ...], output: Any) -> Any:
    """If a map or a weight is stored pixel by pixel, cuDNN writes its output and both gradients
    pixel by pixel too (cudnn_conv_suggest_memory_format in aten's ConvUtils.h); torch's shape
    function, without a driver, always gives the order of channels."""
    several = isinstance(output, tuple)
    x, weight = args[1:3] if several else args[:2]
    if x.device.type == "cpu" or x.dim() != 4 or torch.float64 in (x.dtype, weight.dtype):
        return output
    last = torch.channels_last
    if last not in (suggest_memory_format(x), suggest_memory_format(weight)):
        return output
    if not several:
        return torch.empty_like(output, memory_format=last)
    laid = (t if t is None else torch.empty_like(t, memory_format=last) for t in output[:2])
    return (*laid, output[2])


def _shrunk(args: tuple[Any, ...], output: Any) -> Any:
    """A loss reduced to one number keeps the storage for the losses of all elements: the kernel
    shrinks that tensor at its end (Loss.cpp and Loss.cu in aten)."""
    shape = torch.broadcast_shapes(args[0].shape, args[1].shape)  # type: ignore[no-untyped-call]
    if output.shape == shape:
        return output
    return torch.empty(shape, dtype=output.dtype, device=output.device).as_strided((), ())


def _resized(args: tuple[Any, ...], output: Tensor) -> Tensor:
    """A fold, and the gradient of an unfold, shrink a tensor as large as their input, whose storage
    keeps its size (Col2Im.cpp and Col2Im.cu in aten)."""
    x: Tensor = args[0]
    if output.numel() >= x.numel():
        return output
    return x.new_empty(x.numel()).as_strided(output.shape, output.stride())


def _like(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.empty(tensor.shape, dtype=dtype, device=tensor.device)


_RULES: Mapping[Any, Callable[[tuple[Any, ...], Any], Any]] = {
    _aten.native_layer_norm.default: _statistics(2),
    _aten.native_group_norm.default: _statistics(1),
    _aten.native_batch_norm.default: _batch_norm,
    _aten._native_batch_norm_legit.default: _statistics(1),
    _aten._batch_norm_with_update.default: _statistics(1),
    _aten.native_layer_norm_backward.default: _in_order,
    _aten.native_group_norm_backward.default: _as_input,
    _aten.log_sigmoid_forward.default: _no_buffer,
    _aten.col2im.default: _resized,
    _aten.im2col.default: _resized,
    _aten.mse_loss.default: _shrunk,
    _aten.smooth_l1_loss.default: _shrunk,
    _aten.soft_margin_loss.default: _shrunk,
    _aten.binary_cross_entropy.default: _shrunk,
    _aten.convolution.default: _as_map,
    _aten.convolution_backward.default: _as_map,
}
