"""A CUDA card's rules without a card: a backend written in Python.

torch's ``PrivateUse1`` is a device without kernels, and fake tensors need none. This module gives
it autocast's lists for CUDA, the choice of an attention kernel, and those operators that run as one
kernel on CUDA but are decomposed elsewhere. Everything else follows the same shape functions as on
CUDA.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from vitcost.engine.attention_kernels import choose
from vitcost.engine.ops import Op
from vitcost.engine.ops import Tensor as Axes
from vitcost.errors import NotCovered
from vitcost.traced.autocast import CARD, register
from vitcost.traced.fakes import switched

__all__ = ["KERNELS", "flash", "install", "kernel_of_card", "raised_in_backward"]


# operators that run as one kernel on CUDA, and are decomposed on a device without it
# (native_functions.yaml: CompositeImplicitAutograd beside CUDA); fake tensors never reach the
# kernel
KERNELS = ("silu_backward", "mish_backward", "_fused_rms_norm")


class _Rules:
    """The attention kernel that was asked for, and other state that the backend's operators
    read."""

    attention = "sdpa"
    tracing = False
    libraries: tuple[Any, ...] = ()  # torch drops the registrations of a library that is freed


@cache
def install() -> None:
    """Registers the backend, once a process. Raises ``NotCovered`` if this torch cannot, or if
    another backend is registered already.

    >>> from torch._subclasses.fake_tensor import FakeTensorMode
    >>> install()
    >>> with FakeTensorMode():
    ...     torch.empty(2, 3, device=CARD).device.type
    'card'
    """
    backend = torch._C._get_privateuse1_backend_name()
    if backend not in ("privateuseone", CARD):
        raise NotCovered(
            f"the rules of a card are traced by torch's backend PrivateUse1, which {backend} has "
            "here: trace under --platform cpu, or in a process without it"
        )
    try:
        from torch.utils.backend_registration import (
            _DummyBackendModule,
            _setup_privateuseone_for_python_backend,
        )
    except ImportError:
        raise NotCovered(
            f"torch {torch.__version__} has no backend in Python, by which the rules of a card are "
            "traced: torch 2.10 or later has, and --platform cpu needs none"
        ) from None
    device: Any = _DummyBackendModule()
    # DataParallel and others move modules to any device that reports itself as available
    device.is_available = lambda: _Rules.tracing
    device.get_amp_supported_dtype = lambda: [torch.bfloat16, torch.float16]
    _setup_privateuseone_for_python_backend(CARD, backend_module=device, device_guard=_guard())
    library: Any = torch.library.Library
    all_operators = library("_", "IMPL")
    aten = library("aten", "IMPL")
    register(all_operators, aten)
    aten.impl("scaled_dot_product_attention", _attention, "AutogradPrivateUse1")
    aten.impl("rms_norm", _rms_norm, "AutogradPrivateUse1")
    aten.impl("softmax.int", partial(_softmax, "_softmax"), "AutogradPrivateUse1")
    aten.impl("log_softmax.int", partial(_softmax, "_log_softmax"), "AutogradPrivateUse1")
    for name in KERNELS:
        aten.impl(name, _never, "PrivateUse1")
    _Rules.libraries = all_operators, aten


# errors that were leaving autograd's C++ when it asked for the device
_raised: list[BaseException] = []


@contextmanager
def raised_in_backward() -> Iterator[None]:
    """Raises an error of a backward pass as itself. If autograd asks for the device while an error
    is on its way, torch loses the error, so ``_guard`` keeps it.

    >>> with raised_in_backward():
    ...     raise NotCovered("a backward pass that no trace has")
    Traceback (most recent call last):
    vitcost.errors.NotCovered: a backward pass that no trace has
    """
    _raised.clear()
    try:
        yield
    except BaseException:
        if _raised:
            raise _raised[0] from None
        raise
    finally:
        _raised.clear()


def _guard() -> Any:
    """Tells autograd the device of a stream. Autograd asks as it leaves each backward node, even
    when an error is on its way: Python can then call nothing, and torch ends the process if the
    call fails. So the pending error is taken out and kept."""
    base: Any = torch._C._acc.DeviceGuard
    device: Any = torch._C._autograd.DeviceType.PrivateUse1

    class Guard(base):  # type: ignore[misc]
        def type_(self, probe: tuple[int] = (0,)) -> Any:
            try:
                # CPython uses an index of -1 with a pending error to say that conversion failed: an
                # earlier pending error is therefore raised here
                probe[-1]
            except BaseException as error:
                _raised.append(error)
            return device

    return Guard()


@contextmanager
def kernel_of_card(attention: str) -> Iterator[None]:
    """Sets the attention kernel of the card; ``sdpa`` is torch's own choice.

    >>> with kernel_of_card("math"):
    ...     _Rules.attention
    'math'
    >>> _Rules.attention
    'sdpa'
    """
    with switched(_Rules, attention=attention, tracing=True):
        yield


def _attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """aten's attention.cpp with the kernel that the engine chooses for the same operands."""
    kernel = _Rules.attention
    if kernel == "sdpa":
        kernel = _chosen(q, k, v, attn_mask, dropout_p)
    aten: Any = torch.ops.aten
    y: Tensor
    if kernel == "math" or q.dim() != 4:
        math = aten._scaled_dot_product_attention_math
        options = {"scale": scale, "enable_gqa": enable_gqa}
        y = math(q, k, v, attn_mask, dropout_p, is_causal, None, **options)[0]
        return y
    mask = None if attn_mask is None else _mask(attn_mask, q, k)
    if kernel == "flash":
        if mask is not None or q.dtype not in (torch.float16, torch.bfloat16):
            raise NotCovered("the flash kernel of a card takes half precision, and no mask")
        return flash(q, k, v, dropout_p, is_causal, scale)
    if enable_gqa and q.shape[1] != k.shape[1]:
        k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
    needs = torch.is_grad_enabled() and any(t.requires_grad for t in (q, k, v))
    # efficient | cudnn
    fused = getattr(aten, f"_scaled_dot_product_{kernel}_attention")
    y = fused(q, k, v, mask, needs, dropout_p, is_causal, scale=scale)[0]
    return y


def flash(q: Tensor, k: Tensor, v: Tensor, dropout: float, causal: bool, scale: Any) -> Tensor:
    """The flash kernel of a card, on ``q``, ``k`` and ``v`` of images × heads × tokens × width: the
    width is padded to a multiple of 8 (attention.cpp, pad_last_dim). ``dropout`` is a probability.

    >>> q = torch.empty(2, 12, 197, 60, dtype=torch.bfloat16, device="meta")
    >>> flash(q, q, q, 0.0, False, None).shape, flash(q, q, q, 0.0, False, None).stride()
    (torch.Size([2, 12, 197, 60]), (151296, 12608, 64, 1))
    """
    width = q.shape[-1]
    if width % 8:
        scale = width**-0.5 if scale is None else scale
        q, k, v = (torch.nn.functional.pad(t, (0, 8 - width % 8)) for t in (q, k, v))
    fused: Any = torch.ops.aten._scaled_dot_product_flash_attention
    y: Tensor = fused(q, k, v, dropout, causal, False, scale=scale)[0]
    return y.narrow(-1, 0, width) if width % 8 else y


def _chosen(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float) -> str:
    """The kernel that the engine chooses for these operands."""
    operands = (q, k, v) if mask is None else (q, k, v, mask)
    reads = tuple(Axes("operand", tuple(t.shape)) for t in operands)
    needs = tuple(t.requires_grad for t in operands)
    parts = (Op("dropout", reads[:1], reads[0]),) if dropout else ()
    half = q.dtype in (torch.float16, torch.bfloat16)
    return choose(Op("sdpa", reads, reads[0], needs=needs, parts=parts), "cuda", half)


def _mask(mask: Tensor, q: Tensor, k: Tensor) -> Tensor:
    """The mask as attention.cpp prepares it (convert_boolean_attn_mask, preprocess_mask): floats,
    rows padded to a multiple of 8 elements, repeated for every head."""
    if mask.dtype == torch.bool:
        kind: dict[str, Any] = {"dtype": q.dtype, "device": q.device}
        zero, out = torch.scalar_tensor(0.0, **kind), torch.scalar_tensor(float("-inf"), **kind)
        mask = torch.where(mask, zero, out)
    width = mask.shape[-1]
    *strides, last = mask.stride()
    if last != 1 or any(stride % 8 for stride in strides):
        mask = torch.nn.functional.pad(mask, (0, 8 - width % 8))[..., :width]
    return mask.expand(q.shape[0], q.shape[1], q.shape[2], k.shape[2])


def _rms_norm(
    x: Tensor, shape: list[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    fused: Any = torch.ops.aten._fused_rms_norm
    y: Tensor = fused(x, shape, weight, eps)[0]
    return y


def _softmax(kernel: str, x: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    """SoftMax.cpp: CUDA's kernel reads fp16 and writes fp32; every other type is cast first."""
    fused = getattr(torch.ops.aten, kernel)
    wide = x.dtype == torch.float16 and dtype == torch.float32
    y: Tensor = fused(x if dtype is None or wide else x.to(dtype), dim, wide)
    return y


def _never(*args: Any) -> Any:
    raise NotCovered("a card without kernels was asked to compute")
