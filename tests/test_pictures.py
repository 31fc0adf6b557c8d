"""Pictures of points and lines, by their numbers: rooflines, plans, serving, fits."""

import re
from math import log10

import pytest

import vitcost
from vitcost.page import Axis, Line, Plot, Point
from vitcost.render.html import fragment
from vitcost.render.marks import plot

BASE = "vit_base_patch16_224"


def drawn(mark: Plot) -> tuple[list[tuple[int, int]], list[str]]:
    """The points of a picture, and what they say."""
    out = "".join(plot(mark))
    found = re.findall(r'class="point"[^>]* d="M(\d+) (\d+)h0"><title>([^<]*)', out)
    return [(int(x), int(y)) for x, y, _ in found], [said for *_, said in found]


def test_points_lie_where_their_numbers_are() -> None:
    points = Point("a", "one", 1, 10), Point("b", "two", 4, 0)
    mark = Plot("t", Axis("n", "count"), Axis("m", "count"), points)
    # axes from nothing to 4 and to 10, drawn 4000 wide and 1000 high
    places, said = drawn(mark)
    assert places == [(1000, 0), (4000, 1000)]
    assert said == ["a: n 1, m 10", "b: n 4, m 0"]


def test_equal_factors_are_equal_steps() -> None:
    points = tuple(Point(str(n), "g", n, n) for n in (1, 10, 100, 30))
    axis = Axis("n", "si", log=True)
    mark = Plot("t", axis, axis, points, (Line("l", ((1, 100), (100, 1))),))
    places, _ = drawn(mark)
    assert places[:3] == [(0, 1000), (2000, 500), (4000, 0)]
    assert places[3] == (round(2000 * log10(30)), round(1000 - 500 * log10(30)))
    assert 'class="line" d="M0 0L4000 1000"' in "".join(plot(mark))


def test_a_roofline_has_the_sheets_lines_and_the_parts_of_the_time() -> None:
    report = vitcost.report(BASE, batch=64, precision="amp-bf16", gpu="h100-sxm", mode="train")
    _, roofline = report.page().pictures()
    assert isinstance(roofline, Plot)
    # NVIDIA's H100 SXM sheet: 1,979 TFLOPS in bf16 with sparsity, half of it without; 3.35 TB/s
    (line,) = roofline.lines
    (low, at_low), (knee, peak), (_, same) = line.points
    assert peak == same == pytest.approx(1979e12 / 2, rel=1e-3)
    assert at_low / low == pytest.approx(3350e9)
    assert knee == pytest.approx(peak / 3350e9)
    parts = {part.name: part for part in report.time[0].parts}
    points = {point.group: point for point in roofline.points}
    assert {"blocks.attn", "blocks.mlp", "head", "patch_embed"} == points.keys()
    # a block has products of 2 * 64 * 197 * 8 h h FLOPs: forward once, backward twice
    mlp = parts["blocks.mlp"]
    assert mlp.flops == 12 * 3 * 2 * (64 * 197) * 8 * 768 * 768
    assert points["blocks.mlp"].y == mlp.flops / mlp.seconds
    assert points["blocks.mlp"].x == mlp.flops / mlp.moved_bytes
    assert all(point.y < min(peak, point.x * 3350e9) for point in points.values())
    # of a processor no sheet is known
    cpu = vitcost.report(BASE, platform="cpu", compile=True, gpu="cpu-i9_10940x", precision="fp32")
    assert not any(isinstance(each, Plot) for each in cpu.page().pictures())


def test_a_plan_is_cost_against_days() -> None:
    found = vitcost.plan(BASE, samples=10**7, gpu=["l4", "t4"], price=2, cards=4)
    (mark,) = found.page().pictures()
    assert isinstance(mark, Plot)
    assert mark.title == "Cost against days"
    best = found.best
    assert best is not None
    assert best.run_seconds is not None
    assert (best.run_seconds / 86_400, best.cost) in {(p.x, p.y) for p in mark.points}
    assert {point.group for point in mark.points} == {"l4", "t4"}
    # without a price the hours stand in its place
    (mark,) = vitcost.plan(BASE, samples=10**7, gpu="l4", cards=4).page().pictures()
    assert mark.title == "GPU-hours against days"


def test_serving_is_cost_against_latency() -> None:
    found = vitcost.serve(BASE, rate=2000, slo=0.05, gpu=["l4", "t4"], price=1)
    (mark,) = found.page().pictures()
    assert isinstance(mark, Plot)
    wanted = {(row.latency_seconds, row.cost_per_million_images) for row in found.found}
    assert {(point.x, point.y) for point in mark.points} == wanted


def test_a_fit_is_what_is_used_against_the_capacity() -> None:
    found = vitcost.fit(BASE, gpu=["l4", "t4"], mode="train")
    (bars,) = found.page().bars
    for bar, row in zip(bars.bars, found.found, strict=True):
        assert bar.limit == row.capacity_bytes
        assert dict(bar.segments) == {"used": row.used_bytes, "kept free": row.reserve_bytes}
        assert sum(size for _, size in bar.segments) + (row.headroom_bytes or 0) == bar.limit
    # of a whole catalogue the smallest that hold it
    (bars,) = vitcost.fit(BASE, mode="train").page().bars
    limits = [bar.limit or 0 for bar in bars.bars]
    assert len(limits) == 12
    assert limits == sorted(limits)


def test_text_in_a_picture_is_no_markup() -> None:
    bad = "<script>"
    mark = Plot(bad, Axis(bad, "si"), Axis(bad, "si"), (Point(bad, bad, 1, 1),), (), (bad,))
    assert bad not in "".join(plot(mark))
    assert "Roofline" in fragment(vitcost.report(BASE, gpu="l4"))
