"""Ids of the hub that are traced: their configs build what was published.

One id of each kind of model runs in CI, and ``python tests/test_hub_traced.py`` holds all of them.
"""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from timm_support import timm, transformers
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent / "digest"))

from compare import differences
from make import HUB_IDS, traced

from vitcost import report
from vitcost.errors import NotCovered
from vitcost.traced.digest import index
from vitcost.zoo import resolve, tracing
from vitcost.zoo.digests import HUB as DIGEST
from vitcost.zoo.hub_ids import HUB
from vitcost.zoo.hub_traced import TRACED, UNTRACED, Row

torch.set_num_threads(1)


def built(kind: str, architecture: str, keys: Any) -> Any:
    """The module of a config on the meta device, which takes every key."""
    library: Any = transformers()
    config = library.AutoConfig.for_model(
        kind, **{key: value for key, value in keys.items() if key != "model_type"}
    )
    fields = {
        f.name
        for each in type(config).__mro__
        for f in vars(each).get("__dataclass_fields__", {}).values()
    }
    assert set(keys) <= {*fields, *type(config).attribute_map, *_OTHERS}
    with torch.device("meta"):
        return getattr(library, architecture)._from_config(config)


# labels are counted, a backbone of timm is named, and each of two models has a config
_OTHERS = ("num_labels", "backbone", "encoder", "decoder", "model_type")


def parameters(module: Any) -> int:
    return sum(p.numel() for p in module.parameters())


def expected(row: Row) -> int:
    """The parameters of the model that a row is held against, and what it has more or fewer."""
    base, _, why = row.held.partition(":")
    library, name, *terms = base.split()
    if library == "timm":
        with torch.device("meta"):
            count = parameters(timm().create_model(name, num_classes=row.keys.get("num_labels", 0)))
    else:
        other: Any = TRACED.get(name) or HUB[name]
        count = parameters(built(other.kind, other.architecture, dict(other.keys)))
    assert bool(terms) == bool(why.strip())
    signs = {"+": 1, "-": -1}
    return count + sum(signs[s] * int(n) for s, n in zip(terms[::2], terms[1::2], strict=True))


def rounded(count: int, held: str) -> bool:
    """Whether a published number is a count, rounded to its digits, up or down."""
    number = held.partition(" M, ")[0]
    last = 10**6 // 10 ** len(number.partition(".")[2])
    published = int(number.replace(".", ""))
    return count // last <= published <= -(-count // last)


# the first id of each kind
SPREAD = list({row.kind: name for name, row in reversed(list(TRACED.items()))}.values())


@pytest.mark.parametrize("name", SPREAD)
def test_a_config_builds_what_was_published(name: str) -> None:
    row = TRACED[name]
    count = parameters(built(row.kind, row.architecture, dict(row.keys)))
    entry = index(str(DIGEST)).entries.get(name)
    assert entry is None or entry.params == count
    if row.held.startswith(("timm ", "hub ")):
        assert count == expected(row)
    else:
        assert rounded(count, row.held), (count, row.held)
        assert "," in row.held


def test_a_rounded_number_is_not_any() -> None:
    assert rounded(41_524_768, "41 M, a paper")
    assert rounded(41_524_768, "42 M, a paper")
    assert not rounded(41_524_768, "43 M, a paper")
    assert not rounded(41_524_768, "41.7 M, a paper")


def test_a_row_has_a_source() -> None:
    for row in (*TRACED.values(), *(refused.row for refused in UNTRACED.values())):
        assert re.search(r"huggingface/transformers, models/\S+\.py at [0-9a-f]{12}$", row.source)


@pytest.mark.parametrize("name", UNTRACED)
def test_a_model_that_no_trace_can_follow_is_refused_with_its_reason(name: str) -> None:
    row, reason = UNTRACED[name]
    with pytest.raises(NotCovered, match=re.escape(f"{name} cannot be traced: {reason}")):
        resolve(name)
    data = {"model_type": row.kind, "architectures": [row.architecture], **row.keys}
    found: Any = tracing.of_transformers(name, data, row.inputs)
    with pytest.raises(NotCovered, match="a trace has none"):
        found.config.traces.any()


def test_a_digest_is_of_ids_that_are_traced() -> None:
    entries = index(str(DIGEST)).entries
    assert set(entries) <= set(TRACED)
    assert len(entries) >= 64
    assert DIGEST.stat().st_size <= 2 * 10**6


@pytest.mark.parametrize(
    ("name", "precision"), [("facebook/convnext-tiny-224", "bf16"), ("hustvl/yolos-tiny", "fp32")]
)
def test_a_digest_answers_as_the_trace_that_is_made_anew(name: str, precision: str) -> None:
    assert name in index(str(DIGEST)).entries
    file = traced(name, (precision,), more=False, library=HUB_IDS)
    assert list(differences(name, file, (precision,))) == []


def test_an_id_is_asked_as_any_model() -> None:
    found = report("microsoft/resnet-50", batch=2)
    with torch.device("meta"):
        twin = timm().create_model("resnet50")
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        twin.eval()(torch.empty(2, 3, 224, 224))
    answer = found.to_dict()
    assert answer["params"]["total"] == parameters(twin)
    assert answer["flops"]["forward"] == counter.get_total_flops()
    assert any("pixel_values=3x224x224" in note for note in answer["model"]["config"]["notes"])
    assert resolve("hf-hub:microsoft/resnet-50").source == resolve("microsoft/resnet-50").source


if __name__ == "__main__":
    for each in TRACED:
        test_a_config_builds_what_was_published(each)
        print(each, TRACED[each].held)
