"""Tensor parallel: one of the ranks that share every layer, and the ops that it runs."""

from vitcost.config.records import Record
from vitcost.engine.lower import Mode
from vitcost.engine.model import AnyStructure
from vitcost.engine.ops import Size, Sizes, ceil_div, largest
from vitcost.engine.structure import Structure
from vitcost.errors import ConfigError, NotCovered, UnknownName

__all__ = ["ALONE", "TensorParallel", "layers_of_rank", "rows"]


class TensorParallel(Record):
    """One of ``ranks`` that each run a part of every layer: ``engine.split`` says which.

    ``sequence`` is the library whose sequence parallel runs, megatron or torch; "" for none. Tokens
    that cannot be divided evenly are cut as ``torch.chunk`` does, so that the first rank has the
    most; Megatron-LM refuses such a number of tokens; here they are padded.
    """

    ranks: int = 1
    sequence: str = ""
    rank: int = 0


ALONE = TensorParallel()


def rows(total: Size, ranks: Size, rank: Size) -> Size:
    """How many of the rows of a tensor one rank has, as ``torch.chunk`` cuts them.

    >>> [rows(5, 4, rank) for rank in range(4)]
    [2, 2, 1, 0]
    """
    most = ceil_div(total, ranks)
    left = largest(total - rank * most, 0)
    return -largest(-left, -most)


def layers_of_rank(
    structure: AnyStructure, sizes: Sizes, mode: Mode, parallel: TensorParallel
) -> tuple[AnyStructure, Sizes, Mode]:
    """The arguments of ``engine.lower.lower`` and of the engine's rules for one tensor-parallel
    rank.

    Every rank has whole embeddings and a whole head; only the rows of a vocabulary are divided.
    Raises ``ConfigError`` where the ranks do not divide heads or widths, ``NotCovered`` for layers
    that cannot be divided.

    >>> from vitcost.engine.cost import fold
    >>> from vitcost.engine.lower import lower
    >>> from vitcost.engine.model import sizes_of, structure_of
    >>> from vitcost.zoo import resolve
    >>> base = resolve("vit_base_patch16_224").config
    >>> one = structure_of(base, 1, True), sizes_of(base), Mode()
    >>> structure, sizes, mode = layers_of_rank(*one, TensorParallel(4))
    >>> fold(lower(structure, mode), sizes).cost.params
    22818280
    """
    t, sequence, rank = parallel
    if t == 1:
        return structure, sizes, mode
    # most models run on whole layers
    from vitcost.engine.split import SEQUENCES, split_sizes

    if sequence not in SEQUENCES:
        raise UnknownName("sequence parallel", sequence, SEQUENCES[1:], "allowed: megatron, torch")
    if not 0 <= rank < t:
        raise ConfigError(f"rank must be one of 0 to {t - 1:,}, got {rank:,}")
    for axis, parts in (("a", "heads"), ("m", "hidden units of an MLP")):
        if sizes[axis] % t:
            raise ConfigError(f"{t:,} tensor-parallel ranks do not divide {sizes[axis]:,} {parts}")
    if sequence and sizes["s"] < t:
        # DTensor does not divide so few tokens: every rank would norm all of them
        raise NotCovered(f"{sizes['s']:,} tokens cannot be divided among {t:,} ranks")
    tokens = rows(sizes["s"], t, rank if sequence == "torch" else 0)
    shares = split_sizes(sizes, t, tokens)
    # with a single head on each rank the builder makes other ops
    one = shares["a/t"] == 1
    if isinstance(structure, Structure):
        structure = structure._replace(one_head=one)
    else:
        # a plain ViT has no text
        from vitcost.engine.text_blocks import TextStructure

        if isinstance(structure, TextStructure):
            structure = structure._replace(blocks=structure.blocks._replace(one_head=one))
    return structure, shares, mode._replace(split=True, sequence=sequence)
