"""Operators of aten by their names."""

__all__ = ["ATTENTION", "foreign", "is_attention", "looks_like_a_product"]

# aten's fused attention operators, and vitcost's name for each kernel
ATTENTION = {
    "_scaled_dot_product_flash_attention": "flash",
    "_scaled_dot_product_flash_attention_for_cpu": "flash",
    "_scaled_dot_product_efficient_attention": "efficient",
    "_scaled_dot_product_cudnn_attention": "cudnn",
    # no other operator calls this softmax
    "_safe_softmax": "math",
}

# words in the names of operators that multiply matrices or do as much work
_WORDS = {
    "mm", "addmm", "bmm", "addbmm", "baddbmm", "smm", "hspmm", "sspaddmm", "mv", "addmv", "dot",
    "vdot", "ger", "addr", "matmul", "kron", "tensordot", "einsum", "linear", "bilinear",
    "trilinear", "conv", "conv1d", "conv2d", "conv3d", "convolution", "depthwise3d", "attention",
    "lstm", "gru", "rnn", "fft", "linalg", "solve", "cholesky", "cdist", "int4pack", "int8pack",
}  # fmt: skip
# operators whose names have such a word and yet multiply no matrices: resampling, and a length
_HARMLESS = ("upsample", "linalg_vector_norm", "grid_sampler")


def is_attention(name: str) -> bool:
    """Whether an operator is a fused attention, forward or backward.

    >>> is_attention("_scaled_dot_product_efficient_attention_backward"), is_attention("bmm")
    (True, False)
    """
    return name.startswith("_scaled_dot_product_")


def foreign(name: str) -> bool:
    """Whether an operator belongs to another library than torch, so that there are no rules for it.

    >>> foreign("gelu"), foreign("torchvision.nms"), foreign("prims.convert_element_type")
    (False, True, False)
    """
    return "." in name and not name.startswith(("prim.", "prims."))


def looks_like_a_product(name: str) -> bool:
    """Whether an operator that has no FLOP rule may multiply matrices.

    >>> looks_like_a_product("mv"), looks_like_a_product("upsample_bilinear2d")
    (True, False)
    """
    return foreign(name) or (not name.startswith(_HARMLESS) and bool(set(name.split("_")) & _WORDS))
