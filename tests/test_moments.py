"""Memory over a step: each moment's live bytes, the peak among them, and its picture."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from torch import nn

import vitcost
from vitcost.config.scenario import Scenario
from vitcost.costs import memory
from vitcost.costs.moments import moments
from vitcost.engine import live
from vitcost.engine.ops import Sizes, numel
from vitcost.engine.workload import Workload, workload
from vitcost.errors import NotCovered
from vitcost.page import Areas, Moment
from vitcost.render.html import fragment
from vitcost.render.marks import areas, columns, ticks
from vitcost.traced.alive import looks
from vitcost.traced.batch_sizes import value
from vitcost.zoo import resolve

BASE = "vit_base_patch16_224"
TRACED = "a traced module"
# checkpointing in every form, gradients that are there before, shards, models of text, pairs in the
# code of each library and under both losses, a module's own trace
CASES = [
    (BASE, {}),
    (BASE, {"precision": "amp-bf16", "checkpointing": "block"}),
    (BASE, {"checkpointing": "every:4", "optimizer": "sgd-momentum"}),
    (BASE, {"checkpointing": "last:5", "ema": 1}),
    (BASE, {"checkpointing": "selective", "accumulate": 2}),
    (BASE, {"freeze": "first:3", "ranks": 2, "buckets": "views"}),
    (BASE, {"ranks": 8, "zero": 3, "precision": "bf16", "policy": "reduce-fp32"}),
    ("vit_tiny_patch16_224", {"lora": 8, "batch": 1}),
    ("gpt2", {"precision": "amp-bf16"}),
    ("siglip_base_text", {"checkpointing": "block"}),
    ("openai/clip-vit-base-patch32", {"precision": "amp-bf16"}),
    ("google/siglip-base-patch16-224", {"precision": "bf16", "accumulate": 2}),
    ("ViT-B-32", {"precision": "amp-bf16", "attention": "eager"}),
    ("ViT-B-16-SigLIP2", {"batch": 1}),
    (TRACED, {"precision": "amp-bf16", "checkpointing": "block"}),
    (TRACED, {}),
]


def made(name: str, flags: dict[str, Any]) -> Workload:
    given = {"batch": 8, **flags, "mode": "train"}
    if name != TRACED:
        return workload(resolve(name).config, Scenario(**given))
    blocks = [nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())] * 2
    ends = nn.Conv2d(3, 8, 3, stride=2), [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)]
    module = nn.Sequential(ends[0], nn.Sequential(*blocks), *ends[1])
    return workload(vitcost.from_torch(module).config, Scenario(**given))


def replayed(events: Sequence[live.Event], sizes: Sizes) -> Iterator[tuple[int, ...]]:
    """The bytes alive at every look, one storage at a time, each run of layers gone through layer
    by layer."""
    alive = [0, 0, 0]

    def go(events: Sequence[live.Event]) -> Iterator[tuple[int, ...]]:
        for event in events:
            if isinstance(event, live.Change):
                size: Any = event.tensor.itemsize * numel(event.tensor.axes, sizes)
                for count in event.times:
                    size *= count.of(sizes)
                alive[event.part] += event.sign * size
            elif isinstance(event, live.Place):
                yield tuple(alive)
            else:
                for _ in range(event.times.of(sizes)):  # type: ignore[arg-type]
                    yield from go(event.body)

    return go(events)


@pytest.mark.parametrize(("name", "flags"), CASES, ids=lambda case: str(case)[:40])
def test_each_moment_holds_the_live_bytes_and_the_fullest_is_the_peak(
    name: str, flags: dict[str, Any]
) -> None:
    run = made(name, flags)
    own, found = memory.step(run), moments(run)
    assert max(moment.total_bytes for moment in found) == own.peak_bytes
    most = max(found, key=lambda moment: moment.total_bytes)
    assert (most.place, most.parts) == (own.peak_at, own.peak_parts)
    around = sum(memory.lasting(own, run))
    alive = [moment.total_bytes - around for moment in found[:-1]]
    if name == TRACED:
        passed: Any = run
        seen = [value(look.total, run.batch) for look in looks(passed.trace.step)]
        # the last is the end of the backward pass, where nobody looks
        assert alive == seen[:-1]
    else:
        assert alive == [sum(parts) for parts in replayed(run.step(), run.sizes)]
    assert found[-1].phase == "optimizer step"


def test_the_layers_of_a_run_come_in_the_order_in_which_they_run() -> None:
    found = moments(made(BASE, {"checkpointing": "block"}))
    passed: dict[str, list[str]] = {}
    for moment in found:
        if moment.path.startswith("blocks.") and moment.path.endswith(".mlp.fc1"):
            passed.setdefault(moment.phase, []).append(moment.path.split(".")[1])
    up = [str(i) for i in range(12)]
    once = {phase: list(dict.fromkeys(layers)) for phase, layers in passed.items()}
    assert once == {"forward": up, "recomputation": up[::-1], "backward": up[::-1]}


def test_what_is_not_exact_has_no_moments_and_no_picture() -> None:
    with pytest.raises(NotCovered):
        vitcost.report(BASE, recipe="zero").moments()
    assert "over a training step" not in fragment(vitcost.report(BASE, recipe="zero"))
    assert "over a training step" in fragment(vitcost.report(BASE))


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("gpt2", {f"h.{i}" for i in range(12)}),
        (
            "openai/clip-vit-base-patch32",
            {f"visual.blocks.{i}" for i in range(12)}
            | {f"text.transformer.resblocks.{i}" for i in range(12)},
        ),
        ("ViT-B-16-SigLIP2", {f"{tower}.blocks.{i}" for tower in ("visual",) for i in range(12)}),
    ],
)
def test_a_page_draws_models_of_text_and_pairs(name: str, layers: set[str]) -> None:
    report = vitcost.report(name, batch=8, mode="train", precision="amp-bf16")
    (picture,) = [each for each in report.page().pictures() if isinstance(each, Areas)]
    assert report.training.peak_is == "exact"
    assert max(sum(moment.parts) for moment in picture.moments) == report.training.peak_bytes
    assert picture.most.endswith(report.training.peak_at)
    for band in ("forward", "backward"):
        assert layers <= {moment.place for moment in picture.moments if moment.band == band}
    assert f">{picture.most}<" in fragment(report)


def heights(path: str) -> list[tuple[float, float]]:
    """The steps of a path from left to right: a height of a thousand, and its right edge."""
    found, y = [], 1000.0
    for letter, number in re.findall(r"([VH])(\d+)", path):
        if letter == "V":
            y = float(number)
        else:
            found.append((1000 - y, float(number)))
    return found


def test_a_picture_is_as_high_as_its_numbers() -> None:
    # 1 + 0, 1 + 3, 2 + 1 of at most 4
    steps = (("up", "a", (1, 0)), ("up", "b", (1, 3)), ("down", "", (2, 1)))
    mark = Areas("t", "count", ("low", "high"), tuple(Moment(*step) for step in steps), "4 in b")
    out = "".join(areas(mark))
    whole, low = map(heights, re.findall(r' d="([^"]*)"', out))
    assert ticks(4, "count") == [0, 1, 2, 3, 4]
    assert whole == [(250, 1333), (1000, 2667), (750, 4000)]
    assert low == [(250, 2667), (500, 4000)]
    assert "up of b: up to 4 (low 1, high 3)" in out
    assert "down: up to 3 (low 2, high 1)" in out
    # the mark of the fullest in the middle of its column
    assert '<rect class="limit" x="2000"' in out


def test_a_picture_of_many_moments_keeps_the_fullest() -> None:
    many = tuple(Moment("pass", str(i), (i * 7919 % 10007,)) for i in range(10_007))
    drawn = columns(many)
    assert len(drawn) <= 400
    assert max(moment.parts[0] for moment, _, _ in drawn) == 10_006
    assert drawn[0][1] == 0
    assert drawn[-1][2] == pytest.approx(1)
    assert all(left == right for (_, _, right), (_, left, _) in pairwise(drawn))


def test_a_short_band_is_seen() -> None:
    *_, last = columns((*(Moment("pass", "", (1,)) for _ in range(999)), Moment("end", "", (2,))))
    assert last[2] - last[1] > 0.01


def test_a_part_has_one_colour_on_a_page() -> None:
    html = fragment(vitcost.report(BASE, batch=8, mode="train", gpu="l4"))
    keys = re.findall(r'<i style="--key: ([^"]*)">([^<]*)', html)
    for name in ("weights", "gradients", "optimizer states", "saved for backward", "temporaries"):
        colors = {color for color, said in keys if said == name}
        assert len(colors) == 1, name
        # the legend's is that of every segment and area
        drawn = {
            *re.findall(rf'fill="([^"]*)"[^>]*><title>{name}[:<]', html),
        }
        assert drawn == colors, name


def test_a_page_draws_what_the_report_says() -> None:
    report = vitcost.report(BASE, batch=8, checkpointing="block")
    (picture,) = report.page().pictures()
    peak = report.training.peak_bytes
    assert max(sum(moment.parts) for moment in picture.moments) == peak
    assert {moment.band for moment in picture.moments} == {
        "forward", "recomputation", "backward", "optimizer step",
    }  # fmt: skip
    names = [
        name for name, size in zip(picture.names, picture.moments[0].parts, strict=True) if size
    ]
    assert names[:2] == ["weights", "optimizer states"]
    # a depth that no picture shows
    deep = replace(report, model=resolve(BASE, depth=3000))
    assert deep.page().pictures() == ()
