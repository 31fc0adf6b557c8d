"""The digest of timm's names without a formula: against traces made anew, and torch on meta."""

import sys
from pathlib import Path

import pytest
import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent / "digest"))

from compare import PRECISIONS, differences
from make import names, traced

from vitcost import report
from vitcost.traced.digest import index
from vitcost.zoo.digests import TIMM

# a spread of families, each in one precision by turns
ANEW = (
    "convnext_atto", "coat_lite_mini", "cpubone_nano", "cs3darknet_focus_s", "convit_tiny",
)  # fmt: skip


def entries() -> dict[str, str]:
    return {name: entry.kind for name, entry in index(str(TIMM)).entries.items()}


def test_a_digest_is_of_names_without_a_formula() -> None:
    assert set(entries()) <= set(names())
    assert TIMM.stat().st_size <= 8 * 10**6


@pytest.mark.parametrize(
    ("name", "precision"),
    [(name, PRECISIONS[i % len(PRECISIONS)]) for i, name in enumerate(ANEW)],
)
def test_a_digest_answers_as_the_trace_that_is_made_anew(name: str, precision: str) -> None:
    own = "amp-fp16" if precision == "amp-bf16" else precision
    assert list(differences(name, traced(name, (own,)), (own,))) == []


@pytest.mark.parametrize("name", sorted(ANEW))
def test_parameters_and_flops_are_torchs_on_meta(name: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=1000).eval()
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            model(torch.empty(2, *index(str(TIMM)).entries[name].image))
    found = report(name, batch=2)
    assert found.params == sum(p.numel() for p in model.parameters())
    assert found.flops.forward == counter.get_total_flops()
