"""The pass of attention kernels: it chooses the kernel of each attention, and the ops that
it runs."""

from collections.abc import Iterator, Mapping, Sequence

from vitcost.engine.attention_kernels import choose, decompose, filled, padded
from vitcost.engine.ops import Axis, Op, Tensor

__all__ = ["Kernels"]


class Kernels:
    """Replaces each fused attention by its kernel; ``math`` stands for plain products.

    ``asked`` is flash, efficient, cudnn or math, or sdpa: as torch chooses. ``odd_heads`` are the
    axes of heads that are padded for a card's flash kernel, and whether there is a single such
    head.
    """

    def __init__(self, asked: str, platform: str, odd_heads: Mapping[Axis, bool] = {}) -> None:
        self.asked, self.platform, self.odd_heads = asked, platform, odd_heads
        # the layout of each kernel's output: `by image` (the heads of a token are adjacent), or `as
        # read` (the layout of its queries)
        self.laid: dict[Tensor, str] = {}

    def ops(self, op: Op, operands: Sequence[Tensor], half: bool) -> Iterator[Op]:
        """The ops that replace an attention with these ``operands``; ``half``: they are bf16 or
        fp16."""
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
        """Whether a kernel has already written its result in the order that an op wants: tokens of
        an image together, or images of a token, if its queries lie in that order."""
        laid = self.laid.get(op.reads[0])
        return (laid == "by image" and (op.kind == "merge" or one_image)) or (
            laid == "as read" and op.kind == "by token"
        )
