"""The pass of attention kernels: which kernel computes an attention, and the ops that it runs."""

from collections.abc import Iterator, Sequence

from vitcost.engine.kernels import choose, decompose, padded
from vitcost.engine.ops import Op, Tensor

__all__ = ["Kernels"]


class Kernels:
    """Replaces each fused attention by its kernel; ``math`` is none: plain products.

    ``asked`` is flash, efficient, cudnn or math, or sdpa: as torch chooses.
    """

    def __init__(self, asked: str, platform: str) -> None:
        self.asked, self.platform = asked, platform
        # the order in which kernels write: ``by image``, with the heads of a token side by side, or
        # ``as read``, as their queries lie
        self.laid: dict[Tensor, str] = {}

    def ops(self, op: Op, operands: Sequence[Tensor], half: bool) -> Iterator[Op]:
        """The ops in place of an attention that reads ``operands``, halves or not."""
        assert op.parts is not None
        kernel = choose(op, self.platform, half) if self.asked == "sdpa" else self.asked
        if kernel == "math":
            yield from decompose(op.parts, operands, half)
            return
        op = op._replace(reads=tuple(operands), kernel=kernel)
        self.laid[op.write] = "by image" if kernel == "efficient" else "as read"
        yield from padded(op) if kernel == "efficient" else (op,)

    def has_laid_out(self, op: Op, one_image: bool) -> bool:
        """Whether a kernel has laid its result out in the order that an op wants: tokens of an
        image, or images of a token, where its queries lie so."""
        laid = self.laid.get(op.reads[0])
        return (laid == "by image" and (op.kind == "merge" or one_image)) or (
            laid == "as read" and op.kind == "by token"
        )
