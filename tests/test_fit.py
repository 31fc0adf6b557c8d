"""``fit``: the batch that it names fits and the next one does not, whatever model and card."""

import json
import random
from collections.abc import Iterator
from functools import cache, partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vitcost
from vitcost.cli import run
from vitcost.config.scenario import Scenario
from vitcost.config.vit_config import ViTConfig
from vitcost.errors import ConfigError, NotCovered, UnknownName, VitcostError
from vitcost.hardware.beside import beside, workspace_bytes
from vitcost.hardware.card_attention import on_card
from vitcost.hardware.cards import CARDS
from vitcost.hardware.specs import card as card_of
from vitcost.hardware.specs import own_card
from vitcost.planner.fit import Fit, FitRow
from vitcost.planner.largest import largest_convex, largest_monotone
from vitcost.planner.reserve import parse_reserve

Captured = pytest.CaptureFixture[str]
BASE = "vit_base_patch16_224"
GIB = 2**30


def reported(config: Any, batch: int, **scenario: Any) -> int:
    """What a report says that a batch needs."""
    r = vitcost.report(config, batch=batch, **scenario)
    if r.scenario.mode == "infer":
        return r.inference.total_bytes
    assert r.training.peak_bytes is not None
    return r.training.peak_bytes


def random_models(seed: int, count: int) -> Iterator[tuple[ViTConfig, dict[str, Any]]]:
    """Vision transformers of all sizes, each under a scenario."""
    draw = random.Random(seed)
    for _ in range(count):
        heads, patch = draw.choice([1, 2, 3, 6, 12, 16]), draw.choice([4, 8, 14, 16, 32])
        width = heads * draw.choice([8, 32, 64, 80])
        config = ViTConfig(
            img_size=patch * draw.randint(1, 24),  # type: ignore[arg-type]
            patch_size=patch,  # type: ignore[arg-type]
            embed_dim=width,
            depth=draw.choice([1, 2, 5, 6, 12, 24, 40]),
            num_heads=heads,
            mlp_dim=int(width * draw.choice([1.0, 2.7, 4.0])),
            num_classes=draw.choice([1, 5, 1000, 21843]),
            reg_tokens=draw.choice([0, 0, 4]),
            init_values=draw.choice([None, 1e-5]),
            block_fn=draw.choice(["Block", "Block", "ResPostBlock"]),
            mlp_layer=draw.choice(["Mlp", "Mlp", "SwiGLUPacked"]),
            proj_drop_rate=draw.choice([0.0, 0.1]),
            drop_path_rate=draw.choice([0.0, 0.2]),
        )
        scenario = {
            "mode": draw.choice(["infer", "train"]),
            "precision": draw.choice(["fp32", "amp-bf16", "bf16"]),
            "attention": draw.choice(["sdpa", "eager"]),
        }
        if scenario["mode"] == "train":
            scenario["checkpointing"] = draw.choice(["none", "block", "selective"])
            scenario["optimizer"] = draw.choice(["adamw", "sgd-momentum", "adamw-fused"])
        yield config, scenario


@pytest.mark.parametrize(
    ("config", "scenario"), list(random_models(7, 30)), ids=[f"model{i}" for i in range(30)]
)
def test_the_batch_fits_and_the_next_one_does_not(
    config: ViTConfig, scenario: dict[str, Any]
) -> None:
    @cache
    def of(batch: int, attention: str) -> int:
        return reported(config, batch, **{**scenario, "attention": attention})

    found = vitcost.fit(config, **scenario, reserve=0)
    assert [row.gpu for row in found.found] == list(CARDS)
    for row in found.found:
        card = CARDS[row.gpu]
        # in the attention kernel of the card
        needed = partial(of, attention=on_card(Scenario(**scenario), card).attention)
        if card.capacity_bytes is None:
            assert row == FitRow(row.gpu, *(None,) * 8, "unknown", "", None, (), None, None, ())
            continue
        assert row.largest_batch is not None
        assert needed(row.largest_batch + 1) > card.capacity_bytes
        if row.largest_batch:
            assert needed(row.largest_batch) <= card.capacity_bytes
        assert row.used_bytes == needed(row.largest_batch or 1)
        assert row.headroom_bytes == card.capacity_bytes - row.used_bytes
        assert row.fits is (needed(1) <= card.capacity_bytes)
        assert row.largest_batch_bare == row.largest_batch


@pytest.mark.parametrize(
    ("config", "scenario"), list(random_models(11, 20)), ids=[f"model{i}" for i in range(20)]
)
def test_memory_rises_with_the_batch_and_never_flattens(
    config: ViTConfig, scenario: dict[str, Any]
) -> None:
    """From two images on it is convex, which is what the search rests on."""
    batches = [2, 3, 4, 9, 10, 40, 41, 1000, 1001]
    needs = [reported(config, batch, **scenario) for batch in batches]
    points = list(zip(batches, needs, strict=True))
    slopes = [(after[1] - before[1]) / (after[0] - before[0]) for before, after in pairwise(points)]
    assert slopes[0] > 0
    assert slopes == sorted(slopes)


def test_a_plain_sum_by_hand() -> None:
    """ViT-B/16 in inference peaks behind an activation: the input of all blocks, of this one, the
    stream, its norm, and the MLP's width before and behind: 1 + 1 + 1 + 1 + 4 + 4 of b·s·h."""
    b, s, h, images = 9, 197, 768, 3 * 224 * 224
    used = 4 * 86_567_656 + 4 * b * (images + 12 * s * h)
    exactly = own_card("mine", {"memory_gb": 1, "usable_bytes": used})
    row = vitcost.fit(BASE, gpu=exactly, reserve=0).found[0]
    assert (row.largest_batch, row.used_bytes, row.headroom_bytes) == (b, used, 0)
    less = own_card("mine", {"memory_gb": 1, "usable_bytes": used - 1})
    assert vitcost.fit(BASE, gpu=less, reserve=0).found[0].largest_batch == b - 1


def test_a_batch_of_one_may_need_more_than_two() -> None:
    """Batch 1 and 2 run different operators; what lies between their needs holds two, not one."""
    huge, how = "vit_huge_patch14_224", {"mode": "train", "precision": "amp-bf16"}
    one, two = (reported(huge, batch, **how) for batch in (1, 2))
    assert one > two
    between = own_card("mine", {"usable_bytes": two})
    row = vitcost.fit(huge, gpu=between, reserve=0, **how).found[0]
    assert (row.largest_batch, row.fits) == (2, False)
    below = own_card("mine", {"usable_bytes": two - 1})
    assert vitcost.fit(huge, gpu=below, reserve=0, **how).found[0].largest_batch == 0


def test_largest_image_and_depth() -> None:
    found = vitcost.fit(
        BASE,
        gpu=["t4", "h100-sxm"],
        mode="train",
        batch=8,
        largest=["img_size", "depth"],
        reserve=0,
    )
    for row in found.found:
        limit = row.capacity_bytes
        assert limit is not None
        for name, most, step in (
            ("img_size", row.largest_img_size, 16),
            ("depth", row.largest_depth, 1),
        ):
            assert most is not None
            assert most % step == 0
            fits, beyond = ({name: most}, {name: most + step})
            assert reported(BASE, 8, mode="train", **fits) <= limit
            assert reported(BASE, 8, mode="train", **beyond) > limit


@pytest.mark.parametrize(
    ("name", "given"),
    # a backbone rounds its features up, dynamic_img_pad fills up patches: every size is taken
    [
        ("vit_base_r50_s16_224", {}),
        ("vit_small_r26_s32_224", {}),
        ("vit_base_patch16_224", {"dynamic_img_size": True, "dynamic_img_pad": True}),
    ],
)
def test_the_largest_image_is_the_largest_that_is_taken(name: str, given: dict[str, bool]) -> None:
    row = vitcost.fit(name, gpu="t4", batch=16, largest="img_size", reserve=0, **given).found[0]
    most, limit = row.largest_img_size, row.capacity_bytes
    assert most is not None
    assert limit is not None
    fits, beyond = (reported(name, 16, img_size=s, **given) for s in (most, most + 1))
    assert fits <= limit < beyond


def test_few_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    """One an amount of memory and two a line of the peak, however large the batches are."""
    from vitcost.planner import largest as module

    batches: list[tuple[str, int]] = []
    real = module.need

    def counted(run: Any) -> Any:
        batches.append((run.scenario.attention, run.scenario.batch))
        return real(run)

    monkeypatch.setattr(module, "need", counted)
    cards = [card for card in CARDS.values() if card.capacity_bytes]
    auto = parse_reserve("auto")
    amounts = len({card.capacity_bytes for card in cards} | {auto.leaves(card) for card in cards})
    for model in (BASE, ViTConfig(img_size=32, embed_dim=8, num_heads=1, depth=1)):  # type: ignore[arg-type]
        batches.clear()
        vitcost.fit(model)
        # a card without a fused kernel, the MI100, has lines of its own
        assert len(batches) <= amounts + 2 * 10


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 10**6)), min_size=1, max_size=6),
    st.lists(st.integers(-5, 10**7), min_size=1, max_size=5),
    st.integers(0, 3),
)
def test_lines_are_inverted(lines: list[tuple[int, int]], limits: list[int], first: int) -> None:
    def of(x: int) -> int:
        return max(slope * x + start for slope, start in lines)

    for limit, x in largest_convex(of, limits, first).items():
        assert x >= first - 1
        assert x == first - 1 or of(x) <= limit
        assert of(x + 1) > limit


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(-1, 60))
def test_steps_are_inverted(steps: list[int], limit: int) -> None:
    heights = [sum(steps[: i + 1]) for i in range(len(steps))]
    within = sum(height <= limit for height in heights)
    assert largest_monotone(lambda x: heights[x - 1], limit, len(heights)) == within


# --- reserve, require, ways


def test_a_reserve_is_kept() -> None:
    plain = vitcost.fit(BASE, gpu="t4").found[0]
    for reserve, kept in (("1 GiB", GIB), ("1 GB", 10**9), (123, 123), ("12.5 %", 2 * GIB)):
        row = vitcost.fit(BASE, gpu="t4", reserve=reserve).found[0]
        assert row.capacity_bytes == plain.capacity_bytes == 16 * GIB
        assert row.reserve_bytes == kept
        assert row.used_bytes is not None
        assert row.headroom_bytes == 16 * GIB - kept - row.used_bytes
    # a part of a byte is kept whole
    assert parse_reserve("0.1 %").leaves(CARDS["t4"]) == 16 * GIB - 17_179_870
    assert vitcost.fit(BASE, gpu="t4", reserve="99 GiB").found[0].largest_batch == 0


# two buffers of 4,096 KiB and eight of 16 KiB, or 32 MiB (128 on gfx942), as torch's
# CublasHandlePool.cpp allocates them
@pytest.mark.parametrize(
    ("gpu", "software", "workspace"),
    [
        ("l4", "", 8_519_680),
        ("v100-sxm2", "", 8_519_680),
        ("a100-sxm-80gb", "2.4", 8_519_680),
        ("h100-sxm", "", 33_554_432),
        ("h100-sxm", "2.4", 33_554_432),
        ("b200", "2.9", 8_519_680),
        ("b200", "", 33_554_432),
        ("mi300x", "", 134_217_728),
        ("mi210", "", 33_554_432),
        ("mi210", "2.5", 0),
        ("cpu-i7_12700h", "", 0),
    ],
)
def test_the_workspace_is_the_one_that_torch_allocates(
    gpu: str, software: str, workspace: int
) -> None:
    assert workspace_bytes(card_of(gpu), software) == workspace


@pytest.mark.parametrize("mode", ["infer", "train"])
@pytest.mark.parametrize("gpu", ["l4", "h100-sxm", "mi300x", "t4"])
def test_room_is_kept_by_default(gpu: str, mode: str) -> None:
    """A batch fits with the workspace, half a GiB of context and the larger of half a GiB and 2 %
    of its bytes beside it, and the next one does not."""
    (row,) = vitcost.fit(BASE, gpu=gpu, mode=mode).found
    assert row.largest_batch is not None
    assert row.largest_batch_bare is not None
    assert row.capacity_bytes is not None
    workspace = workspace_bytes(CARDS[gpu])

    def needed(batch: int) -> int:
        used = reported(BASE, batch, mode=mode)
        return used + workspace + GIB // 2 + max(GIB // 2, used * 2 // 100)

    assert needed(row.largest_batch) <= row.capacity_bytes < needed(row.largest_batch + 1)
    assert row.headroom_bytes == row.capacity_bytes - needed(row.largest_batch)
    assert row.used_bytes == reported(BASE, row.largest_batch, mode=mode)
    (bare,) = vitcost.fit(BASE, gpu=gpu, mode=mode, reserve=0).found
    assert bare.largest_batch == row.largest_batch_bare > row.largest_batch


def test_a_processor_has_no_context_and_no_slack() -> None:
    """Tensors fill its memory: there is no CUDA, and malloc gives memory back."""
    (row,) = vitcost.fit(BASE, gpu="cpu-i9_10940x,memory_gb=16").found
    most = row.largest_batch
    assert most is not None
    assert row.reserve_bytes == 0
    assert most == row.largest_batch_bare
    used = [reported(BASE, n, platform="cpu") for n in (most, most + 1)]
    assert used[0] <= 16 * GIB < used[1]


def test_a_batch_that_fits_without_the_reserve_alone_is_tight(capsys: Captured) -> None:
    (row,) = vitcost.fit(BASE, gpu="l4", mode="train").found
    fits, bare = row.largest_batch, row.largest_batch_bare
    assert fits is not None
    assert bare is not None
    for batch, verdict in ((fits, "fits"), (fits + 1, "tight"), (bare, "tight"), (bare + 1, "no")):
        (found,) = vitcost.fit(BASE, gpu="l4", mode="train", require=batch).found
        assert (found.verdict, found.fits) == (verdict, verdict == "fits")
        (time,) = vitcost.report(BASE, gpu="l4", mode="train", batch=batch).time
        assert time.verdict == verdict
        assert time.headroom_bytes is not None
        assert (time.headroom_bytes >= 0) is (verdict == "fits")
    args = ["fit", BASE, "-g", "l4", "--mode", "train", "--require", str(bare)]
    assert run(args) == 1
    assert run([*args, "--reserve", "0"]) == 0
    assert "tight" in capsys.readouterr().out


def test_a_report_says_what_stands_beside_tensors() -> None:
    on = vitcost.report(BASE, gpu="h100-sxm").to_dict()["memory"]["beside_tensors"]
    assert on == {
        "workspace_bytes": 33_554_432,
        "context_bytes": GIB // 2,
        "slack_bytes": GIB // 2,
    }
    unknown = vitcost.report(BASE).to_dict()["memory"]["beside_tensors"]
    assert list(unknown.values()) == [None] * 3
    none = vitcost.report(BASE, platform="cpu").to_dict()["memory"]["beside_tensors"]
    assert list(none.values()) == [0] * 3


def test_what_is_required_decides(capsys: Captured) -> None:
    largest = vitcost.fit(BASE, gpu="t4").found[0].largest_batch
    assert largest is not None
    assert run(["fit", BASE, "-g", "t4", "--require", str(largest)]) == 0
    assert run(["fit", BASE, "-g", "t4", "--require", str(largest + 1)]) == 1
    # every card that is named, or any of the catalogue
    assert run(["fit", BASE, "-g", "t4", "-g", "h100-sxm", "--require", str(largest + 1)]) == 1
    assert run(["fit", BASE, "--require", str(largest + 1)]) == 0
    assert run(["fit", "gpt3-175b"]) == 1
    # what is not known is not claimed
    assert run(["fit", BASE, "-g", "tpu-v7x"]) == 1
    assert capsys.readouterr().err == ""


def test_ways_fit_and_are_cheapest_first() -> None:
    found = vitcost.fit("vit_huge_patch14_224", gpu="l4", mode="train", require=64, reserve=0)
    (row,) = found.found
    assert row.fits is False
    limit = row.capacity_bytes
    assert limit is not None
    (now,) = vitcost.report("vit_huge_patch14_224", batch=64, mode="train", gpu="l4").time
    for way in row.ways:
        how: dict[str, Any] = {"batch": 64, "mode": "train", **dict(way.flags)}
        assert how["batch"] * how.get("accumulate", 1) == 64
        report = vitcost.report("vit_huge_patch14_224", **how)
        assert way.used_bytes == report.training.peak_bytes == limit - way.headroom_bytes
        assert way.headroom_bytes >= 0
        executed = report.flops.train_step_executed
        assert executed is not None
        # a micro-batch is a part of the step
        parts = how.get("accumulate", 1)
        assert way.executed_flops == parts * executed
        (time,) = vitcost.report("vit_huge_patch14_224", gpu="l4", **how).time
        assert (way.seconds, way.basis) == (parts * time.seconds, time.basis)
        assert way.relative_seconds == parts * time.seconds / now.seconds
        changes = {"precision", "lora", "freeze", "img_size"} & set(dict(way.flags))
        assert way.keeps == (not (changes or how.get("optimizer") == "adamw-8bit"))
    order = [(not way.keeps, way.seconds) for way in row.ways]
    assert order == sorted(order)
    assert {way.keeps for way in row.ways} == {True, False}
    # of the whole catalogue no time is predicted: by the FLOPs that a step executes
    (same,) = (
        each
        for each in vitcost.fit("vit_huge_patch14_224", mode="train", require=64, reserve=0).found
        if each.gpu == "l4"
    )
    flops = [(not way.keeps, way.executed_flops) for way in same.ways]
    assert flops == sorted(flops)
    plain = {"precision", "attention", "checkpointing"}
    named = {way[:3] for way in row.ways if set(dict(way.flags)) <= plain}
    fits = {way[:3] for way in same.ways}
    assert {how for how in named if ":" not in how[2]} <= fits
    # a card that is named has no way of a flash kernel that checkpoints its scores in vain
    assert fits - named == {("bf16", "sdpa", "selective")}
    # nothing else fits: every other way needs more
    told = fits | {way[:3] for way in row.ways}
    for precision in ("fp32", "amp-bf16", "bf16"):
        for checkpointing in ("none", "selective", "block"):
            if (precision, "sdpa", checkpointing) not in told:
                how = {"precision": precision, "checkpointing": checkpointing, "mode": "train"}
                assert reported("vit_huge_patch14_224", 64, **how) > limit
    # a card without bfloat16 is offered none
    ways: tuple[Any, ...]
    ways = vitcost.fit("vit_huge_patch14_224", gpu="t4", mode="train", require=64).found[0].ways
    assert {way.precision for way in ways} == {"fp32", "amp-fp16", "fp16"}


def test_where_no_peak_is_known_a_bound_is_named() -> None:
    """The basis that is printed is that of the batch that is named."""
    given: dict[str, Any] = {"mode": "train", "recipe": "megatron-bf16"}
    (row,) = vitcost.fit("vit_base_patch16_224", gpu="l4", **given).found
    assert row.largest_batch is not None
    assert row.largest_batch > 1
    step = vitcost.report("vit_base_patch16_224", batch=row.largest_batch, **given).training
    assert (row.used_is, row.used_bytes) == ("bounded", step.peak_bytes)
    assert row.assumed == step.assumed != ()
    assert step.missing is not None
    (one,) = vitcost.fit("vit_giant_patch14_224", gpu="t4", mode="train").found
    assert (one.largest_batch, one.used_is, one.assumed) == (0, "exact", ())


def test_a_step_of_the_optimizer_alone_decides_where_it_needs_the_most() -> None:
    """A giant of 1 billion parameters: 20 bytes each in AdamW's step, whatever the loss is."""
    for classes in (0, 1):
        (row,) = vitcost.fit(
            "vit_giant_patch14_224", gpu="t4", mode="train", num_classes=classes, require=1
        ).found
        phi = vitcost.report("vit_giant_patch14_224", num_classes=classes).params
        assert (row.largest_batch, row.peak_at, row.fits) == (0, "optimizer step", False)
        assert row.used_bytes is not None
        assert row.used_bytes >= 20 * phi


def test_a_recipe_keeps_its_precision() -> None:
    found = vitcost.fit(BASE, gpu="t4", mode="train", recipe="megatron-fp16", require=400)
    assert found.found[0].used_is == "bounded"
    assert {way.precision for way in found.found[0].ways} <= {"fp16"}


# --- what cannot be asked


@pytest.mark.parametrize(
    ("asked", "error", "says"),
    [
        ({"gpu": "h100-smx"}, UnknownName, "did you mean h100-sxm"),
        ({"require": 0}, ConfigError, "batch must be between 1 and"),
        ({"batch": 8, "require": 64}, ConfigError, "batch 8 contradicts require 64"),
        ({"batch": -1}, ConfigError, "batch must be between 1 and"),
        ({"reserve": "much"}, ConfigError, "expected bytes such as 24 GiB"),
        ({"reserve": "-1 GiB"}, ConfigError, "expected bytes"),
        ({"reserve": -1}, ConfigError, "reserve must be auto, bytes"),
        ({"reserve": "100 %"}, ConfigError, "below 100 %"),
        ({"reserve": "x %"}, ConfigError, "reserve must be a share"),
        ({"largest": "width"}, ConfigError, "largest must be one of img_size, depth"),
        ({"precison": "fp32"}, UnknownName, "unknown field 'precison'"),
    ],
    ids=str,
)
def test_bad_input(asked: dict[str, Any], error: type[VitcostError], says: str) -> None:
    with pytest.raises(error, match=says):
        vitcost.fit(BASE, **asked)


def test_a_text_has_no_image() -> None:
    with pytest.raises(NotCovered, match="no largest image"):
        vitcost.fit("gpt2", gpu="h100-sxm", largest="img_size")
    assert vitcost.fit("gpt2", gpu="h100-sxm", largest="depth").found[0].largest_depth


def test_one_message_on_the_command_line(capsys: Captured) -> None:
    for args in (["-g", "h100"], ["--reserve", "200 %"], ["--require", "0"], ["--largest", "x"]):
        assert run(["fit", BASE, *args]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("Error: ")
        assert err.count("\n") == 1


# --- what is printed


def test_json_rows_and_html(capsys: Captured) -> None:
    assert run(["fit", BASE, "-g", "t4", "-g", "tpu-v7x", "--json", "--require", "9999"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["schema"] == "vitcost.fit/1"
    assert data["model"] == BASE
    known, unknown = data["rows"]
    result = vitcost.fit(BASE, gpu=["t4", "tpu-v7x"], require=9999)
    assert data == json.loads(json.dumps(result.to_dict()))
    assert known["gpu"] == "t4"
    parts = ("used_bytes", "headroom_bytes", "reserve_bytes")
    assert sum(known[part] for part in parts) == 16 * GIB
    assert known["verdict"] == "no"
    assert unknown["largest_batch"] is unknown["fits"] is None
    flat = list(result.rows())
    assert [row["gpu"] for row in flat] == ["t4", "tpu-v7x"]
    assert "t4" in result._repr_html_()


def test_the_page_names_what_is_not_known(capsys: Captured) -> None:
    assert run(["fit", BASE, "--reserve", "1 GiB"]) == 0
    out = capsys.readouterr().out
    assert "no source states the memory of: tpu-v7x" in out
    assert "1.00 GiB of each card" in out
    assert isinstance(vitcost.fit(BASE), Fit)


@pytest.mark.parametrize("format", ["csv", "markdown", "html", "table"])
def test_every_format(format: str, capsys: Captured) -> None:
    args = ["fit", "vit_huge_patch14_224", "--mode", "train", "-g", "t4", "--require", "64"]
    assert run([*args, "--format", format]) == 1
    out, err = capsys.readouterr()
    assert "t4" in out
    assert err == ""


def test_a_large_model_on_a_small_card_has_ways() -> None:
    """DINOv2's ViT-L at 518 px, 32 images on 24 GB: at least six ways, the training the same first,
    fastest first, and each is what a report says."""
    name, asked = "vit_large_patch14_dinov2", {"num_classes": 1, "ema": 1, "mode": "train"}
    found = vitcost.fit(name, gpu="rtx4090", require=32, precision="amp-bf16", **asked).found[0]  # type: ignore[arg-type]
    assert found.fits is False
    assert len(found.ways) >= 6
    changed = {flag for way in found.ways for flag, _ in way.flags}
    assert {"accumulate", "checkpointing", "optimizer"} <= changed
    assert {"precision", "freeze", "lora", "img_size"} <= changed
    words = {v.partition(":")[0] for w in found.ways for f, v in w.flags if f == "checkpointing"}
    assert words == {"first", "every", "block"}
    row, capacity = card_of("rtx4090"), found.capacity_bytes
    for way in found.ways:
        how: dict[str, Any] = {"precision": "amp-bf16", "batch": 32, **asked, **dict(way.flags)}
        assert vitcost.report(name, **how).training.peak_bytes == way.used_bytes
        # the most images of a step fit with the reserve, and one more of each micro-batch does not
        parts = how.get("accumulate", 1)
        assert way.largest_batch is not None
        assert way.largest_batch >= 32
        for more in (0, 1):
            how["batch"] = way.largest_batch // parts + more
            tensors = vitcost.report(name, **how).training.peak_bytes
            assert (tensors + beside(row, tensors).total_bytes <= capacity) is (more == 0)
    # of the micro-batches that fit the largest three
    parts = [value for way in found.ways for name, value in way.flags if name == "accumulate"]
    assert parts == [4, 8, 16]
    groups = [way.keeps for way in found.ways]
    assert groups == sorted(groups, reverse=True)
    # a way that changes more than another is faster, or holds more
    for way in found.ways:
        for part in found.ways:
            if set(part.flags) < set(way.flags):
                assert way.seconds < part.seconds or way.largest_batch > part.largest_batch  # type: ignore[operator]


def test_a_batch_of_any_size_has_micro_batches() -> None:
    """5,040 images in equal parts of what fits, and no image of less than half the side."""
    flags: dict[str, Any] = {"num_classes": 1, "ema": 1, "precision": "amp-bf16", "mode": "train"}
    row = vitcost.fit("vit_large_patch14_dinov2", gpu="rtx4090", require=5040, **flags).found[0]
    micro = [dict(way.flags) for way in row.ways if way.keeps]
    # 13 images fit
    assert row.largest_batch == 13
    pairs = [(how["batch"], how["accumulate"]) for how in micro]
    assert pairs == [(12, 420), (10, 504), (9, 560)]
    assert not any(name == "img_size" for way in row.ways for name, _ in way.flags)


@pytest.mark.parametrize(
    ("cards", "kept"),
    [
        (["cpu-i9_10940x,memory_gb=32"], False),
        (["cpu-i9_10940x"], False),
        (["cpu-i9_10940x,memory_gb=32", "l4"], True),
    ],
)
def test_a_page_of_processors_keeps_no_room_for_a_workspace(
    cards: list[str], kept: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["fit", "vit_tiny_patch16_224", *(a for card in cards for a in ("-g", card))])
    assert ("room is kept for a workspace" in capsys.readouterr().out) == kept
