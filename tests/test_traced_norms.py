"""The rules of a batch norm's outputs against the decomposition that torch's fake tensors run."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from vitcost.traced import card
from vitcost.traced.autocast import CARD
from vitcost.traced.corrections import as_real
from vitcost.traced.fake_run import _Mode
from vitcost.traced.norms import _RULES, laid_out

_ATEN = torch.ops.aten
_LAST = torch.channels_last


def _images(dtype: torch.dtype) -> Iterator[Tensor]:
    """Images in order, as pixels, of one pixel, of one image, and a part of a larger one."""
    for shape in ((2, 8, 6, 6), (1, 8, 6, 6), (3, 8, 1, 1)):
        image = torch.empty(shape, dtype=dtype, device=CARD)
        yield from (image, image.to(memory_format=_LAST))
    yield torch.empty(2, 16, 6, 6, dtype=dtype, device=CARD)[:, ::2]


def _norms() -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Calls of both operators, on images of every memory layout and every pair of types."""
    types = (torch.float32, torch.bfloat16)
    for dtype, wide, x in [(d, w, x) for d, w in product(types, types) for x in _images(d)]:
        weight, bias = (torch.empty(8, dtype=wide, device=CARD) for _ in range(2))
        means, deviations = (torch.empty(8, device=CARD) for _ in range(2))
        running = (torch.empty(8, device=CARD), torch.empty(8, device=CARD))
        for other in (x, torch.empty(x.shape, dtype=dtype, device=CARD)):
            yield (
                _ATEN.native_batch_norm_backward.default,
                (other, x, weight, *running, means, deviations, True, 1e-5, [True] * 3),
            )
        for training in (True, False):
            yield _ATEN.native_batch_norm.default, (x, weight, bias, *running, training, 0.1, 1e-5)


def _lies(output: Any) -> list[Any]:
    return [
        (t.dtype, t.shape, t.stride(), t.storage_offset(), t.untyped_storage().nbytes())
        for t in output
    ]


@pytest.mark.parametrize("name", sorted({str(func) for func in _RULES}))
def test_a_rule_lays_a_norm_out_as_torchs_decomposition_does(name: str) -> None:
    card.install()
    ruled = 0
    with _Mode():
        for func, given in _norms():
            if str(func) != name:
                continue
            ruled += _RULES[func](given) is not None
            expected = as_real(func, given, func(*given))
            assert _lies(as_real(func, given, laid_out(func, given, {}))) == _lies(expected)
    assert ruled >= 4
