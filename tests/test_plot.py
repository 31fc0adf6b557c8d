"""Plots: what is drawn, in which unit, and labels that cover neither each other nor a point."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vitcost
from vitcost.cli import run
from vitcost.errors import ConfigError, NotCovered, UnknownName
from vitcost.planner.labels import Box, places
from vitcost.planner.plot import Picture, picture_of, plot

pytest.importorskip("matplotlib")
Captured = pytest.CaptureFixture[str]
TINY, SMALL, BASE = (f"vit_{size}_patch16_224" for size in ("tiny", "small", "base"))
HEADS = {"png": b"\x89PNG\r\n", "svg": b"<?xml", "pdf": b"%PDF-"}


def texts(file: Path) -> list[str]:
    """The texts of a picture, each of which matplotlib writes in a comment beside its outlines."""
    return re.findall(r"<!-- (.*?) -->", file.read_text(encoding="utf-8"), re.DOTALL)


def drawn(folder: Path, capsys: Captured, *args: str) -> list[str]:
    file = folder / "plot.svg"
    assert run(["compare", *args, "--plot", str(file)]) == 0
    assert capsys.readouterr().err == ""
    return texts(file)


@pytest.mark.parametrize("suffix", HEADS)
def test_a_plot_is_a_picture_and_the_same_one_again(suffix: str, tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.{suffix}" for i in range(2)]
    for file in files:
        vitcost.compare(TINY, SMALL).plot(str(file), x="params", y="macs")
    assert files[0].read_bytes().startswith(HEADS[suffix])
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("flags", "axes"),
    [
        (("--quantities", "params,macs,weights"), ["params (M)", "MACs (G)"]),
        (("--quantities", "params,flops", "--pareto", "flops,tokens"), ["FLOPs (G)", "tokens"]),
        (("--x", "train-memory", "--quantities", "params"), ["train memory (GiB)", "params (M)"]),
        (("--y", "params"), ["FLOPs (G)", "params (M)"]),
        ((), ["FLOPs (G)", "train memory (GiB)"]),
    ],
)
def test_axes_are_what_is_named_with_its_unit(
    flags: tuple[str, ...], axes: list[str], tmp_path: Path, capsys: Captured
) -> None:
    found = drawn(tmp_path, capsys, BASE, TINY, *flags)
    assert [text for text in found if text in axes] == axes
    assert "batch 1, fp32" in found
    # a front is drawn where one is asked for alone
    assert any("Pareto" in text for text in found) == ("--pareto" in flags)


def test_a_label_is_the_model_and_what_varies_and_no_band_of_a_time(
    tmp_path: Path, capsys: Captured
) -> None:
    found = drawn(
        tmp_path, capsys, TINY, SMALL, "-g", "rtx4090", "-b", "64", "--precision", "amp-bf16",
        "--x", "params", "--y", "step_time", "--size", "macs", "--color", "inference_memory",
    )  # fmt: skip
    assert {TINY, SMALL, "params (M)", "step time (ms)", "inference memory (MiB)"} <= {*found}
    assert "batch 64, inference, amp-bf16, rtx4090" in found
    # patches, blocks of 12sh² + 2s²h, the head
    macs = [
        64 * (196 * 768 * h + 12 * (12 * 197 * h * h + 2 * 197 * 197 * h) + 1000 * h)
        for h in (192, 384)
    ]
    said = [text for text in found if text.startswith("MACs ")]
    assert said == [f"MACs {n / 1e9:.1f} G" for n in macs]
    others = [text for text in found if re.search("[a-z]", text)]
    assert len(others) == 8
    varied = ("--vary", "depth=3,6", "--vary", "img_size=224,384")
    labels = drawn(tmp_path, capsys, TINY, *varied)
    assert "depth 3, img size 224×224" in labels
    assert TINY not in labels
    two = drawn(tmp_path, capsys, TINY, SMALL, "--vary", "depth=3,6", "--batch", "2")
    # and a colour a model, since each has several points
    assert {f"{TINY}, depth 3", f"{SMALL}, depth 6", TINY, SMALL, "batch 2, fp32"} <= {*two}


def test_points_that_lie_on_one_another_have_one_label(tmp_path: Path, capsys: Captured) -> None:
    found = drawn(tmp_path, capsys, BASE, BASE, "deit_base_patch16_224", TINY)
    lines = [text for text in found if "patch16" in text]
    assert sorted(lines) == sorted([BASE, BASE, "deit_base_patch16_224", TINY])


def test_many_combinations_are_drawn_without_labels(tmp_path: Path, capsys: Captured) -> None:
    pytest.importorskip("numpy")
    found = drawn(tmp_path, capsys, TINY, SMALL, "--vary", "batch=1:600:+1", "--vary", "depth=1,2")
    assert {TINY, SMALL} <= {*found}
    assert "fp32" in found
    assert not any("depth" in text for text in found)


def test_what_cannot_be_drawn(tmp_path: Path, capsys: Captured) -> None:
    assert run(["compare", TINY, "--x", "params"]) == 2
    assert "--x needs --plot" in capsys.readouterr().err
    with pytest.raises(UnknownName, match="did you mean params"):
        picture_of({"x": "parms"}, None, None)
    with pytest.raises(ConfigError, match="and no shape"):
        vitcost.compare(TINY).plot(str(tmp_path / "x.png"), shape="params")
    with pytest.raises(ConfigError, match="params and step_time have no exact figures"):
        vitcost.compare(TINY).plot(str(tmp_path / "x.png"), x="params", y="step_time")
    swept = vitcost.sweep(TINY, vary={"depth": [1, 2]}, quantities=["params"])
    with pytest.raises(NotCovered, match="step_time is known on a card only: give a gpu"):
        swept.plot(str(tmp_path / "x.png"), x="params", y="step_time")
    with pytest.raises(ConfigError, match=r"\.png, a \.svg or a \.pdf"):
        plot([], Picture("params", "macs"), "x.bmp")


def over(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 800), st.floats(0, 500)), max_size=20))
def test_no_label_covers_another_or_a_point(points: list[tuple[float, float]]) -> None:
    sizes, radii = [(120.0, 11.0)] * len(points), [3.0] * len(points)
    found = places(points, sizes, radii, (-50, -50, 850, 550), 11)
    boxes = [place.box for place in found if place is not None]
    for i, box in enumerate(boxes):
        assert not any(over(box, other) for other in boxes[i + 1 :])
        assert not any(over(box, (x - 2.9, y - 2.9, x + 2.9, y + 2.9)) for x, y in points)
        assert -50 <= box[0] <= box[2] <= 850
        assert -50 <= box[1] <= box[3] <= 550
    # with so much room each has its place
    assert len(boxes) == len(points)
    near = [place for place in found if place is not None and not place.line]
    assert len(points) != 1 or len(near) == 1
