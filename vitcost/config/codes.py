"""The library whose forward a model runs: its code decides how long tensors stay alive.

A model has the same formula in every library. The forwards differ in the tensors that they keep
names for while other modules run, in the memory layout of attention, and in the parts that run in
fp32. A library without a row has timm's forwards.
"""

from collections.abc import Mapping
from typing import Any

from vitcost.config.records import Record

__all__ = ["CODES", "Code", "code_of", "lacks"]


class Code(Record):
    """The facts of a library's code that the config does not say: they decide which copies and
    casts are made, and when tensors are freed. A tensor lives as long as a forward has a variable
    for it."""

    # the file with the forward
    source: str
    # the forward of an attention: ``timm``, or ``mha`` for torch's nn.MultiheadAttention. The
    # engine replaces ``mha`` by ``mha fast``, ``native`` or ``timm`` where another forward runs
    attention: str = "timm"
    # the forward iterates over the blocks (``x = block(x)``), so the input of the first block is
    # freed once that block has read it; an nn.Sequential keeps it
    walks: bool = False
    # tensors that stay alive until the norm after the blocks has run: ``joined``, tokens without
    # positions; ``placed``, tokens with positions; ``embedded``, the input of the first block;
    # ``encoded``, the output of the last block
    holds: tuple[str, ...] = ()
    # the tensors of ``holds`` stay alive until the pool, too, has run
    pools: bool = False
    # how long a block keeps the outputs of its attention and of its MLP alive. ``kept``: until the
    # block returns. ``summed``: until they are added to the residual stream. ``scaled``: the
    # attention's output, before and after its layer scale, until the block returns, and the MLP's
    # until it is added. Empty: no longer than an op reads them
    branches: str = ""
    # a softmax outside of a fused kernel computes in fp32, and its result is cast back
    wide_softmax: bool = False
    # without ``wide_softmax``: the softmax's result is cast to the type of the values, as a mask
    # may have widened the scores
    casts_weights: bool = False
    # the scores stay alive until the attention returns
    keeps_scores: bool = False
    # the attention also returns its weights, and the block keeps them alive until it returns
    returns_weights: bool = False
    # position embeddings are rows of an nn.Embedding
    looks_up: bool = False
    # registers are inserted between the class token and the patches after positions are added
    inserts: bool = False
    # the second of two heads starts after the first has finished; in a gated MLP, the layer of the
    # values starts after the activation of the gate
    in_turn: bool = False
    # stochastic depth divides a branch by a number before it multiplies it by the mask
    divides: bool = False
    # the two linear layers of an MLP are in two modules, so that the input of the first is freed
    # before the second runs
    apart: bool = False
    # parameters with fewer axes than the tokens: ``class``, the class token is a vector; ``class
    # row``, such a vector is first viewed as a row; ``positions`` and ``mask``, the position table
    # and the mask token are matrices
    flat: tuple[str, ...] = ()
    # norms, tokens and positions are cast to the type of the residual stream
    keeps_type: bool = False
    # a head without a bias is a matrix with a row for each input; nn.Linear has one for each output
    projects: bool = False
    # a method joins tokens and positions to the patches; the forward that calls it keeps the
    # patches alive until the method returns
    embeds: bool = False
    # one function rotates queries and keys; the sines and cosines are made after the embedding
    turns_both: bool = False
    # the process caches the index of relative positions; the table of their biases is resampled to
    # the size of each image
    caches_pairs: bool = False
    # a block makes its bias of relative positions before it calls its attention
    block_bias: bool = False
    # the attention pool calls nn.MultiheadAttention
    probes: bool = False
    # masking sorts noise to draw the patches that stay, and gathers these patches by an index as
    # large as the result
    shuffles: bool = False
    # a model without registers has a parameter for them, with no elements
    empty_registers: bool = False
    # the buffers that modules register: ``keys``, a key bias that does not train; ``pairs``, the
    # index of relative positions; ``frequencies`` of rotary positions in the type of the model
    buffers: tuple[str, ...] = ("keys", "pairs")
    # the config's fields that arguments of the library set, besides ``SIZES``; ``name=value``
    # allows only that value. All other fields keep their defaults. Empty: any field may be set
    fields: tuple[str, ...] = ()


_TIMM: Mapping[str, Code] = {
    "VisionTransformer": Code("timm 1.0.31, models/vision_transformer.py", embeds=True),
    "Eva": Code("timm 1.0.31, models/eva.py", walks=True, branches="kept", embeds=True),
    "Beit": Code("timm 1.0.31, models/beit.py", walks=True),
}
# fields that every library takes, and the widths computed from them
SIZES = (
    "code", "img_size", "input_size", "patch_size", "in_chans", "embed_dim", "depth", "num_heads",
    "mlp_dim", "attn_pool_mlp_dim", "num_classes", "swiglu_align_to", "scale_query",
    "act_drop_rate=0.0",
)  # fmt: skip
_DROPS = ("pos_drop_rate", "proj_drop_rate", "act_drop_rate", "attn_drop_rate")
# fields of rows that also stand for a torch.hub model, where q, k and v are one projection
_HUB = ("floor_img_size", "qkv_fused", "interpolate_pos_encoding", "qkv_bias", "act_layer")

# transformers' models: the model's forward keeps a name for the input of its blocks, and each block
# one for the weights that its attention returns
_VIT = Code(
    "transformers 5.23, models/vit/modeling_vit.py, and those of deit, vit_mae and vit_msn",
    walks=True,
    holds=("embedded",),
    pools=True,
    branches="summed",
    wide_softmax=True,
    returns_weights=True,
    in_turn=True,
    divides=True,
    shuffles=True,
    buffers=(),
    fields=(
        *_HUB, *_DROPS, "pos_embed=fixed", "mask_ratio", "mask_token", "reg_tokens", "dist_token",
        "representation_size",
    ),
)  # fmt: skip
_CLIP = _VIT._replace(
    looks_up=True, fields=(*_HUB, "attn_drop_rate", "pre_norm", "fc_norm", "head_bias")
)
_DINO = _VIT._replace(
    wide_softmax=False,
    fields=(
        *_HUB, "attn_drop_rate", "init_values", "mask_token", "reg_tokens",
        "mlp_layer=SwiGLU",
    ),
)  # fmt: skip
_BEIT = (
    *_HUB, *_DROPS, "model_class=Beit", "attn_layer=eva", "pos_embed=none", "global_pool=avg",
    "global_pool=", "fc_norm",
    "final_norm", "init_values", "mask_token", "drop_path_rate", "use_rel_pos_bias",
    "use_shared_rel_pos_bias",
)  # fmt: skip
# the last three fields are for modules whose layers are not torchvision's own
_TORCHVISION = (
    "representation_size", "pos_drop_rate", "proj_drop_rate", "attn_drop_rate", "norm_layer",
    "head_bias", "patch_bias",
)  # fmt: skip
_DEIT = (
    *_DROPS, "drop_rate", "drop_path_rate", "qkv_bias", "qk_scale", "init_values", "block_fn",
    "dist_token", "no_embed_class", "act_layer", "norm_layer", "representation_size",
)  # fmt: skip
_OPEN_CLIP = (
    "floor_img_size", "patch_bias", "pre_norm", "qk_norm", "scale_attn_norm", "scale_mlp_norm",
    "act_layer", "init_values", "pos_embed=fixed", "global_pool=avg", "global_pool=",
    "fc_norm", "head_bias",
)  # fmt: skip


def _transformers(row: Code, name: str) -> Code:
    return row._replace(source=f"transformers 5.23, models/{name}")


# the rows of libraries; timm's rows follow its class
CODES: Mapping[str, Code] = {
    "timm": _TIMM["VisionTransformer"],
    "torchvision": Code(
        "torchvision 0.29, models/vision_transformer.py",
        attention="mha",
        walks=True,
        # VisionTransformer keeps a name for the input of its encoder, and the encoder keeps one for
        # its output
        holds=("joined", "placed"),
        fields=_TORCHVISION,
    ),
    "deit": Code(
        "facebookresearch/deit, models.py and models_v2.py",
        walks=True,
        fields=_DEIT,
    ),
    "open_clip": Code(
        "open_clip 3.3, transformer.py",
        attention="mha",
        in_turn=True,
        keeps_type=True,
        projects=True,
        flat=("class row", "positions"),
        fields=_OPEN_CLIP,
    ),
    "transformers": _VIT,
    "transformers.beit": _transformers(_VIT, "beit/modeling_beit.py")._replace(
        fields=_BEIT, caches_pairs=True, block_bias=True
    ),
    "transformers.data2vec": _transformers(_VIT, "data2vec/modeling_data2vec_vision.py")._replace(
        branches="scaled",
        wide_softmax=False,
        keeps_scores=True,
        returns_weights=False,
        apart=True,
        caches_pairs=True,
        fields=_BEIT,
    ),
    "transformers.clip": _transformers(_CLIP, "clip/modeling_clip.py")._replace(flat=("class",)),
    "transformers.siglip": _transformers(_CLIP, "siglip/modeling_siglip.py")._replace(
        probes=True,
        holds=("embedded", "encoded"),
        fields=(*_HUB, "attn_drop_rate", "class_token", "global_pool=map", "global_pool="),
    ),
    "transformers.gpt2": _transformers(
        _DINO._replace(
            branches="kept",
            looks_up=True,
            casts_weights=True,
            fields=(*_DINO.fields, "proj_drop_rate"),
        ),
        "gpt2/modeling_gpt2.py",
    ),
    "transformers.dinov2": _transformers(_DINO, "dinov2/modeling_dinov2.py")._replace(
        inserts=True,
        flat=("mask",),
        fields=(*_DINO.fields, "pos_drop_rate", "no_embed_reg", "global_pool=token_avg"),
    ),
    "transformers.dinov3": _transformers(
        _DINO._replace(
            buffers=("frequencies",),
            turns_both=True,
            empty_registers=True,
            fields=(
                *_DINO.fields,
                "attn_layer=eva",
                "proj_bias",
                "pos_embed=none",
                "rope_type=dinov3",
            ),
        ),
        "dinov3_vit/modeling_dinov3_vit.py",
    ),
}


def lacks(code: str, field: str, value: Any) -> bool:
    """Whether no argument of a library's classes gives a field this value.

    >>> lacks("torchvision", "reg_tokens", 4), lacks("torchvision", "depth", 4)
    (True, False)
    >>> [lacks("transformers.siglip", "global_pool", pool) for pool in ("map", "avg")]
    [False, True]
    """
    fields = CODES[code].fields
    return bool(fields) and not {field, f"{field}={value}"} & {*fields, *SIZES}


def code_of(name: str, model_class: str) -> Code:
    """The facts of a library's code; the facts of timm's depend on the class.

    >>> code_of("timm", "Eva").walks, code_of("torchvision", "VisionTransformer").attention
    (True, 'mha')
    """
    return _TIMM[model_class] if name == "timm" else CODES[name]
