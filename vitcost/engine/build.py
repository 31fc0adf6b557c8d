"""From a structure to the declared tree of a whole model, with torch's module paths."""

from functools import lru_cache

from vitcost.engine.layers import block, patch_embed
from vitcost.engine.ops import Tensor, axes
from vitcost.engine.structure import MANY, Structure
from vitcost.engine.tree import Count, Module, Node, Run, linear, norm

__all__ = ["build"]


@lru_cache(maxsize=512)
def build(c: Structure) -> Node:
    """The Vision Transformer: embed, L blocks, norm, head."""
    image = Tensor("image", axes("b c H W"), "input")
    m = Module("", "VisionTransformer", image)
    x = m.add(patch_embed(c, image))
    tokens = [m.parameter("cls_token", 1, 1, "h")]
    if c.dist_token:
        tokens.append(m.parameter("dist_token", 1, 1, "h"))
    x = m.op("cat", *tokens, x, axes=axes("b s h"))
    x = m.op("add", x, m.parameter("pos_embed", 1, "s", "h"))
    x = m.leaf("pos_drop", "Dropout", "dropout" if c.pos_drop else "", x)
    blocks = Module("blocks", "Sequential", x)
    for run, drop_path in _runs(c):
        x = blocks.add(block(c, x, run, drop_path))
    x = m.add(blocks.end(x))
    x = norm(m, "norm", x)
    return m.end(_head(m, c, x))


def _runs(c: Structure) -> list[tuple[Run, bool]]:
    """Runs of equal blocks: stochastic depth rises from 0, so the first never drops its path."""
    whole = Run(Count(c.depth if c.depth < MANY else "L"))
    if not c.drop_path:
        return [(whole, False)]
    first, rest = whole.split()
    return [(first, False)] + ([(rest, True)] if rest else [])


def _head(m: Module, c: Structure, x: Tensor) -> Tensor:
    """Classifies the class token; a distilled model also its second token, averaged in eval."""
    token = m.view(x, axes("b h"), "class token")
    if c.pre_logits:
        pre = Module("pre_logits", "Sequential", token)
        y = pre.leaf("act", "Tanh", "tanh", linear(pre, "fc", token, "r"))
        token = m.add(pre.end(y))
    elif not c.dist_token:
        token = m.leaf("pre_logits", "Identity", "", token)
    logits = _classify(m, c, "head", token)
    if not c.dist_token:
        return logits
    second = _classify(m, c, "head_dist", m.view(x, axes("b h"), "distillation token"))
    if c.training:
        m.hold(second)
        return logits
    return m.op("mean", logits, second)


def _classify(m: Module, c: Structure, name: str, x: Tensor) -> Tensor:
    return linear(m, name, x, "K") if c.classes else m.leaf(name, "Identity", "", x)
