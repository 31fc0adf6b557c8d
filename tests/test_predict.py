"""A prediction: what it rests on, its band, its parts, anchors, cards of one's own."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

import vitcost
from vitcost.config.scenario import Scenario
from vitcost.config.vit_config import ViTConfig
from vitcost.errors import ConfigError, NotCovered
from vitcost.hardware.basis import Anchor, parse_anchor
from vitcost.hardware.calibrations import CALIBRATIONS
from vitcost.hardware.cards import CARDS
from vitcost.hardware.constants import sheet_of, terms
from vitcost.hardware.roofline import predict, turning_points
from vitcost.hardware.specs import asked_cards, own_card
from vitcost.hardware.work import work
from vitcost.hardware.work_classes import Setup, Work, setup_of, total
from vitcost.zoo import resolve

BASE = resolve("vit_base_patch16_224").config

# predict


SCENARIO = Scenario(batch=256, precision="amp-bf16")


def test_what_a_prediction_rests_on() -> None:
    fitted_card = predict(BASE, SCENARIO, "rtx4090")
    assert fitted_card.basis == "calibrated"
    assert fitted_card.software == "torch 2.4"
    assert (
        predict(BASE, replace(SCENARIO, compile=True), "rtx4090").software == "torch 2.9, compiled"
    )
    other_mode = predict(BASE, replace(SCENARIO, compile=True), "rtx3090")
    assert other_mode.basis == "anchored"
    assert predict(BASE, replace(SCENARIO, precision="bf16"), "rtx4090").basis == "anchored"
    kin = predict(BASE, replace(SCENARIO, precision="fp32"), "rtx4090")
    assert kin.basis == "of_its_kind"
    sheet = predict(BASE, SCENARIO, "tpu-v4")
    assert sheet.basis == "spec_sheet"
    for time, most in ((fitted_card, 0.15), (other_mode, 0.25), (kin, 0.7), (sheet, 1.0)):
        assert 0 < time.low_seconds < time.seconds < time.high_seconds
        assert time.high_seconds <= (1 + most) * time.seconds
        assert time.images_per_second == pytest.approx(256 / time.seconds)
    # how many measurements it rests on, and the error on those that were left out
    assert (fitted_card.fitted_rows, fitted_card.held_out) == (68, 0.0189)
    assert (sheet.fitted_rows, sheet.held_out) == (0, None)


def test_the_time_is_the_sum_written_out() -> None:
    (c,) = (
        c.constants
        for c in CALIBRATIONS
        if (c.gpu, c.setup) == ("rtx4090", Setup("amp", False, False, "nchw", "cuda", (2, 4)))
    )
    w = total(work(BASE, SCENARIO, Setup("amp", torch=(2, 4))))
    P, BW = 165.2e12, 1008e9
    seconds = (
        c[0] * (w.gemm_flops + 3 * w.conv_flops) / P
        + c[1] * w.attention_flops / P
        + c[2]
        * (
            w.stream_bytes
            + 1.75 * w.strided_bytes
            + 0.5 * (w.linear_bytes + w.attention_bytes)
            + w.conv_bytes
        )
        / BW
        + c[3] * w.conv_flops / P
        + c[4] * w.strided_bytes / BW
        + 3e-6 * w.launches
    )
    assert predict(BASE, SCENARIO, "rtx4090").seconds == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    ("compiled", "torch", "weights"),
    [(False, (2, 4), (1.5, 1.0, 0.75)), (True, (2, 9), (1, 0.5, 1))],
)
def test_the_time_of_a_backbone_written_out(
    compiled: bool, torch: tuple[int, int], weights: tuple[float, ...]
) -> None:
    """Its FLOPs in those of products, the bytes of its convolutions and its others in streamed
    ones; a strided byte of an eager step is 1.75 of them, a compiled one a byte."""
    setup = Setup("amp", False, compiled, "nchw", "cuda", torch)
    (c,) = (c.constants for c in CALIBRATIONS if (c.gpu, c.setup) == ("rtx4090", setup))
    for name in ("vit_base_r50_s16_224", "vit_base_patch16_rpn_224"):
        config = resolve(name).config
        w, (flops, convs, others) = total(work(config, SCENARIO, setup)), weights
        P, BW = 165.2e12, 1008e9
        streamed = w.stream_bytes + (1 if compiled else 1.75) * w.strided_bytes + w.conv_bytes
        streamed += 0.5 * (w.linear_bytes + w.attention_bytes)
        streamed += convs * w.backbone_conv_bytes + others * w.backbone_bytes
        seconds = (
            c[0] * (w.gemm_flops + 3 * w.conv_flops + flops * w.backbone_flops) / P
            + c[1] * w.attention_flops / P
            + c[2] * streamed / BW
            + c[3] * w.conv_flops / P
            + c[4] * w.strided_bytes / BW
            + 3e-6 * w.launches
        )
        time = predict(config, replace(SCENARIO, compile=compiled), "rtx4090")
        assert time.seconds == pytest.approx(seconds, rel=1e-12)
        assert w.backbone_flops or w.strided_bytes


def test_the_time_of_a_processor_written_out() -> None:
    setup = Setup("fp32", False, True, "nchw", "cpu", (2, 4))
    (c,) = (c.constants for c in CALIBRATIONS if (c.gpu, c.setup) == ("cpu-i7_12700h", setup))
    for name in ("vit_base_patch16_224", "vit_base_r50_s16_224"):
        config = resolve(name).config
        w = total(work(config, Scenario(platform="cpu", compile=True), setup))
        moved = w.weight_bytes + w.stream_bytes + w.strided_bytes + w.attention_bytes
        moved += w.backbone_bytes
        seconds = c[0] * w.flops / 1e12 + c[1] * moved / 1e11 + c[2] * 12 * 1e-3
        time = predict(config, Scenario(compile=True), "cpu-i7_12700h")
        assert time.seconds == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize("mode", ["infer", "train"])
def test_the_parts_add_up(mode: str) -> None:
    time = predict(BASE, replace(SCENARIO, mode=mode), "rtx3090")
    assert sum(part.seconds for part in time.parts) == pytest.approx(time.seconds)
    assert time.mode == mode
    assert {part.bound for part in time.parts} <= {"compute", "memory", "overhead"}
    names = [part.name for part in time.parts]
    assert ("optimizer" in names) == (mode == "train")


def test_json_has_the_fields_of_the_contract() -> None:
    row = predict(BASE, SCENARIO, "rtx4090").to_dict()
    wanted = [
        "gpu", "mode", "seconds", "images_per_second", "bound", "basis", "low_seconds",
        "high_seconds",
    ]  # fmt: skip
    assert list(row)[: len(wanted)] == wanted


def test_software_chooses_the_nearest_calibration() -> None:
    near = predict(BASE, replace(SCENARIO, software="2.0.1"), "rtx3090")
    assert near.software == "torch 2.0"
    assert near.high_seconds / near.seconds == pytest.approx(1.15)
    exact = predict(BASE, replace(SCENARIO, software="2.1"), "rtx3090")
    assert exact.high_seconds / exact.seconds == pytest.approx(1.10)
    assert near.seconds == pytest.approx(exact.seconds, rel=1e-9)
    old = predict(BASE, replace(SCENARIO, software="1.13.1"), "rtx3090")
    assert old.seconds > 1.1 * exact.seconds


@pytest.mark.parametrize(
    ("gpu", "given", "measured"),
    # timm measured an RTX 3090 with torch 1.13, 2.1 and 2.4, a compiled RTX 4090 with 2.4 and 2.9
    [
        ("rtx3090", {"software": "1.12"}, "1.13, nchw"),
        ("rtx3090", {"software": "1.14"}, "1.13, nchw"),
        ("rtx3090", {"software": "2.0"}, "2.1, nchw"),
        ("rtx3090", {"software": "2.2"}, "2.1, nchw"),
        ("rtx3090", {"software": "2.3"}, "2.4, nchw"),
        ("rtx3090", {"software": "2.3", "layout": "nhwc"}, "2.4, nhwc"),
        ("rtx3090", {"software": "2.9"}, "2.4, nchw"),
        ("rtx4090", {"software": "2.6", "compile": True}, "2.4, nchw"),
        ("rtx4090", {"software": "2.7", "compile": True}, "2.9, nchw"),
        # another layout is nearer than other software
        ("rtx4090", {"software": "2.9", "compile": True, "layout": "nhwc"}, "2.9, nchw"),
    ],
)
def test_the_nearest_software_is_by_its_minor_version_too(
    gpu: str, given: dict[str, Any], measured: str
) -> None:
    time = predict(BASE, replace(SCENARIO, **given), gpu)
    assert time.notes == (f"constants measured with torch {measured}",)


def test_other_families_have_a_wider_band() -> None:
    eva = predict(resolve("vit_base_patch16_rope_224").config, SCENARIO, "rtx4090")
    assert eva.high_seconds / eva.seconds == pytest.approx(1.15)


@pytest.mark.parametrize(
    ("name", "card", "wide"),
    [
        ("beit_base_patch16_224", "rtx4090", 0.15),
        ("vit_base_r50_s16_224", "rtx4090", 0.20),
        ("beit_base_patch16_224", "cpu-i7_12700h", 0.25),
        ("vit_base_r50_s16_224", "cpu-i7_12700h", 0.40),
    ],
)
def test_bands_of_families_that_were_not_fitted(name: str, card: str, wide: float) -> None:
    scenario = Scenario(compile=True) if card.startswith("cpu") else SCENARIO
    time = predict(resolve(name).config, scenario, card)
    assert time.high_seconds / time.seconds - 1 == pytest.approx(wide)
    assert 1 - time.low_seconds / time.seconds == pytest.approx(wide)
    assert time.basis == ("anchored" if "r50" in name else "calibrated")


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("gpt2", {}, "no model that reads text was measured"),
        ("clip_vit_base_patch16", {}, "no model that reads text was measured"),
        ("vit_base_patch16_224", {"attention": "eager"}, "attention eager has no measurement"),
        ("vit_base_patch16_224", {"mode": "train", "checkpointing": "block"}, "checkpointing"),
        ("vit_base_patch16_224", {"mode": "train", "freeze": "first:3"}, "partly frozen training"),
        ("vit_base_patch16_224", {"mode": "train", "lora": 8}, "partly frozen training"),
    ],
)
def test_what_no_file_measured_is_said(name: str, given: dict[str, Any], says: str) -> None:
    """timm's files are of image models, their own kernels, and whole steps."""
    time = predict(resolve(name).config, replace(SCENARIO, **given), "rtx3090")
    assert time.basis == "anchored"
    assert time.high_seconds == pytest.approx(1.25 * time.seconds)
    assert says in time.notes[-1]
    # named or chosen, the kernel is the same; before torch 2.0 this one was measured
    for known in ({"attention": "flash"}, {"attention": "eager", "software": "1.13"}):
        assert predict(BASE, replace(SCENARIO, **known), "rtx3090").basis == "calibrated"
    mine = [Anchor(name, 50.0)]
    met = predict(resolve(name).config, replace(SCENARIO, **given), "rtx3090", anchors=mine)
    assert not [note for note in met.notes if says in note and name == "vit_base_patch16_224"]


def test_where_measurements_end() -> None:
    large = resolve("vit_large_patch16_224").config
    # no row of a GPU in the data has a smaller batch than 16
    bases = [predict(large, replace(SCENARIO, batch=b), "rtx4090").basis for b in (15, 16)]
    assert bases == ["anchored", "calibrated"]
    # a host takes 25 µs for a launch: below that the card waits for it
    bounds = []
    for batch in (16, 32, 64, 128):
        config = resolve("vit_base_patch32_224").config
        scenario = replace(SCENARIO, batch=batch)
        time = predict(config, scenario, "rtx4090")
        host = 25e-6 * total(work(config, scenario, Setup("amp", torch=(2, 4)))).launches
        bounds.append(time.bound)
        assert time.seconds >= host
        assert (time.seconds == pytest.approx(host)) == (time.bound == "overhead")
        assert (time.basis == "anchored") == bool(time.notes) == (time.bound == "overhead")
    assert bounds[0] == "overhead" != bounds[-1]


@pytest.mark.parametrize(
    ("given", "gpu", "each", "below", "above"),
    # by who asks for the launches; the RTX 4090's own host took 20.2 µs at the most, as timm's file
    # of channels-last images shows: test_vit, 131 launches, 2.64 ms
    [
        ({}, "h100-sxm", 25e-6, 0.5, 2.2),
        ({"compile": True}, "h100-sxm", 28e-6, 0.35, 2.1),
        ({"software": "tensorrt"}, "h100-sxm", 17e-6, 0.6, 1.7),
        ({"layout": "nhwc"}, "rtx4090", 20.2e-6, 0.5, 2.2),
    ],
)
def test_small_batches_are_bound_by_the_host(
    given: dict[str, Any], gpu: str, each: float, below: float, above: float
) -> None:
    scenario = replace(SCENARIO, batch=1, **given)
    one = predict(BASE, scenario, gpu)
    setup = setup_of(scenario)._replace(torch=(2, 4) if gpu == "rtx4090" else (2, 9))
    launches = total(work(BASE, scenario, setup)).launches
    assert one.bound == "overhead"
    assert one.seconds == pytest.approx(each * launches)
    assert one.low_seconds == pytest.approx(below * one.seconds)
    assert one.high_seconds == pytest.approx(above * one.seconds)
    assert "batches below 16 were timed on other cards and hosts" in one.notes
    assert f"bound by the host, at {1e6 * each:.0f} µs for each of {launches:,}" in one.notes[-1]
    # the parts are those of the card, all longer by as much
    assert sum(part.seconds for part in one.parts) == pytest.approx(one.seconds)
    assert predict(BASE, SCENARIO, "rtx4090").notes == ()


def test_an_anchor_is_met_and_moves_the_rest() -> None:
    anchor = parse_anchor("vit_base_patch16_224=2787")
    assert anchor == Anchor("vit_base_patch16_224", 2787.0)
    card = "rtx-pro-6000-maxq"
    met = predict(BASE, SCENARIO, card, anchors=[anchor])
    assert met.images_per_second == pytest.approx(2787)
    assert met.basis == "anchored"
    huge = resolve("vit_huge_patch14_224").config
    without = predict(huge, SCENARIO, card).seconds / predict(BASE, SCENARIO, card).seconds
    with_it = predict(huge, SCENARIO, card, anchors=[anchor]).seconds / met.seconds
    assert with_it == pytest.approx(without, rel=0.05)


def test_an_anchor_of_another_batch() -> None:
    """The constants are longer by what the anchor shows at its own batch; launches are not."""
    slow = Anchor("vit_base_patch16_224", 900.0, SCENARIO)
    plain, met = (predict(BASE, SCENARIO, "rtx4090", anchors=a).seconds for a in ([], [slow]))
    small = replace(SCENARIO, batch=64)
    plain_small, small_too = (
        predict(BASE, small, "rtx4090", anchors=a).seconds for a in ([], [slow])
    )
    launches = 3e-6 * total(work(BASE, SCENARIO, Setup("amp", torch=(2, 4)))).launches
    assert met == pytest.approx(256 / 900)
    factor = (met - launches) / (plain - launches)
    assert small_too - launches == pytest.approx(factor * (plain_small - launches))
    # where compute takes the longest depends on it
    given = vitcost.report(
        BASE, batch=256, precision="amp-bf16", gpu="rtx4090", anchor="vit_base_patch16_224=200"
    ).time[0]
    assert given.turning is not None
    assert given.turning.beyond_overhead_batch == 1


def test_a_small_batch_that_the_user_measured_is_not_called_unmeasured() -> None:
    huge = resolve("vit_huge_patch14_224").config
    small = replace(SCENARIO, batch=8, mode="train")
    unmeasured = predict(huge, small, "rtx4090")
    assert unmeasured.high_seconds >= 2.2 * unmeasured.seconds
    mine = predict(huge, small, "rtx4090", anchors=[Anchor("vit_huge_patch14_224", 50.0)])
    assert (mine.basis, mine.images_per_second) == ("anchored", pytest.approx(50))
    assert mine.high_seconds <= 1.25 * mine.seconds
    assert not [note for note in mine.notes if "batches below" in note]
    # a host is no slower than a step that was measured on it
    one = predict(BASE, replace(SCENARIO, batch=1), "rtx4090",
                  anchors=[Anchor("vit_base_patch16_224", 300.0)])  # fmt: skip
    assert (one.basis, one.images_per_second) == ("anchored", pytest.approx(300))


@pytest.mark.parametrize("text", ["vit_base_patch16_224", "=3", "x=y", "x=0", "x=-1", "x=nan"])
def test_anchors_that_cannot_be(text: str) -> None:
    with pytest.raises(ConfigError, match="MODEL=IMAGES_PER_SECOND"):
        parse_anchor(text)


def test_an_anchor_faster_than_its_launches() -> None:
    with pytest.raises(ConfigError, match="faster"):
        predict(BASE, SCENARIO, "rtx4090", anchors=[Anchor("vit_base_patch16_224", 1e9)])


def test_the_users_own_card() -> None:
    mine = own_card("mine", {"bf16_tflops": 330.4, "bandwidth_gbps": 2016})
    double = predict(BASE, SCENARIO, mine)
    single = predict(
        BASE, SCENARIO, own_card("half", {"bf16_tflops": 165.2, "bandwidth_gbps": 1008})
    )
    launches = 3e-6 * total(work(BASE, SCENARIO, Setup("amp"))).launches
    assert double.basis == "spec_sheet"
    assert 2 * (double.seconds - launches) == pytest.approx(single.seconds - launches)
    assert double.peak_share == pytest.approx(
        256 * 35_127_656_448 / double.seconds / 330.4e12, rel=1e-12
    )


def test_a_card_made_from_another_is_as_fast() -> None:
    """What its silicon makes of a sheet goes with it, whatever it is called."""
    for text in ("l4,link_gbps=32", "l4,power_w=60", "mine,like=l4", "mine,like=h100-sxm"):
        (mine,) = asked_cards(text)
        theirs = predict(BASE, SCENARIO, mine.kin)
        assert predict(BASE, SCENARIO, mine).seconds == theirs.seconds
    # 794.5 of an H100's 989 TFLOP/s were seen, so much of any other peak: a matrix product's time
    # by a tenth of the peak is that by the whole, ten times over
    (tenth,) = asked_cards("mine,like=h100-sxm,bf16_tflops=98.9")
    parts = [predict(BASE, SCENARIO, row).seconds for row in (tenth, "h100-sxm")]
    w = total(work(BASE, SCENARIO, Setup("amp")))
    flops = w.gemm_flops + 3 * w.conv_flops + w.attention_flops
    assert parts[0] - parts[1] > 9 * flops / 989e12 * 989 / 794.5 * 0.9


@pytest.mark.parametrize("precision", ["fp32", "tf32", "amp", "half"])
def test_products_in_bf16_are_as_fast_under_every_precision(precision: str) -> None:
    """Muon multiplies in bf16: an A100 does 312 TFLOP/s of it, a V100, which has no units for it,
    15.7 in fp32."""
    for name, peak in (("a100-sxm-40gb", 312e12), ("v100-sxm2", 15.7e12)):
        setup = Setup(precision)
        if precision == "tf32" and name == "v100-sxm2":
            continue
        columns, fixed = terms(Work(bf16_flops=int(peak)), sheet_of(CARDS[name], setup), setup)
        assert (columns, fixed) == ((1.0, 0.0, 0.0, 0.0, 0.0), 0.0)


def test_constants_hold_for_a_card_whose_links_are_told() -> None:
    for text in ("rtx4090,link_gbps=32", "rtx4090,memory_gb=48", "mine,like=rtx4090"):
        (mine,) = asked_cards(text)
        time, theirs = predict(BASE, SCENARIO, mine), predict(BASE, SCENARIO, "rtx4090")
        assert (time.basis, time.seconds) == ("calibrated", theirs.seconds)
    for text in ("rtx4090,power_w=300", "rtx4090,bandwidth_gbps=900", "mine,bf16_tflops=9,like=l4"):
        (mine,) = asked_cards(text)
        assert predict(BASE, SCENARIO, mine).basis == "of_its_kind"


def test_a_card_whose_power_is_capped() -> None:
    # 0.6 of its sheet, as the finding on such cards has it: 196.6 TFLOP/s, of 438.9
    giant = resolve("vit_giant_patch14_224").config
    time = predict(giant, replace(SCENARIO, compile=True), "rtx-pro-6000-maxq")
    assert time.images_per_second * 2 * 267.18e9 == pytest.approx(196.6e12, rel=0.05)


@pytest.mark.parametrize(
    ("card", "scenario", "says"),
    [
        ("tpu-v4", replace(SCENARIO, precision="fp32"), "fp32 peak"),
        ("tpu-v7x", SCENARIO, "bandwidth"),
        ("cpu-i7_12700h", SCENARIO, "not measured"),
    ],
)
def test_what_no_source_states(card: str, scenario: Scenario, says: str) -> None:
    with pytest.raises(NotCovered, match=says):
        predict(BASE, scenario, card)


def test_a_processor() -> None:
    time = predict(BASE, Scenario(compile=True), "cpu-i7_12700h")
    assert time.basis == "calibrated"
    # 8.3 images a second were measured
    assert time.low_seconds <= 1 / 8.33 <= time.high_seconds
    assert time.peak_share is None


def test_turning_points() -> None:
    points = turning_points(BASE, SCENARIO, "rtx4090")
    assert points.beyond_overhead_batch is not None
    assert points.compute_batch is not None
    for batch, bound in (
        (points.beyond_overhead_batch - 1, {"overhead"}),
        (points.beyond_overhead_batch, {"memory", "compute"}),
        (points.compute_batch - 1, {"overhead", "memory"}),
        (points.compute_batch, {"compute"}),
    ):
        assert predict(BASE, replace(SCENARIO, batch=batch), "rtx4090").bound in bound


# what a start loads


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-c", code], text=True).split())


def test_a_start_without_hardware_and_hardware_without_numpy() -> None:
    assert not {m for m in loaded_by("import vitcost") if m.startswith("vitcost.hardware")}
    loaded = loaded_by("import vitcost.hardware.score")
    assert "vitcost.hardware.roofline" in loaded
    assert not {"numpy", "scipy", "torch"} & loaded


def test_vit_config_is_what_is_predicted() -> None:
    assert isinstance(BASE, ViTConfig)
