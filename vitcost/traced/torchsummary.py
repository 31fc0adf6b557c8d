"""How torchsummary 1.5.1 prints its table: rows, sums, and the rounding of its megabytes."""

from collections.abc import Iterator, Sequence
from math import prod
from typing import TypeAlias

from vitcost.config.records import Record

__all__ = ["TWICE", "Listed", "Shape", "lines"]

# the shape of a tensor, or of each tensor in a list
Shape: TypeAlias = "list[int] | list[list[int]]"


class Listed(Record):
    """A row: type, output shape with torchsummary's batch in front, number of parameters, whether
    torchsummary counts them as trainable."""

    type: str
    shape: Shape
    params: int
    trains: bool

    @property
    def numel(self) -> int:
        """The product of all numbers in the shape, as torchsummary computes it."""
        return prod(prod(s) if isinstance(s, list) else s for s in self.shape)


def lines(table: Sequence[Listed], inputs: Sequence[int], batch: int) -> Iterator[str]:
    """The table, line by line; ``inputs`` are the sides of all inputs, without the batch.

    >>> head = Listed("Linear", [2, 1000], 769_000, True)
    >>> list(lines([head], [768], 2))[3:6]
    ['          Linear-1                  [2, 1000]         769,000',
     '================================================================', 'Total params: 769,000']
    """
    thin, thick = "-" * 64, "=" * 64
    yield thin
    yield f"{'Layer (type)':>20}  {'Output Shape':>25} {'Param #':>15}"
    yield thick
    for i, row in enumerate(table, 1):
        yield f"{f'{row.type}-{i}':>20}  {row.shape!s:>25} {row.params:>15,}"
    params = sum(row.params for row in table)
    trainable = sum(row.params for row in table if row.trains)
    outputs = sum(row.numel for row in table)
    # the operations are in torchsummary's own order, so that they round alike
    input_mb = abs(prod(inputs) * batch * 4.0 / (1024**2.0))
    output_mb = abs(2.0 * outputs * 4.0 / (1024**2.0))
    params_mb = abs(params * 4.0 / (1024**2.0))
    yield thick
    yield f"Total params: {params:,}"
    yield f"Trainable params: {trainable:,}"
    yield f"Non-trainable params: {params - trainable:,}"
    yield thin
    yield f"Input size (MB): {input_mb:0.2f}"
    yield f"Forward/backward pass size (MB): {output_mb:0.2f}"
    yield f"Params size (MB): {params_mb:0.2f}"
    yield f"Estimated Total Size (MB): {params_mb + output_mb + input_mb:0.2f}"
    yield thin


TWICE = (
    "Modules that are called twice appear twice, and the forward/backward size is twice the sum of "
    "all outputs; `vitcost report` has what is alive at one time."
)
