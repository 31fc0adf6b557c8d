"""Whose forward a model runs: what of a library's code decides which tensors live, and how long.

One model is the same formula in every library. Their forwards differ in what they have names for
while other modules run, in the layout that an attention works on, and in what it computes in fp32.
A forward that is not here is timm's.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

__all__ = ["CODES", "Code", "code_of", "unproved"]


class Code(NamedTuple):
    """What a library's forwards do besides the formula.

    ``attention``: whose forward an attention has: ``timm``'s, or ``mha``, which is torch's
    ``nn.MultiheadAttention``. ``walks``: a loop over the blocks lets go of what the first of them
    was given. ``holds``: what the forward around the blocks has a name for until the last norm has
    run, or with ``pools`` the pool: ``joined`` tokens without positions, ``placed`` tokens with
    them, ``embedded`` tokens as the first block reads them. ``branches``: how long a block has
    names for what its branches make: ``kept`` until it returns, ``summed`` until it is added to the
    stream, ``scaled``: the attention's until it returns, with and without its scale, and the MLP's
    until it is added.

    ``wide_softmax``: a softmax in plain products computes in fp32 and is cast back;
    ``casts_weights``: one that a mask has widened is, too.
    ``keeps_scores``: its scores have a name until the attention returns. ``returns_weights``: the
    block has a name for the attention weights. ``looks_up``: positions are looked up in their
    table, as an embedding is. ``inserts``: registers come between the class token and the patches.
    ``in_turn``: of two heads, or of a gate and what it gates, the second is begun when the first
    is done. ``divides``: stochastic depth divides a branch before it multiplies it by its mask.
    ``apart``: an MLP is two modules, of which the second holds nothing that the first reads.
    ``flat``: the ``class`` token is a vector, and ``positions`` are a matrix, where what they are
    added to has axes more.
    ``embeds``: tokens and positions are put to the patches in a method of their own, and the
    forward that calls it has a name for the patches until it returns.
    ``keeps_type``: norms, tokens and positions are cast to the type of the stream.
    ``buffers``: which are its own: ``keys``, the bias of keys that do not train; ``pairs``, the
    index of relative positions; ``frequencies`` of rotary positions in the type of the model.
    """

    source: str
    attention: str = "timm"
    walks: bool = False
    holds: tuple[str, ...] = ()
    pools: bool = False
    branches: str = ""
    wide_softmax: bool = False
    casts_weights: bool = False
    keeps_scores: bool = False
    returns_weights: bool = False
    looks_up: bool = False
    inserts: bool = False
    in_turn: bool = False
    divides: bool = False
    apart: bool = False
    flat: tuple[str, ...] = ()
    keeps_type: bool = False
    embeds: bool = False
    buffers: tuple[str, ...] = ("keys", "pairs")


_TIMM: Mapping[str, Code] = {
    "VisionTransformer": Code("timm 1.0.31, models/vision_transformer.py", embeds=True),
    "Eva": Code("timm 1.0.31, models/eva.py", walks=True, branches="kept", embeds=True),
    "Beit": Code("timm 1.0.31, models/beit.py", walks=True),
}
# transformers' models: a model has a name for what it gives to its blocks, and a block for the
# weights that its attention returns
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
    buffers=(),
)
_CLIP = _VIT._replace(looks_up=True)
_DINO = _VIT._replace(wide_softmax=False)


def _transformers(row: Code, name: str) -> Code:
    return row._replace(source=f"transformers 5.23, models/{name}")


# the rows of libraries; timm's follow the class
CODES: Mapping[str, Code] = {
    "timm": _TIMM["VisionTransformer"],
    "torchvision": Code(
        "torchvision 0.29, models/vision_transformer.py",
        attention="mha",
        walks=True,
        # VisionTransformer names what it gives to its encoder, and the encoder what it gives on
        holds=("joined", "placed"),
    ),
    "deit": Code("facebookresearch/deit, models.py and models_v2.py", walks=True),
    "open_clip": Code(
        "open_clip 3.3, transformer.py",
        attention="mha",
        in_turn=True,
        keeps_type=True,
        flat=("positions",),
    ),
    "transformers": _VIT,
    "transformers.beit": _transformers(_VIT, "beit/modeling_beit.py"),
    "transformers.data2vec": _transformers(_VIT, "data2vec/modeling_data2vec_vision.py")._replace(
        branches="scaled", wide_softmax=False, keeps_scores=True, returns_weights=False, apart=True
    ),
    "transformers.clip": _transformers(_CLIP, "clip/modeling_clip.py")._replace(flat=("class",)),
    "transformers.siglip": _transformers(_CLIP, "siglip/modeling_siglip.py"),
    "transformers.gpt2": _transformers(
        _DINO._replace(branches="kept", looks_up=True, casts_weights=True), "gpt2/modeling_gpt2.py"
    ),
    "transformers.dinov2": _transformers(_DINO, "dinov2/modeling_dinov2.py")._replace(inserts=True),
    "transformers.dinov3": _transformers(
        _DINO._replace(buffers=("frequencies",)), "dinov3_vit/modeling_dinov3_vit.py"
    ),
}


def code_of(name: str, model_class: str) -> Code:
    """The facts of a library's code, timm's by its class.

    >>> code_of("timm", "Eva").walks, code_of("torchvision", "VisionTransformer").attention
    (True, 'mha')
    """
    return _TIMM[model_class] if name == "timm" else CODES[name]


# where a library's forward was not held against the formula: its code, the fields that decide it,
# and what it does there on its own
_UNPROVED: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    (
        "transformers.beit transformers.data2vec",
        lambda c: c.use_rel_pos_bias or c.use_shared_rel_pos_bias,
        "makes relative positions in its forward",
    ),
    ("transformers.dinov3", lambda c: True, "turns queries and keys by its own operators"),
    (
        "transformers.siglip",
        lambda c: c.global_pool == "map",
        "pools by nn.MultiheadAttention",
    ),
    ("transformers", lambda c: c.mask_ratio > 0, "sorts noise to draw the patches"),
)


def unproved(config: Any) -> str:
    """Why the memory of a model under its library's code is not known exactly; empty: it is.

    >>> from vitcost.zoo import resolve
    >>> unproved(resolve("facebook/dinov3-vits16-pretrain-lvd1689m").config)
    'transformers.dinov3 turns queries and keys by its own operators, which the formula has not'
    >>> unproved(resolve("vit_small_patch16_dinov3").config)
    ''
    """
    config = getattr(config, "vision", config)
    code = getattr(config, "code", "timm")
    for codes, decides, does in _UNPROVED:
        if code in codes.split() and decides(config):
            return f"{code} {does}, which the formula has not"
    return ""
