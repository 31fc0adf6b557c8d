"""Pointwise work of operators, by their names: operators that count, that do not count, or that
have no rule.

Each element that a norm, a softmax, an activation, a gate, a scale or a residual add writes counts
as one. Operators that copy, compare, reduce, draw random numbers or look up do not count, as in the
formulas (``engine.kinds``).
"""

from collections.abc import Mapping

from vitcost.traced.operators import foreign, is_attention, looks_like_a_product
from vitcost.traced.trace import EMPTY, VIEWS, Operator, Pass

__all__ = ["WITHOUT", "WORK", "counts", "listed", "without_rule"]

# a trailing _ marks an in-place operator, which does the same work
WORK = frozenset({
    # norms
    "_batch_norm_with_update", "_fused_rms_norm", "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training", "batch_norm_elemt", "cudnn_batch_norm",
    "miopen_batch_norm", "native_batch_norm", "native_group_norm", "native_layer_norm",
    # softmax
    "_log_softmax", "_safe_softmax", "_softmax",
    # activations
    "_prelu_kernel", "celu", "clamp", "clamp_max", "clamp_min", "elu", "erf", "gelu", "glu",
    "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log_sigmoid_forward",
    "logit", "mish", "prelu", "relu", "relu6", "rrelu_with_noise", "selu", "sigmoid", "silu",
    "softplus", "softshrink", "tanh", "threshold",
    # gates and scales
    "addcdiv", "addcmul", "div", "mul", "true_divide",
    # residual adds
    "add", "rsub", "sub",
})  # fmt: skip

WITHOUT = frozenset({
    # functions and comparisons that the formulas do not count
    "abs", "acos", "acosh", "angle", "asin", "asinh", "atan", "atan2", "atanh", "bitwise_and",
    "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor",
    "ceil", "clip", "complex", "conj_physical", "copysign", "cos", "cosh", "deg2rad", "digamma",
    "eq", "erfc", "erfinv", "exp", "exp2", "expm1", "float_power", "floor", "floor_divide",
    "fmax", "fmin", "fmod", "frac", "frexp", "gcd", "ge", "gt", "heaviside", "hypot", "i0",
    "igamma", "igammac", "imag", "isfinite", "isinf", "isnan", "isneginf", "isposinf", "lcm",
    "ldexp", "le", "lerp", "lgamma", "log", "log10", "log1p", "log2", "logaddexp", "logaddexp2",
    "logical_and", "logical_not", "logical_or", "logical_xor", "lt", "masked_fill", "maximum",
    "minimum", "mvlgamma", "nan_to_num", "ne", "neg", "nextafter", "polar", "polygamma",
    "positive", "pow", "rad2deg", "real", "reciprocal", "remainder", "round", "rsqrt", "sgn",
    "sign", "signbit", "sin", "sinc", "sinh", "sqrt", "square", "tan", "trunc", "where",
    "xlogy",
    # reductions, pools and resampling
    "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "_cummax_helper", "_cummin_helper",
    "_is_all_true", "_pdist_forward", "_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa",
    "_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d",
    "adaptive_max_pool2d", "adaptive_max_pool3d", "affine_grid_generator", "all", "amax",
    "amin", "aminmax", "any", "argmax", "argmin", "avg_pool2d", "avg_pool3d",
    "batch_norm_gather_stats_with_counts", "batch_norm_stats", "bincount", "count_nonzero",
    "cummax", "cummin", "cumprod", "cumsum", "equal", "fractional_max_pool2d",
    "grid_sampler_2d", "grid_sampler_3d", "histc", "kthvalue", "linalg_vector_norm",
    "logcumsumexp", "logsumexp", "max", "max_pool2d_with_indices", "max_pool3d_with_indices",
    "mean", "median", "min", "mode", "norm", "prod", "std", "std_mean", "sum", "trace",
    "upsample_bicubic2d", "upsample_bilinear2d", "upsample_linear1d", "upsample_nearest1d",
    "upsample_nearest2d", "upsample_nearest3d", "upsample_trilinear3d", "var", "var_mean",
    # memory layouts, copies and casts
    "_conj", "_neg_view", "_pin_memory", "_reshape_copy",
    "_sparse_coo_tensor_with_dims_and_tensors", "_to_copy", "cat", "channel_shuffle", "clone",
    "col2im", "constant_pad_nd", "contiguous", "copy", "diag_embed", "expand_copy", "flip",
    "im2col", "native_channel_shuffle", "pixel_shuffle", "pixel_unshuffle", "reflection_pad1d",
    "reflection_pad2d", "reflection_pad3d", "repeat", "repeat_interleave", "replication_pad1d",
    "replication_pad2d", "replication_pad3d", "roll", "rot90", "stack", "tril", "triu",
    "view_copy",
    # rows and elements by an index; sorting
    "_embedding_bag", "_index_put_impl", "_unique2", "_unsafe_index", "_unsafe_index_put",
    "bucketize", "diagonal_scatter", "embedding", "gather", "index", "index_add", "index_copy",
    "index_fill", "index_put", "index_select", "masked_scatter", "masked_select", "nonzero",
    "one_hot", "put", "scatter", "scatter_add", "scatter_reduce", "searchsorted",
    "select_scatter", "slice_scatter", "sort", "take", "topk", "unique_consecutive",
    "unique_dim",
    # tensors of constants or random numbers
    "_assert_async", "_fused_dropout", "_fused_sdp_choice", "_local_scalar_dense", "arange",
    "bernoulli", "exponential", "eye", "fill", "full", "full_like", "geometric", "hann_window",
    "linspace", "logspace", "multinomial", "native_dropout", "new_full", "new_ones",
    "new_zeros", "normal", "ones", "ones_like", "rand", "rand_like", "randint", "randint_like",
    "randn", "randn_like", "random", "randperm", "scalar_tensor", "tril_indices",
    "triu_indices", "uniform", "zero", "zeros", "zeros_like",
    # losses
    "_ctc_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "huber_loss",
    "mse_loss", "multi_margin_loss", "multilabel_margin_loss_forward", "nll_loss2d_forward",
    "nll_loss_forward", "smooth_l1_loss", "soft_margin_loss",
})  # fmt: skip


def counts(operator: Operator) -> bool:
    """Whether an operator is pointwise work. A sum counts only if both terms grow with the batch.

    >>> from vitcost.traced.trace import Array
    >>> stream, bias = Array("float32", ((0, 1), (768,))), Array("float32", ((768,),))
    >>> zero = (0,)
    >>> add = Operator("add", "forward", (stream, stream), (stream,), zero, zero, zero)
    >>> counts(add), counts(add._replace(reads=(stream, bias))), counts(add._replace(name="cat"))
    (True, False, False)
    """
    name = operator.name.removesuffix("_")
    if name not in ("add", "sub", "rsub"):
        return name in WORK
    reads = operator.reads[:2]
    grow = [any(len(side) > 1 for side in array.shape) for array in reads]
    same = len({array.shape for array in reads}) == 1
    return len(reads) > 1 and same and (all(grow) or not any(grow))


def without_rule(run: Pass) -> Mapping[str, str]:
    """Operators of a forward that no rule classifies as pointwise work or not, each with the module
    that calls it first.

    >>> import torch
    >>> from torch import nn
    >>> from vitcost.traced.inputs import inputs_of
    >>> from vitcost.traced.traces import trace
    >>> class Zeta(nn.Linear):
    ...     def forward(self, x):
    ...         return super().forward(x) + torch.special.zeta(x, x)
    >>> model = nn.Sequential(Zeta(768, 768))
    >>> without_rule(trace(model, inputs_of(model, "768"), (2, 3, 4)).inference)
    {'special_zeta': '0'}
    """
    without: dict[str, str] = {}
    loss = {"loss"} - {module.path for module in run.modules}
    for number, path in run.calls:
        operator = run.operators[number]
        if operator.phase != "forward" or run.paths[path] in loss:
            continue
        if not _known(operator):
            without.setdefault(operator.name, run.paths[path])
    return without


def _known(operator: Operator) -> bool:
    name = operator.name.removesuffix("_")
    if name in WORK or name in WITHOUT or name in VIEWS or name in EMPTY:
        return True
    if foreign(name):
        return False
    product = any(operator.flops) or is_attention(name) or looks_like_a_product(name)
    return product or name.startswith("prim")


def listed(operators: Mapping[str, str]) -> str:
    """Operators without a rule by name, each with the place of its first call.

    >>> listed({"torchvision.nms": "boxes", "special_zeta": ""})
    'torchvision.nms in boxes, special_zeta in the model itself'
    """
    return ", ".join(f"{name} in {path or 'the model itself'}" for name, path in operators.items())
