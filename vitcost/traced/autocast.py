"""torch's autocast for CUDA on the card of ``vitcost.traced.card``: its lists of operators, and its
cache of weights.

Source: aten/src/ATen/autocast_mode.h and autocast_mode.cpp. A test holds the lists against those
that torch registers for CUDA.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from vitcost.errors import NotCovered
from vitcost.traced.fakes import switched
from vitcost.traced.leaves import tensors

__all__ = ["AUTOCAST", "CARD", "autocast", "inference_as_no_grad", "recomputing", "register"]

CARD = "card"
_KEY = "AutocastPrivateUse1"

# autocast_mode.h: AT_FORALL_LOWER_PRECISION_FP
_HALF = (
    "_convolution", "_convolution.deprecated", "conv1d", "conv2d", "conv3d", "conv_tbc",
    "conv_transpose1d", "conv_transpose2d.input", "conv_transpose3d.input", "convolution", "prelu",
    "addmm", "addmv", "addr", "matmul", "einsum", "mm", "mv", "linalg_vecdot", "linalg_multi_dot",
    "linear", "addbmm", "baddbmm", "bmm", "chain_matmul", "scaled_dot_product_attention",
    "_scaled_dot_product_flash_attention", "lstm_cell", "gru_cell", "rnn_tanh_cell",
    "rnn_relu_cell",
)  # fmt: skip
# AT_FORALL_FP32
_FLOAT = (
    "acos", "asin", "cosh", "erfinv", "exp", "expm1", "log", "log10", "log2", "log1p", "reciprocal",
    "rsqrt", "sinh", "tan", "pow.Tensor_Scalar", "pow.Tensor_Tensor", "pow.Scalar", "softplus",
    "layer_norm", "native_layer_norm", "group_norm", "frobenius_norm.dim", "nuclear_norm",
    "nuclear_norm.dim", "cosine_similarity", "poisson_nll_loss", "cosine_embedding_loss",
    "nll_loss", "nll_loss2d", "hinge_embedding_loss", "kl_div", "l1_loss", "smooth_l1_loss",
    "huber_loss", "mse_loss", "margin_ranking_loss", "multilabel_margin_loss", "soft_margin_loss",
    "triplet_margin_loss", "multi_margin_loss", "binary_cross_entropy_with_logits", "dist", "pdist",
    "cdist", "renorm", "logsumexp", "upsample_nearest1d", "_upsample_nearest_exact1d",
    "upsample_nearest2d", "_upsample_nearest_exact2d", "upsample_nearest3d",
    "_upsample_nearest_exact3d", "upsample_linear1d", "upsample_bilinear2d",
    "_upsample_bilinear2d_aa", "upsample_trilinear3d", "upsample_bicubic2d",
    "_upsample_bicubic2d_aa", "rms_norm",
)  # fmt: skip
# AT_FORALL_FP32_SET_OPT_DTYPE
_DTYPE = (
    "prod", "prod.dim_int", "softmax.int", "log_softmax.int", "cumprod", "cumsum",
    "linalg_vector_norm", "linalg_matrix_norm", "linalg_matrix_norm.str_ord", "sum",
    "sum.dim_IntList",
)  # fmt: skip
# AT_FORALL_PROMOTE
_PROMOTE = (
    "addcdiv", "addcmul", "atan2", "bilinear", "cross", "dot", "vdot", "grid_sampler", "index_put",
    "tensordot", "scatter_add",
)  # fmt: skip
# AT_FORALL_DIFFERENT_REDISPATCH_SIGNATURE: autocast calls the overload that takes a type
_NORM = {"norm.Scalar": "ScalarOpt_dtype", "norm.ScalarOpt_dim": "ScalarOpt_dim_dtype"}
_BANNED = ("binary_cross_entropy",)

# copies of weights, by the id of the weight
_COPIES: dict[int, tuple[Tensor, Tensor]] = {}


def register(library: Any, aten: Any) -> None:
    """Registers autocast's rules for the card; ``card.install`` calls this once in a process.

    >>> from torch._subclasses.fake_tensor import FakeTensorMode
    >>> from vitcost.traced.card import install
    >>> install()
    >>> with FakeTensorMode(allow_non_fake_inputs=True), autocast(torch.bfloat16):
    ...     x = torch.empty(4, 4, device=CARD)
    ...     (x @ x).dtype, x.exp().dtype
    (torch.bfloat16, torch.float32)
    """
    library.fallback(torch.library.fallthrough_kernel, _KEY)
    for rule, names in AUTOCAST.items():
        for name in names:
            _register(aten, name, rule)


@contextmanager
def autocast(dtype: torch.dtype | None) -> Iterator[None]:
    """torch.autocast as on a card. The copies of weights live until the context is left. None: no
    autocast.

    >>> from vitcost.traced.card import install
    >>> install()
    >>> with autocast(torch.bfloat16):
    ...     inside = torch.is_autocast_enabled(CARD)
    >>> inside, torch.is_autocast_enabled(CARD)
    (True, False)
    """
    if dtype is None:
        yield
        return
    torch.set_autocast_enabled(CARD, True)
    torch.set_autocast_dtype(CARD, dtype)
    try:
        yield
    finally:
        torch.set_autocast_enabled(CARD, False)
        _COPIES.clear()


@contextmanager
def recomputing() -> Iterator[None]:
    """Frees the copies where torch's own autocast does: a checkpointed region runs again under a
    nested autocast, and torch clears its cache when that is left.

    >>> _COPIES[0] = torch.empty(1), torch.empty(1)
    >>> with recomputing():
    ...     torch.clear_autocast_cache()
    >>> _COPIES
    {}
    """
    clear = torch.clear_autocast_cache

    def both() -> None:
        clear()
        _COPIES.clear()

    with switched(torch, clear_autocast_cache=both):
        yield


@contextmanager
def inference_as_no_grad() -> Iterator[None]:
    """Replaces ``inference_mode`` by ``no_grad`` without autocast's cache, which allocates the same
    tensors (autocast_mode.cpp). In the real ``inference_mode`` a dispatch mode sees composite
    operators, not the ones that they call.

    >>> with inference_as_no_grad(), torch.inference_mode():
    ...     torch.is_inference_mode_enabled(), torch.is_grad_enabled()
    (False, False)
    """
    before: list[tuple[bool, bool]] = []

    def enter(self: Any) -> None:
        before.append((torch.is_grad_enabled(), torch.is_autocast_cache_enabled()))
        torch.set_grad_enabled(not self.mode)
        torch.set_autocast_cache_enabled(not self.mode)

    def leave(self: Any, *_: object) -> None:
        grad, cache = before.pop()
        torch.set_grad_enabled(grad)
        torch.set_autocast_cache_enabled(cache)

    mode = switched(torch.inference_mode, __enter__=enter, __exit__=leave)
    with torch.inference_mode(False), torch.set_grad_enabled(torch.is_grad_enabled()), mode:
        yield


def _register(aten: Any, name: str, rule: Callable[..., Any]) -> None:
    packet, _, overload = name.partition(".")
    try:
        op = getattr(getattr(torch.ops.aten, packet), overload or "default")
    except AttributeError:
        return  # this version of torch has no such operator

    def kernel(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(_AUTOCAST):
            return rule(op, args, kwargs)

    aten.impl(name, kernel, _KEY)


_KEYS: Any = torch._C.DispatchKey
_AUTOCAST = torch._C.DispatchKeySet(_KEYS.AutocastPrivateUse1)


def _half(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    low = torch.get_autocast_dtype(CARD)
    return op(*_all_cast(args, low), **{k: _cast(v, low) for k, v in kwargs.items()})


def _float(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    wide = torch.float32
    return op(*_all_cast(args, wide), **{k: _cast(v, wide) for k, v in kwargs.items()})


def _dtype(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    narrow = _eligible(args[0]) and args[0].dtype != torch.float32
    asked = kwargs.get("dtype") is not None or any(isinstance(a, torch.dtype) for a in args)
    return op(*args, **({**kwargs, "dtype": torch.float32} if narrow and not asked else kwargs))


def _promote(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    wide = any(_eligible(t) and t.dtype == torch.float32 for t in tensors(args))
    dtype = torch.float32 if wide else torch.get_autocast_dtype(CARD)
    return op(*_all_cast(args, dtype), **kwargs)


def _norm(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    narrow = _eligible(args[0]) and args[0].dtype != torch.float32
    if not narrow:
        return op(*args, **kwargs)
    typed = getattr(torch.ops.aten.norm, _NORM[str(op).removeprefix("aten.")])
    operands = args if len(args) > 1 else (*args, 2)
    return typed(*operands, **kwargs, dtype=torch.float32)


def _banned(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    raise NotCovered(
        "torch refuses binary_cross_entropy under autocast: use binary_cross_entropy_with_logits"
    )


AUTOCAST: Mapping[Callable[..., Any], Sequence[str]] = {
    _half: _HALF,
    _float: _FLOAT,
    _dtype: _DTYPE,
    _promote: _PROMOTE,
    _norm: tuple(_NORM),
    _banned: _BANNED,
}


def _eligible(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.is_floating_point()
        and value.dtype != torch.float64
        and value.device.type == CARD
    )


def _cast(value: Any, dtype: torch.dtype) -> Any:
    """``cached_cast`` of autocast_mode.cpp: a weight is copied once, with an autograd graph even
    under ``no_grad``, since a later forward may need the graph. A linear layer copies
    non-contiguous rows only if its weight has a graph: ``should_fold`` of aten's LinearAlgebra.cpp.
    """
    if isinstance(value, list | tuple):
        return type(value)(_all_cast(value, dtype))
    if not _eligible(value) or value.dtype == dtype:
        return value
    keeps = (
        value.dtype == torch.float32
        and dtype != torch.float32
        and value.requires_grad
        and value.is_leaf
        and not value._is_view()
        and torch.is_autocast_cache_enabled()
    )
    if not keeps:
        return value.to(dtype)
    if id(value) not in _COPIES:
        with torch.enable_grad():
            _COPIES[id(value)] = value, value.to(dtype)
    return _COPIES[id(value)][1]


def _all_cast(values: Any, dtype: torch.dtype) -> list[Any]:
    """Casts the last argument first, as gcc evaluates the arguments of a call from the last to the
    first."""
    return [_cast(value, dtype) for value in reversed(values)][::-1]
