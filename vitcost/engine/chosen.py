"""The pass of attention kernels: which kernel computes an attention, and the ops that it runs."""

from collections.abc import Iterator, Mapping, Sequence

from vitcost.engine.attention_kernels import choose, decompose, filled, padded
from vitcost.engine.ops import Axis, Op, Tensor

__all__ = ["Kernels"]


class Kernels:
    """Replaces each fused attention by its kernel; ``math`` is none: plain products.

    ``asked`` is flash, efficient, cudnn or math, or sdpa: as torch chooses. ``odd_heads`` are the
    axes of heads that are filled up for a card's flash kernel, and whether one head is alone.
    """

    def __init__(self, asked: str, platform: str, odd_heads: Mapping[Axis, bool] = {}) -> None:
        self.asked, self.platform, self.odd_heads = asked, platform, odd_heads
        # the layout in which kernels write: ``by image``, with adjacent heads of a token, or ``as
        # read``, the layout of their queries
        self.laid: dict[Tensor, str] = {}

    def ops(self, op: Op, operands: Sequence[Tensor], half: bool) -> Iterator[Op]:
        """The ops in place of an attention that reads ``operands``, halves or not."""
        assert op.parts is not None
        kernel = choose(op, self.platform, half) if self.asked == "sdpa" else self.asked
        if kernel == "math":
            yield from decompose(op.parts, operands, half)
            return
        op = op._replace(reads=tuple(operands), kernel=kernel)
        width = operands[0].axes[-1]
        if kernel == "flash" and self.platform == "cuda" and width in self.odd_heads:
            yield from filled(op, self.odd_heads[width])
            return
        self.laid[op.write] = "by image" if kernel == "efficient" else "as read"
        yield from padded(op) if kernel == "efficient" else (op,)

    def has_laid_out(self, op: Op, one_image: bool) -> bool:
        """Whether a kernel has laid its result out in the order that an op wants: tokens of an
        image, or images of a token, where its queries lie so."""
        laid = self.laid.get(op.reads[0])
        return (laid == "by image" and (op.kind == "merge" or one_image)) or (
            laid == "as read" and op.kind == "by token"
        )
