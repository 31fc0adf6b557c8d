"""Transformers that read text: the blocks of a ViT between an embedding and a head.

Beside the letters of ``layers``: V the vocabulary, P the learned positions, O the projection.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from vitcost.config.text_config import ClipConfig, TextConfig
from vitcost.engine.attention import Outer
from vitcost.engine.blocks import block
from vitcost.engine.build import runs
from vitcost.engine.layers import norm
from vitcost.engine.ops import Axis, Op, Sizes, Tensor, axes, param
from vitcost.engine.structure import Structure, sizes_of, structure_of
from vitcost.engine.tree import Copy, Count, Module, Node, Run, linear

__all__ = ["ClipStructure", "TextStructure", "build_text", "prefixed"]

# names of the modules of a family, by the names of the layers
_NAMES: Mapping[str, Mapping[str, str]] = {
    "gpt2": {
        "token_embedding": "wte", "position_embedding": "wpe", "pos_drop": "drop",
        "blocks": "h", "norm1": "ln_1", "qkv": "c_attn", "proj": "c_proj",
        "attn_drop": "attn_dropout", "proj_drop": "resid_dropout", "norm2": "ln_2",
        "fc1": "c_fc", "fc2": "c_proj", "drop2": "dropout", "norm": "ln_f", "head": "lm_head",
    },
    "open_clip": {
        "position_embedding": "positional_embedding", "blocks": "transformer.resblocks",
        "norm1": "ln_1", "qkv": "in_proj", "proj": "out_proj", "norm2": "ln_2",
        "fc1": "c_fc", "act": "gelu", "fc2": "c_proj", "norm": "ln_final",
        "head": "text_projection",
    },
}  # fmt: skip
# families whose plain attention reads a mask of later tokens
_MASKED = ("gpt2", "transformers.clip")
# families whose feature is the token at which the text ends
_MARKED = ("open_clip", "open_clip.bidirectional.argmax", "transformers.clip")
# buffers of a family: an index for each position, or a mask of later tokens
_BUFFERS: Mapping[str, tuple[str, tuple[Axis, ...], int]] = {
    "open_clip": ("attn_mask", ("P", "P"), 0),
    "transformers.clip": ("position_ids", ("P",), 8),
    "transformers.siglip": ("position_ids", ("P",), 8),
}


class TextStructure(NamedTuple):
    """The structure of a text transformer."""

    training: bool
    family: str
    blocks: Structure
    head: str
    pos_drop: bool
    # whether a text is as long as the model has positions
    whole: bool
    # whether that length is a multiple of 8
    aligned: bool
    # whether tokens are embedded in float32, even if weights are gathered in another type
    widens: bool = False

    @property
    def odd_heads(self) -> tuple[tuple[str, bool], ...]:
        return self.blocks.odd_heads

    @property
    def one_image(self) -> bool:
        """Whether the batch is of one text."""
        return self.blocks.one_image


class ClipStructure(NamedTuple):
    """The structure of a model of two towers."""

    training: bool
    vision: Structure
    text: TextStructure
    projection: bool
    logit_bias: bool
    library: str
    # the features of all ranks that open_clip's loss compares: a value of Scenario.gather
    gather: str = ""

    @property
    def odd_heads(self) -> tuple[tuple[str, bool], ...]:
        text = ((f"text.{axis}", one_head) for axis, one_head in self.text.odd_heads)
        return (*self.vision.odd_heads, *text)

    @property
    def one_image(self) -> bool:
        """Whether the batch is of one image and one text."""
        return self.vision.one_image


def text_structure(c: TextConfig, batch: int, training: bool) -> TextStructure:
    return TextStructure(
        training=training,
        family=c.family,
        blocks=structure_of(c.blocks, batch, training),
        head=c.head,
        pos_drop=training and c.pos_drop_rate > 0,
        whole=c.seq_len == c.context_length,
        aligned=c.seq_len % 8 == 0,
    )


def text_sizes(c: TextConfig, batch: int) -> Sizes:
    sizes = sizes_of(c.blocks, batch)
    s = c.seq_len
    sizes.update(s=s, s32=-(-s // 32) * 32, s8=-(-s // 8) * 8, s16=-(-s // 16) * 16)
    sizes.update(V=c.vocab_size, P=c.context_length, O=c.projection_dim)
    return sizes


def clip_structure(c: ClipConfig, batch: int, training: bool) -> ClipStructure:
    return ClipStructure(
        training=training,
        vision=structure_of(c.vision, batch, training),
        text=text_structure(c.text, batch, training),
        projection=c.projection_dim > 0,
        logit_bias=c.logit_bias,
        library=c.text.family.partition(".bidirectional")[0],
    )


def clip_sizes(c: ClipConfig, batch: int) -> Sizes:
    sizes = sizes_of(c.vision, batch)
    sizes["O"] = c.projection_dim or c.vision.embed_dim
    sizes.update({f"text.{axis}": n for axis, n in text_sizes(c.text, batch).items()})
    return sizes


@lru_cache(maxsize=128)
def build_text(c: TextStructure) -> Node:
    """Embed, L blocks, norm; then logits for every token, or the features of one."""
    ids = Tensor("input_ids", axes("b s"), "index")
    m = Module("", "TextTransformer", ids)
    table = None
    if c.family in _BUFFERS:
        name, shape, itemsize = _BUFFERS[c.family]
        table = m.buffer(name, *shape, itemsize=itemsize)
    words = param("weight", "V h")
    embed = Module("token_embedding", "Embedding", ids)
    tokens = m.add(embed.end(embed.op("embedding", ids, axes=axes("b s h"), weight=words)))
    x, named = _placed(c, m, tokens)
    x = m.leaf("pos_drop", "Dropout", "dropout" if c.pos_drop else "", x)
    if c.family.startswith("transformers"):
        named.append(x)
    # plain products add the causal mask to their scores; a fused kernel applies it without a tensor
    mask = None
    if c.family in _MASKED:
        mask = m.op("make mask", Tensor("later tokens", axes("b 1 s s"), "input"))
        named.append(mask)
    outer = Outer(causal=mask)
    if table is not None and c.blocks.code.attention.startswith(("mha", "native")):
        # the axis s8 is s rounded up to a multiple of 8: kernels read aligned rows of a mask in
        # place
        s = "s8" if c.aligned else "s"
        outer = Outer(bias=m.view(table, (1, 1, "s", s)))
    blocks = Module("blocks", "Sequential", x, *outer.tensors)
    for run, span, _ in runs(c.blocks):
        layer = block(c.blocks, x, run, span, outer, drop_path=False)
        x = blocks.add(_by_column(layer) if c.family == "gpt2" else layer)
    x = norm(c.blocks.norm, m, "norm", m.add(blocks.end(x)._replace(walked=c.blocks.code.walks)))
    if c.head == "lm":
        # the model around the head holds only the tokens
        m.hold_through(*named)
        head = Module("head", "Linear", x)
        # the head reads the embedding's table, whose parameters are counted with the embedding
        y = m.add(head.end(head.op("matmul", x, words, axes=axes("b s V"), over=axes("h"))))
    else:
        y = _feature(c, m, x, named)
        if c.head != "none":
            by_input = c.head == "projection" and c.blocks.code.projects
            y = linear(m, "head", y, "O", bias=c.head == "linear", by_input=by_input)
    return _renamed(m.end(y), _NAMES["gpt2" if c.family == "gpt2" else "open_clip"])


def _placed(c: TextStructure, m: Module, tokens: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Tokens plus their positions. Positions are the first rows of the table, sliced, or looked up
    by an index; GPT-2's forward makes that index, and keeps names for all these tensors."""
    table = m.parameter("position_embedding", "P", "h")
    if not c.blocks.code.looks_up:
        # torch returns the table itself for a slice of all its rows
        rows = table if c.whole else m.view(table, axes("1 s h"), kind="slice")
        if c.widens:
            return m.op("add", m.cast(tokens), m.cast(rows), itemsize=4), []
        return m.op("add", tokens, rows), []
    if c.family != "gpt2":
        return m.op("add", tokens, m.op("index", table, axes=axes("1 s h"))), []
    index = m.op("repeat", Tensor("positions", axes("1 s"), "index", itemsize=8), itemsize=8)
    positions = m.op("look up", table, index, axes=axes("1 s h"))
    return m.op("add", tokens, positions), [tokens, index, positions]


def _feature(c: TextStructure, m: Module, x: Tensor, named: list[Tensor]) -> Tensor:
    """The feature of each text: its last token, or the token at the end of the text, found by an
    index. transformers' CLIP projects outside of the forward whose tensors are ``named``."""
    if c.family not in _MARKED:
        m.hold(*named)
        return m.view(x, axes("b h"), "last token", kind="select")
    if c.family.startswith("transformers"):
        # the pooled output is returned with the tokens
        m.hold(x)
    end = m.op("repeat", Tensor("end of text", axes("2 b"), "index", itemsize=8), itemsize=8)
    return m.op("take", x, end, axes=axes("b h"), holds=tuple(named))


def _by_column(node: Node) -> Node:
    """The same node with linear layers as addmm, whose weights have a row for each input."""

    def op(op: Op) -> Op:
        return _by_input(op)._replace(kind="addmm") if op.kind == "linear" else op

    return node.each(_by_column, op)


def _by_input(op: Op) -> Op:
    """A linear layer whose weight has a row for each input, where nn.Linear has one for each
    output."""
    assert op.weight is not None
    return op._replace(weight=Tensor("weight", op.weight.axes[::-1], "param"))


def prefixed(node: Node, prefix: str) -> Node:
    """The same tree over axes with a prefix, so that two towers can have different sizes."""
    return _Prefixed(prefix).node(node)


class _Prefixed(Copy):
    """Copies a node, with a new tensor for each, over axes with a prefix."""

    def __init__(self, prefix: str) -> None:
        super().__init__({})
        self.prefix = prefix

    def axis(self, name: Axis) -> Axis:
        return name if isinstance(name, int) else self.prefix + name

    def count(self, count: Count) -> Count:
        return Count(self.axis(count.axis), count.less)

    def node(self, node: Node) -> Node:
        run = node.run and Run(self.count(node.run.layers), tuple(map(self.count, node.run.before)))
        return super().node(node)._replace(run=run, buffers=self.all(node.buffers))

    def op(self, op: Op) -> Op:
        return super().op(op)._replace(over=tuple(map(self.axis, op.over)))

    def write(self, tensor: Tensor) -> Tensor:
        if tensor not in self.known:
            base = None if tensor.base is None else self.write(tensor.base)
            axes_of_tower = tuple(map(self.axis, tensor.axes))
            copy = Tensor(tensor.name, axes_of_tower, tensor.role, base, tensor.itemsize)
            self.known[tensor] = copy
        return self.known[tensor]

    def read(self, tensor: Tensor) -> Tensor:
        return self.write(tensor)

    def all(self, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(map(self.write, tensors))


def _renamed(node: Node, names: Mapping[str, str]) -> Node:
    renamed = node.each(lambda item: _renamed(item, names))
    return renamed._replace(name=names.get(node.name, node.name))
