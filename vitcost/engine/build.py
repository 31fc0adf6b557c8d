"""From a structure to the declared tree of a whole model, with torch's module paths.

Beside the letters of ``layers``: t registers, u tokens without them; e_s, e_u and e_n the positions
that the embedding is made for (of all tokens, of all but registers, of patches); pre_s and pre_u
the positions of the tokens in front of the patches.
"""

from collections.abc import Iterator
from functools import lru_cache

from vitcost.engine.attention import Outer, attention_pool, pair_index, refine, relative_positions
from vitcost.engine.blocks import block
from vitcost.engine.layers import norm, patch_embed
from vitcost.engine.ops import Axis, Tensor, axes
from vitcost.engine.structure import MANY, Span, Structure
from vitcost.engine.tree import Count, Module, Node, Run, linear

__all__ = ["build", "runs"]


# timm's classes register tokens and positions in this order, after a mask token; their forwards may
# read them in another
_REGISTERED = ("cls_token", "reg_token", "pos_embed", "dist_token")


@lru_cache(maxsize=512)
def build(c: Structure) -> Node:
    """The Vision Transformer: embed, L blocks, norm, pool, head."""
    image = Tensor("image", axes("b c H W"), "input")
    m = Module("", c.made.name, image)
    m.registers(*_REGISTERED)
    pairs = pair_index(c, m)
    patches = m.add(patch_embed(c, image))
    # timm resamples positions before it makes rotary ones, but a plain model has no rotary ones
    first = c.resampled == "timm" and not (c.masked or _expands_first(c))
    position = _resampled(m, c) if first else None
    rope = None if c.code.turns_both else _rotary(c, m)
    x, names = _embed(m, c, patches, position)
    outer = Outer(
        _rotary(c, m) if c.code.turns_both else rope, relative_positions(c, m, pairs), pairs
    )
    if c.pre_norm:
        x = norm(c.norm, m, "norm_pre", x)
    blocks = Module("blocks", "Sequential", x, *outer.tensors)
    for run, span, drop_path in runs(c):
        x = blocks.add(block(c, x, run, span, outer, drop_path=drop_path))
    x = m.add(blocks.end(x)._replace(walked=c.code.walks))
    names["encoded"] = x
    if c.final_norm:
        x = norm(c.norm, m, "norm", x)
    # the forward that runs the blocks ends here, or after the pool: its named tensors are freed
    # then
    kept = tuple(names[name] for name in c.code.holds)
    m.hold_through(*outer.tensors, *(() if c.code.pools else kept))
    return m.end(_head(m, c, x, kept if c.code.pools else ()))


def _embed(
    m: Module, c: Structure, x: Tensor, position: Tensor | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The tokens with prefix tokens and position embedding (of all tokens, or of the patches
    alone). Also the tokens before and after positions are added, for forwards that keep names for
    them."""
    patches = x
    if c.mask_token:
        shape = axes("1 h" if "mask" in c.code.flat else "1 1 h")
        m.parameter("mask_token", *shape, trains=False)
    tokens: list[Tensor] = []
    first = _expands_first(c)
    # positions of the patches alone are added after the tokens are expanded
    ahead = first or (c.pos_embed == "n" and not (c.masked or c.dist_token))
    if ahead and c.pos_embed and not first:
        position = position or _position(m, c)
    if c.class_token and ahead:
        tokens = _for_each_image(m, [m.parameter("cls_token", 1, 1, "h")])
    if c.reg_tokens and ahead:
        tokens += _for_each_image(m, [m.parameter("reg_token", 1, "t", "h")])
    if first:
        position = _resampled(m, c)
    if c.masked:
        x, tokens = _mask(m, c, x)
    elif c.pos_embed == "n":
        x = m.op("add", x, position or _position(m, c))
    if c.class_token and not (c.masked or ahead):
        flat = {"class", "class row"} & {*c.code.flat}
        token = m.parameter("cls_token", *axes("h" if flat else "1 1 h"))
        tokens.append(m.view(token, axes("1 1 h")) if "class row" in flat else token)
    if c.dist_token:
        tokens.append(m.parameter("dist_token", 1, 1, "h"))
    if c.pos_embed == "u" and not c.masked:
        x = m.op("cat", *_for_each_image(m, tokens), x, axes=axes("b u h")) if tokens else x
        x, tokens = m.op("add", x, position or _position(m, c)), []
    if c.reg_tokens and c.pos_embed == "u" and c.code.inserts:
        x = _inserted(m, x)
    elif c.reg_tokens and not ahead:
        tokens.append(m.parameter("reg_token", 1, "t", "h"))
    alone = not (c.pos_embed or c.masked) and c.made.copies_alone
    if tokens or alone:
        each = _for_each_image(m, tokens)
        each = [m.cast(token, like=x) for token in each] if c.code.keeps_type else each
        x = m.op("cat", *each, x, axes=axes("b s h"))
    names = {"joined": x}
    if c.pos_embed == "s" and not c.masked:
        position = position or _position(m, c)
        position = m.cast(position, like=x) if c.code.keeps_type else position
        x = m.op("add", x, position, axes=axes("b s h"))
    names["placed"] = x
    names["embedded"] = m.leaf("pos_drop", "Dropout", "dropout" if c.pos_drop else "", x)
    if c.code.embeds and not c.masked:
        m.hold_through(patches)
    return names["embedded"], names


def _expands_first(c: Structure) -> bool:
    """Whether tokens are expanded to the batch before positions are resampled."""
    plain = not (c.dist_token or c.masked) and c.pos_embed != "u"
    return c.resampled == "timm" and c.made.expands_first and plain


def _inserted(m: Module, x: Tensor) -> Tensor:
    """Inserts registers between the class token and the patches."""
    first, patches = (
        m.view(x, axes(shape), name, kind="slice")
        for shape, name in (("b 1 h", "class token"), ("b n h", "patches"))
    )
    (registers,) = _for_each_image(m, [m.parameter("reg_token", 1, "t", "h")])
    return m.op("cat", first, registers, patches, axes=axes("b s h"))


def _for_each_image(m: Module, tokens: list[Tensor]) -> list[Tensor]:
    """Repeats tokens for every image of the batch; tokens that exist per image already stay as they
    are."""
    return [
        token
        if token.axes[0] == "b"
        else m.view(token, ("b", *(token.axes[1:] or (1, "h"))), kind="expand")
        for token in tokens
    ]


def _mask(m: Module, c: Structure, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Adds positions, drops the masked patches, then adds the class token: MAE, arXiv
    2111.06377."""
    tokens = [m.parameter("cls_token", 1, 1, "h")] if c.class_token else []
    if not c.pos_embed:
        return _seen(m, c, x), tokens
    table = m.parameter("pos_embed", 1, f"e_{c.pos_embed}", "h", trains=not c.pos_fixed)
    x = _seen(m, c, m.op("add", x, m.view(table, axes("1 n h"), kind="slice")))
    if c.pos_embed != "n":
        first = m.view(table, axes("1 1 h"), kind="slice")
        tokens = [m.op("add", token, first) for token in tokens]
    return x, tokens


def _seen(m: Module, c: Structure, x: Tensor) -> Tensor:
    """The patches that masking leaves: the ones with the least noise, found by sorting it."""
    if not c.code.shuffles:
        return m.op("index", x, axes=axes("b kept h"), name="patches seen")
    noise = m.op("repeat", Tensor("noise", axes("b n"), "input", itemsize=4))
    ids = m.op("repeat", noise, itemsize=8)
    restored = m.op("repeat", ids, itemsize=8)
    index = m.op("repeat", ids, axes=axes("b kept h"), itemsize=8)
    y = m.op("pick", x, index, axes=axes("b kept h"), name="patches seen")
    mask = m.op("repeat", noise, itemsize=4)
    # MAE's forward returns both with the tokens
    m.hold(restored, mask)
    return y


def _position(m: Module, c: Structure) -> Tensor:
    if c.code.looks_up:
        m.buffer("position_ids", f"e_{c.pos_embed}", itemsize=8)
    if c.resampled:
        return _resampled(m, c)
    shape: tuple[Axis, ...] = (1, c.pos_embed, "h")
    whole = shape[1:] if c.code.looks_up or "positions" in c.code.flat else shape
    table = m.parameter("pos_embed", *whole, trains=not c.pos_fixed)
    return m.op("index", table, axes=shape) if c.code.looks_up else table


def _rotary(c: Structure, m: Module) -> Tensor | None:
    """The table of sines and cosines that all blocks share."""
    if c.rope == "none":
        return None
    from vitcost.engine.rotary import rotary

    return rotary(c, m)


def _resampled(m: Module, c: Structure) -> Tensor:
    """Resamples positions to the grid of the image; the positions of prefix tokens stay as they
    are."""
    table = m.parameter("pos_embed", 1, f"e_{c.pos_embed}", "h", trains=not c.pos_fixed)
    front = []
    if c.pos_embed != "n" and (c.class_token or c.dist_token or c.reg_tokens):
        front = [m.view(table, axes(f"1 pre_{c.pos_embed} h"), kind="slice")]
    # the gradient of the resampled map has channels first, and is copied back to the table's layout
    grid = m.view(table, axes("1 e_n h"), kind="slice")
    grid = grid if c.resampled == "same" else m.cast(grid)
    grid = m.op("resample", grid, axes=axes("1 n h"))
    grid = grid if c.resampled == "same" else m.cast(grid, like=table)
    return m.op("cat", *front, grid, axes=(1, c.pos_embed, "h")) if front else grid


def runs(c: Structure) -> Iterator[tuple[Run, Span, bool]]:
    """Runs of equal blocks. Stochastic depth rises from rate 0, so the first block never drops its
    path."""
    before: tuple[Count, ...] = ()
    for span in c.spans:
        run = Run(Count(span.blocks if span.blocks < MANY else span.axis), before)
        before = (*before, run.layers)
        if c.drop_path and len(before) == 1:
            first, rest = run.split()
            yield first, span, False
            if rest is None:
                continue
            run = rest
        yield run, span, c.drop_path


def _head(m: Module, c: Structure, x: Tensor, kept: tuple[Tensor, ...]) -> Tensor:
    """Class scores of the pooled tokens. A distilled model also classifies its second token, and
    averages both scores in eval. ``kept`` are tensors named in a forward that ends before the head.
    """
    m.hold(x)
    if c.dist_token:
        m.hold_through(*kept)
        return _two_heads(m, c, x)
    token = _pool(m, c, x)
    if c.fc_norm:
        token = norm(c.norm, m, "fc_norm", token)
    token = _drop(m, c, token)
    if c.pre_logits:
        pre = Module("pre_logits", "Sequential", token)
        y = pre.leaf("act", "Tanh", "tanh", linear(pre, "fc", token, "r"))
        token = m.add(pre.end(y))
    else:
        token = m.leaf("pre_logits", "Identity", "", token)
    m.hold_through(*kept)
    return _classify(m, c, "head", token)


def _two_heads(m: Module, c: Structure, x: Tensor) -> Tensor:
    """A head for the class token and one for the distillation token. Either both tokens are sliced
    first, or each just before its head."""
    first = m.view(x, axes("b h"), "class token", kind="select")
    if c.code.in_turn:
        first = _classify(m, c, "head", _drop(m, c, first))
    second = m.view(x, axes("b h"), "distillation token", kind="select")
    if not c.code.in_turn:
        first, second = _drop(m, c, first), _drop(m, c, second)
        first = _classify(m, c, "head", first)
    else:
        second = _drop(m, c, second)
    logits, second = first, _classify(m, c, "head_dist", second)
    m.hold(logits, second)
    if not c.training:
        return m.op("times", m.op("add", logits, second))
    m.returns(second)
    return logits


def _pool(m: Module, c: Structure, x: Tensor) -> Tensor:
    """The input of the head: one vector, or with no pool every token."""
    if not c.pool:
        return x
    if c.pool == "token":
        return m.view(x, axes("b h"), "class token", kind="select")
    if c.pool == "token_avg":
        token = m.view(x, axes("b h"), "class token", kind="select")
        return m.op(
            "cat", token, m.op("mean", _patches(m, c, x), axes=axes("b h")), axes=axes("b two_h")
        )
    if c.prefix and not c.pool_prefix:
        x = _patches(m, c, x)
    if c.pool == "map" and c.code.probes:
        from vitcost.engine.mha import probe_pool

        return m.add(probe_pool(c, x, c.act))
    if c.pool == "map":
        return m.add(attention_pool(c, x, c.made.pool_act or c.act))
    if c.pool == "prr":
        return m.add(refine(c, x))
    kinds = {"avg": ("mean",), "max": ("amax",), "avgmax": ("amax", "mean")}[c.pool]
    pooled = [m.op(kind, x, axes=axes("b h")) for kind in kinds]
    return pooled[0] if len(pooled) == 1 else m.op("mean", *pooled)


def _patches(m: Module, c: Structure, x: Tensor) -> Tensor:
    return m.view(x, ("b", "kept" if c.masked else "n", "h"), "patches", kind="slice")


def _drop(m: Module, c: Structure, x: Tensor) -> Tensor:
    return m.leaf("head_drop", "Dropout", "dropout", x) if c.head_drop else x


def _classify(m: Module, c: Structure, name: str, x: Tensor) -> Tensor:
    if not c.classes:
        return m.leaf(name, "Identity", "", x)
    return linear(m, name, x, "K", c.head_bias, by_input=c.code.projects and not c.head_bias)
