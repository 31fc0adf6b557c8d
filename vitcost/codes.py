"""Whose forward a model runs: what of a library's code decides which tensors live, and how long.

One model is the same formula in every library. Their forwards differ in what they have names for
while other modules run, in the layout that an attention works on, and in what it computes in fp32.
A forward that is not here is timm's.
"""

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["CODES", "Code", "code_of"]


class Code(NamedTuple):
    """What a library's forwards do besides the formula.

    ``attention``: whose forward an attention has: ``timm``'s, or ``mha``, which is torch's
    ``nn.MultiheadAttention``. ``walks``: a loop over the blocks lets go of what the first of them
    was given. ``holds``: what the forward around the blocks has a name for until the last norm has
    run: ``joined`` tokens without positions, ``placed`` tokens with them, ``embedded`` tokens as
    the first block reads them. ``names_branches``: a block has a name for what a branch makes.
    """

    source: str
    attention: str = "timm"
    walks: bool = False
    holds: tuple[str, ...] = ()
    names_branches: bool = False


_TIMM: Mapping[str, Code] = {
    "VisionTransformer": Code("timm 1.0.31, models/vision_transformer.py"),
    "Eva": Code("timm 1.0.31, models/eva.py", walks=True, names_branches=True),
    "Beit": Code("timm 1.0.31, models/beit.py", walks=True),
}
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
}


def code_of(name: str, model_class: str) -> Code:
    """The facts of a library's code, timm's by its class.

    >>> code_of("timm", "Eva").walks, code_of("torchvision", "VisionTransformer").attention
    (True, 'mha')
    """
    return _TIMM[model_class] if name == "timm" else CODES[name]
