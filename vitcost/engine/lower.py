"""Passes that turn the declared tree into the ops that run under a scenario.

Some passes rearrange the tree: frozen parts, adapters, groups of ops that a fused kernel replaces,
checkpointed regions. The last pass (``engine.walk``) visits the ops in the order they run.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from vitcost.config.records import Record
from vitcost.config.scenario import PRECISIONS, Scenario
from vitcost.engine.attention_kernels import fuse
from vitcost.engine.gathering import gathers
from vitcost.engine.model import AnyStructure, Config, build, sizes_of, structure_of
from vitcost.engine.ops import Axis, Sizes
from vitcost.engine.structure import Structure
from vitcost.engine.tree import Node
from vitcost.engine.walk import Walk
from vitcost.errors import NotCovered

if TYPE_CHECKING:
    from vitcost.engine.text_blocks import TextStructure

__all__ = ["Mode", "layer_counts", "lower", "mode_of", "passes"]


class Mode(Record):
    """The facts of a scenario that decide which ops run."""

    kernel: str = "eager"  # eager | sdpa: as torch chooses | math | flash | efficient | cudnn
    precision: str = "fp32"  # fp32 | amp | half
    platform: str = "cuda"  # cpu | cuda
    checkpointing: str = "none"  # none | selective | layers | first | last
    # how many layers a checkpointed group has, or how many first or last layers are regions
    every: int = 1
    # "" | all | backbone | first | last: all but the last layers train nothing, see
    # trainable.freeze
    frozen: str = ""
    frozen_layers: int = 0
    adapted: tuple[str, ...] = ()  # names of the linear layers that have an adapter
    rank: Axis = 0
    split: bool = False  # whether it is one rank of a tensor-parallel run
    sequence: str = ""  # how the tensor-parallel ranks divide tokens: one of split.SEQUENCES
    # the depth of each run of layers; filled in only for `every:K`, `first:K`, `last:K`
    layers: tuple[tuple[Axis, int], ...] = ()
    half: str = "bf16"  # the two-byte type: bf16 | fp16
    policy: bool = False  # whether images come in fp32 while weights are in half precision
    gather: str = ""  # the features that the loss of several ranks compares: Scenario.gather


@lru_cache(maxsize=1024)
def lower(structure: AnyStructure, mode: Mode) -> Node:
    """The declared tree of a structure, lowered to the ops that run in a mode."""
    tree = build(run_as(structure, mode))
    for each in passes(structure, mode):
        tree = each(tree)
    return tree


def run_as(structure: AnyStructure, mode: Mode) -> AnyStructure:
    """The structure, with the forward of its attention that the library takes under this
    scenario."""
    if isinstance(structure, Structure):
        return _with_forward(structure, mode)
    # text models are imported only when one is asked for
    from vitcost.engine.text_blocks import TextStructure

    if isinstance(structure, TextStructure):
        return _text_with_forward(structure, mode)
    vision, text = _with_forward(structure.vision, mode), _text_with_forward(structure.text, mode)
    gather = mode.gather if structure.training else ""
    return structure._replace(vision=vision, text=text, gather=gather)


def _text_with_forward(text: "TextStructure", mode: Mode) -> "TextStructure":
    blocks = _with_forward(text.blocks, mode, text.family == "open_clip")
    # open_clip embeds in the type of a block's weights, and outside the block's forward they are a
    # shard, in fp32
    widens = mode.policy and text.blocks.code.keeps_type
    return text._replace(blocks=blocks, widens=widens)


def _with_forward(structure: Structure, mode: Mode, masked: bool = False) -> Structure:
    attention = _forward_of(structure.code.attention, mode, masked)
    if attention == structure.code.attention:
        return structure
    return structure._replace(code=structure.code._replace(attention=attention))


def _forward_of(attention: str, mode: Mode, masked: bool) -> str:
    """The forward that nn.MultiheadAttention takes. Its fast path (eval without autocast) uses a
    fused kernel only on a card and without a mask. Tensor-parallel ranks have a forward of their
    own."""
    if attention.startswith("mha") and mode.split:
        return "timm"
    if attention != "mha fast":
        return attention
    fused = mode.platform == "cuda" and mode.kernel not in ("eager", "math")
    fused = fused and not masked
    return "mha" if mode.precision == "amp" else "timm" if fused else "native"


def passes(structure: AnyStructure, mode: Mode) -> Iterator[Callable[[Node], Node]]:
    """The passes that lower a declared tree, in the order in which they are applied."""
    if mode.split:
        if mode.adapted:
            raise NotCovered("adapters are not covered in layers that tensor-parallel ranks share")
        # imported only for tensor-parallel ranks
        from vitcost.engine.split import split

        yield partial(split, sequence=mode.sequence, one_image=structure.one_image)
    if mode.layers:
        # imported only for flags that count layers
        from vitcost.engine.runs import set_depths

        yield partial(set_depths, layers=dict(mode.layers))
    in_part = mode.frozen not in ("", "all") and not (mode.frozen == "backbone" and mode.adapted)
    if in_part and hasattr(structure, "vision"):
        raise NotCovered(
            "freezing a part of a model of two towers is not covered: NAME:vision "
            "and NAME:text are one tower each"
        )
    if mode.frozen or mode.adapted:
        # imported only for partial training
        from vitcost.engine.trainable import adapt, freeze
    if mode.frozen:
        yield partial(freeze, part=mode.frozen, layers=mode.frozen_layers)
    if mode.adapted:
        yield partial(adapt, names=mode.adapted, rank=mode.rank)
    if mode.policy:
        from vitcost.engine.runs import cast_inputs

        yield partial(cast_inputs, itemsize=4)
    if mode.kernel != "eager":
        yield fuse
    if structure.training and mode.checkpointing != "none":
        yield _regions(mode)
    yield Walk(
        training=structure.training,
        one_image=structure.one_image,
        odd_heads=dict(structure.odd_heads),
        kernel=mode.kernel,
        precision=mode.precision,
        half=mode.half,
        platform=mode.platform,
    ).node


def _regions(mode: Mode) -> Callable[[Node], Node]:
    """The pass that puts layers, or only the cores of their attentions, into checkpointed
    regions."""
    from vitcost.engine.regions import cores, first_or_last, groups

    if mode.checkpointing == "selective":
        return cores
    if mode.checkpointing == "layers":
        return partial(groups, every=mode.every)
    return partial(first_or_last, end=mode.checkpointing, number=mode.every)


def layer_counts(structure: AnyStructure, sizes: Sizes) -> tuple[tuple[Axis, int], ...]:
    """Each axis that counts equal layers, with the number of layers; passes such as ``every:K``
    divide layers by that number."""
    from vitcost.engine.runs import run_axes

    return tuple((axis, sizes[axis]) for axis in run_axes(build(structure)))


def mode_of(config: Config, scenario: Scenario) -> Mode:
    """The part of a scenario by which the engine's passes differ."""
    checkpointing, every = scenario.regions
    frozen, layers = scenario.frozen
    if scenario.lora and not frozen:
        frozen = "backbone"
    mode = Mode(
        scenario.attention,
        PRECISIONS[scenario.precision].engine,
        scenario.platform,
        checkpointing,
        every,
        frozen,
        layers,
        tuple(scenario.lora_layers.split(",")) if scenario.lora else (),
        scenario.lora,
        half=PRECISIONS[scenario.precision].half,
        policy=scenario.sharded_in_fp32,
        gather=gathers(config, scenario),
    )
    if scenario.counts_layers:
        mode = mode._replace(layers=layer_counts(structure_of(config), sizes_of(config)))
    return mode
