"""Serving is held to a queue by hand and to a simulation of arrivals; bad loads are refused."""

import heapq
import json
import random
from itertools import pairwise
from math import ceil, exp
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import vitcost
from vitcost.cli import run
from vitcost.config.scenario import Scenario
from vitcost.errors import ConfigError, NotCovered, UnknownName
from vitcost.hardware.card_attention import on_card
from vitcost.hardware.default_precision import precision_on
from vitcost.hardware.roofline import predict
from vitcost.hardware.specs import card
from vitcost.planner.capacity import BATCHES, cards_for
from vitcost.planner.load import Load
from vitcost.planner.queueing import Batches
from vitcost.planner.serve import Serve
from vitcost.planner.serving import ServeRow
from vitcost.render import render
from vitcost.zoo import resolve

BASE, TINY = "vit_base_patch16_224", "vit_tiny_patch16_224"
ASKED: dict[str, Any] = {"rate": "5000/s", "slo": "50ms", "gpu": ["l4", "h100-sxm", "t4"]}
PRICES = {"l4": 0.8, "h100-sxm": 3, "t4": 0.35}


def only(model: str = BASE, **asked: Any) -> ServeRow:
    (row,) = vitcost.serve(model, **{"rate": "1000/s", "gpu": "l4", **asked}).found
    return row


# --- the queue, by hand


def test_one_image_a_batch_waits_as_pollaczek_and_khinchine_have_it() -> None:
    """M/D/1: W = ρ D / (2 (1 - ρ))."""
    for load in (0.1, 0.5, 0.7, 0.9):
        queue = Batches(1, 1, 0.020, load / 0.020)
        assert queue.queueing_seconds == pytest.approx(load * 0.020 / (2 * (1 - load)), rel=1e-6)
        # no image waits for others, and as many as the card is idle for wait for nothing
        assert queue.forming_seconds == 0
        assert queue.within(0.020) == pytest.approx(1 - load, rel=1e-6)


def test_a_queue_of_one_by_hand() -> None:
    """M/D/1 with λ = 50 a second, D = 10 ms: an image that waits at most D finds nobody, or one
    image that ends by then.

    P(W <= x) = (1 - ρ) Σ_k (-λ (x - k D))^k / k! e^(λ (x - k D)), k up to x / D: Erlang 1909.
    With ρ = 1/2, x = 15 ms: 1/2 (e^0.75 - 0.25 e^0.25) = 0.89800.
    """
    by_hand = 0.5 * (exp(0.75) - 0.25 * exp(0.25))
    assert round(by_hand, 5) == 0.898
    assert Batches(1, 1, 0.010, 50.0).within(0.025) == pytest.approx(by_hand, rel=1e-7)


def test_batches_of_two_by_hand() -> None:
    """c = 2 images run at once, of which a = λ D = 1.2 arrive in a service.

    The images in the system a service later are N' = (N - 2)⁺ + A, A Poisson of mean a. Their
    generating function is P(z) = e^(a(z-1)) g(z) / (z² - e^(a(z-1))), g(z) = (z² - 1) p0 +
    (z² - z) p1. The root z of z² = e^(a(z-1)) between -1 and 0 makes g 0 too: (z + 1) p0 + z p1 =
    0; P(1) = 1 makes 2 p0 + p1 = 2 - a. L'Hôpital twice at 1 gives
    E[N] = (2 a (2 - a) + 2 (p0 + p1) - 2 + a²) / (2 (2 - a)), and E[Lq] = E[(N - 2)⁺] = E[N] - a.
    """
    a = 1.2
    low, high = -1.0, 0.0
    for _ in range(100):
        z = (low + high) / 2
        low, high = (z, high) if z * z > exp(a * (z - 1)) else (low, z)
    # p1 = 2 - a - 2 p0 into (z + 1) p0 + z p1 = 0
    p0 = -z * (2 - a) / (1 - z)
    p1 = 2 - a - 2 * p0
    images = (2 * a * (2 - a) + 2 * (p0 + p1) - 2 + a * a) / (2 * (2 - a))
    for batch, cards in ((2, 1), (1, 2)):
        queue = Batches(batch, cards, 0.010, 120.0)
        assert queue.queueing_seconds == pytest.approx((images - a) / 120, rel=1e-7)
    # an image waits for nothing where at most one is there
    assert queue.within(0.010) == pytest.approx(p0 + p1, rel=1e-7)
    assert Batches(2, 1, 0.010, 120.0).forming_seconds == 1 / 240


def test_two_cards_of_one_wait_as_one_of_two_does() -> None:
    """Every second batch meets the same card: c = b n decides."""
    one, two = Batches(2, 1, 0.010, 140.0), Batches(1, 2, 0.010, 140.0)
    assert one.queueing_seconds == two.queueing_seconds
    assert one.mean_seconds - two.mean_seconds == pytest.approx(1 / 280)


def test_no_queue_where_nothing_comes() -> None:
    quiet = Batches(1, 1, 0.010, 1e-6)
    assert quiet.mean_seconds == pytest.approx(0.010)
    assert quiet.percentile(0.99) == 0.010
    with pytest.raises(ValueError, match="2 images arrive while 2 run"):
        _ = Batches(1, 2, 0.010, 200.0).queueing_seconds


# --- the queue, by a simulation of arrivals


class Seen(NamedTuple):
    mean: float
    shares: dict[float, float]


def simulated(queue: Batches, shares: tuple[float, ...], images: int = 400_000) -> Seen:
    """Images that arrive one by one, batches on the first card that is free."""
    draw, now = random.Random(7), 0.0
    free = [0.0] * queue.cards
    waited: list[float] = []
    come: list[float] = []
    for _ in range(images):
        now += draw.expovariate(queue.rate)
        come.append(now)
        if len(come) == queue.batch:
            end = max(heapq.heappop(free), now) + queue.seconds
            heapq.heappush(free, end)
            waited += [end - arrival for arrival in come]
            come = []
    # the start is emptier than the rest
    steady = sorted(waited[images // 20 :])
    picked = {share: steady[int(share * len(steady))] for share in shares}
    return Seen(sum(steady) / len(steady), picked)


QUEUES = {
    "one image, one card": Batches(1, 1, 0.010, 70.0),
    "one image, three cards": Batches(1, 3, 0.010, 240.0),
    "batches of four, one busy card": Batches(4, 1, 0.020, 0.85 * 200),
    "batches of eight, two cards": Batches(8, 2, 0.020, 0.7 * 800),
    "large batches, a quiet card": Batches(64, 1, 0.050, 0.3 * 1280),
    "batches of three, five cards": Batches(3, 5, 0.010, 0.6 * 1500),
}


@pytest.mark.parametrize("queue", QUEUES.values(), ids=QUEUES)
def test_a_simulation_agrees(queue: Batches) -> None:
    seen = simulated(queue, (0.5, 0.9, 0.99))
    assert queue.mean_seconds == pytest.approx(seen.mean, rel=0.02)
    for share, seconds in seen.shares.items():
        assert queue.percentile(share) == pytest.approx(seconds, rel=0.05)
        assert queue.within(seconds) == pytest.approx(share, abs=0.005)


def test_more_cards_are_never_slower() -> None:
    """So that the fewest cards are found by halving."""
    for batch in (1, 3, 16):
        queues = [Batches(batch, cards, 0.010, batch * 250.0) for cards in range(3, 12)]
        for few, more in pairwise(queues):
            assert few.queueing_seconds >= more.queueing_seconds
            for seconds in (0.011, 0.015, 0.030):
                assert few.within(seconds) <= more.within(seconds) + 1e-9


@pytest.mark.parametrize("slo", [0.011, 0.012, 0.015, 0.030, 0.2])
@pytest.mark.parametrize("batch", [1, 2, 8])
def test_the_fewest_cards_keep_the_latency_and_one_less_does_not(batch: int, slo: float) -> None:
    load = Load(2000.0, slo, 99.0, 0.7)
    by_rate = ceil(2000 * 0.010 / (batch * 0.7))
    cards = cards_for(batch, 0.010, load)
    if cards is None:
        # not even where a card is always free
        assert Batches(batch, 10**6, 0.010, 2000.0).within(slo) < 0.99
        return
    assert cards >= by_rate
    assert Batches(batch, cards, 0.010, 2000.0).within(slo) >= 0.99
    if cards > by_rate:
        assert Batches(batch, cards - 1, 0.010, 2000.0).within(slo) < 0.99


# --- the answer


def test_a_row_is_arithmetic_on_a_prediction() -> None:
    row = only(slo="100ms", price=0.8, batch=16)
    scenario = on_card(Scenario(batch=16, precision="bf16"), card("l4"))
    time = predict(resolve(BASE).config, scenario, "l4")
    service = time.seconds, time.low_seconds, time.high_seconds
    assert (row.service_seconds, row.service_low_seconds, row.service_high_seconds) == service
    # a card is busy for 70 % at most, were a batch as slow as its band has it
    assert row.cards == ceil(1000 * time.high_seconds / (16 * 0.7))
    assert row.least_cards == ceil(1000 * time.low_seconds / (16 * 0.7))
    assert row.images_per_second == 16 / time.seconds
    assert row.utilization == 1000 * time.seconds / (16 * row.cards)
    assert row.forming_seconds == 15 / (2 * 1000)
    middle, low, high = (Batches(16, row.cards, seconds, 1000.0) for seconds in service)
    assert row.mean_seconds == middle.mean_seconds
    assert row.latency_seconds == middle.percentile(0.99)
    assert (row.low_seconds, row.high_seconds) == (low.percentile(0.99), high.percentile(0.99))
    assert row.high_seconds is not None
    assert row.high_seconds <= 0.1
    # a million images take 1,000 seconds
    assert row.cost_per_million_images == pytest.approx(0.8 * row.cards * 1000 / 3600)
    assert row.power_watts == 72 * row.cards
    assert row.joules_per_million_images == pytest.approx(72 * row.cards * 1000)
    report = vitcost.report(BASE, batch=16, precision="bf16", gpu="l4")
    assert row.used_bytes == report.inference.total_bytes
    assert row.headroom_bytes == report.time[0].headroom_bytes
    assert (row.verdict, row.basis) == (report.time[0].verdict, report.time[0].basis)


@pytest.mark.parametrize("slo", ["20ms", "50ms", None])
def test_no_batch_that_is_tried_needs_fewer_cards(slo: str | None) -> None:
    row = only(slo=slo)
    each = [only(slo=slo, batch=batch).cards for batch in BATCHES[:14]]
    assert row.cards == min(cards for cards in each if cards is not None)


def test_the_cheapest_is_first_and_the_others_follow() -> None:
    found = vitcost.serve(BASE, **ASKED, price=PRICES)
    costs = [row.cost_per_million_images for row in found.found]
    assert costs == sorted(costs)  # type: ignore[type-var]
    assert found.best == found.found[0]
    # without a price the fewest cards
    plain = vitcost.serve(BASE, **ASKED)
    cards = [row.cards for row in plain.found]
    assert cards == sorted(cards)  # type: ignore[type-var]
    # one with a price, others without
    some = vitcost.serve(BASE, **ASKED, price={"t4": 99})
    assert some.found[0].gpu == "t4"


def test_a_price_is_given_in_several_ways(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text('[price]\nl4 = 0.8\nh100-sxm = "3/h"\na30 = 1\n')
    asked = {**ASKED, "gpu": ["l4", "h100-sxm"]}
    wanted = vitcost.serve(BASE, **asked, price={"l4": 0.8, "h100-sxm": 3})
    for price in (["l4=0.8/h", "h100-sxm=3"], str(tmp_path / "prices.toml"), ["0.8", "h100-sxm=3"]):
        assert vitcost.serve(BASE, **asked, price=price) == wanted
    # cards with a price are those that are asked for, where none is named
    assert vitcost.serve(BASE, rate=5000, slo=0.05, price=["l4=0.8", "h100-sxm=3"]) == wanted
    (capped,) = vitcost.serve(BASE, rate=9, gpu="l4,power_w=60", price={"l4": 0.8}).found
    assert (capped.price_per_hour, capped.power_watts) == (0.8, 60)


def test_precision_auto_is_of_each_card() -> None:
    found = vitcost.serve(BASE, rate=100, gpu=["h100-sxm", "t4", "v100-sxm2"])
    precisions = {row.gpu: row.precision for row in found.found}
    assert precisions == {"h100-sxm": "bf16", "t4": "fp16", "v100-sxm2": "fp16"}
    assert precision_on(card("t4"), training=True) == "amp-fp16"
    assert "bf16 on h100-sxm; fp16 on " in render(found)
    plain = vitcost.serve(BASE, rate=100, gpu="t4", precision="fp32")
    assert [row.precision for row in plain.found] == ["fp32"]


def test_a_card_that_cannot_says_why() -> None:
    found = vitcost.serve("vit_huge_patch14_224", rate=10, slo="25ms", gpu=["t4", "h100-sxm"])
    served, late = found.found
    assert (served.gpu, late.gpu, found.ok) == ("h100-sxm", "t4", True)
    assert (late.cards, late.batch, late.limit) == (None, None, "slo")
    assert late.missing is not None
    assert late.missing.startswith("one image takes up to ")
    # memory: eight bytes a parameter of fp32 and its copy do not fit
    small = "x,like=l4,memory_gb=2"
    none = vitcost.serve("vit_huge_patch14_224", rate=10, precision="fp32", gpu=small)
    assert (none.ok, none.found[0].limit) == (False, "memory")
    assert "more than there is" in render(none)


def test_an_answer_that_no_card_keeps_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", BASE, "--rate", "100/s", "--slo", "0.1ms", "-g", "l4"]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert "no card answers in time: l4: one image takes up to " in out
    data = vitcost.serve(BASE, rate=100, slo="0.1ms", gpu="l4").to_dict()
    assert (data["ok"], data["rows"][0]["cards"]) == (False, None)


def test_what_limits() -> None:
    assert only(rate=1, slo="1s").limit == "rate"
    assert only(rate=1, slo="1s").batch == 1
    assert only(rate=5000, slo="20ms").limit == "slo"
    assert only(rate=50000).limit in ("compute", "memory bandwidth")
    tight = only("vit_huge_patch14_224", rate=3000, gpu="x,like=l4,memory_gb=2.3")
    assert (tight.limit, tight.verdict) == ("memory", "fits")


def test_a_load_is_given_in_several_ways() -> None:
    rows = [only(rate=rate, slo="1s") for rate in ("1000/s", 1000, "60k/min", "86.4M/d", 1000.0)]
    assert all(row == rows[0] for row in rows)
    same = [only(slo="40ms", percentile=p) for p in (99, "99", "p99", 99.0)]
    assert all(row == same[0] for row in same)
    assert only(utilization="50%") == only(utilization=0.5)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"rate": 0}, "rate must be above 0 and at most 1,000,000,000,000 images a second"),
        ({"rate": "0/s"}, "rate must be above 0 and at most 1,000,000,000,000 images a second"),
        ({"rate": "5/x"}, "expected a rate such as 5000/s or 20M/d, got '5/x'"),
        ({"rate": "many"}, "expected a rate such as 5000/s or 20M/d, got 'many'"),
        ({"rate": float("nan")}, "rate must be above 0"),
        ({"slo": 0}, "slo must be a duration above 0, such as 20ms, got 0"),
        ({"slo": "20"}, "expected a duration such as 12 ms, got '20'"),
        ({"percentile": 101}, "percentile must be from 50 to 99.99, such as 99, got 101"),
        ({"percentile": "often"}, "percentile must be from 50"),
        ({"utilization": 1}, "utilization must be above 0 and at most 90%, such as 70%, got 1"),
        ({"utilization": "0%"}, "utilization must be above 0"),
        ({"price": 0}, "price must be above 0, of a card and hour, such as 2.5 or 2.5/h, got 0"),
        ({"price": "l4=free"}, "price of l4 must be above 0"),
        ({"price": "t4=1"}, "price of t4, which is not among the cards: l4"),
        ({"price": ["l4=1", "l4=2"]}, "two prices of l4"),
        ({"price": "nosuch.toml"}, "nosuch.toml: no such file"),
        ({"gpu": ()}, "no card: name one or several, gpu, or give prices, CARD=2.5/h"),
        ({"mode": "train"}, "serve takes no mode: serving is inference"),
        ({"ema": 1}, "serve takes no ema: only a training step has it"),
        ({"ranks": 2}, "serve takes no ranks: serving finds how many cards are enough"),
        ({"platform": "cpu"}, "serve takes no platform: it follows from the card"),
        ({"anchor": f"{BASE}=900"}, "an anchor was measured at one batch: give it as batch"),
        ({"batch": 0}, "batch must be between 1 and 1,000,000, got 0"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_one_message(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        only(**asked)
    assert str(caught.value).startswith(said)


def test_unknown_words_have_neighbours() -> None:
    with pytest.raises(UnknownName, match="did you mean bf16"):
        only(precision="bf61")
    with pytest.raises(UnknownName, match="did you mean l4"):
        only(price={"l44": 1})
    with pytest.raises(NotCovered, match=r"no source states memory_gb of tpu-v7x; give it: -g 't"):
        only(gpu="tpu-v7x")
    with pytest.raises(NotCovered, match="no source states a bf16 peak of t4"):
        only(gpu="t4", precision="bf16")


def test_the_command_line_is_the_function(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--rate", "5000/s", "--slo", "50ms", "-g", "l4", "-g", "h100-sxm", "-g", "t4"]
    prices = ["--price", "l4=0.8/h", "--price", "h100-sxm=3", "--price", "t4=0.35/h"]
    assert run(["serve", BASE, *words, *prices, "--json"]) == 0
    found = vitcost.serve(BASE, **ASKED, price=PRICES)
    assert json.loads(capsys.readouterr().out) == json.loads(render(found, "json"))
    assert run(["serve", BASE, "-g", "l4"]) == 2
    assert "no --rate given, such as --rate 5000/s" in capsys.readouterr().err


def test_a_page_has_its_answer_first() -> None:
    found: Serve = vitcost.serve(BASE, **ASKED, price=PRICES)
    best = found.best
    assert best is not None
    lines = render(found, "table", width=80).splitlines()
    assert lines[0].startswith(f"Serving {BASE} at 5,000 images/s: 224 px, bf16 on ")
    assert f"\n{best.cards} × {best.gpu} in batches of {best.batch}, " in "\n".join(lines[:3])
    assert all(len(line) <= 80 for line in lines)


def test_flags_of_the_scenario_change_the_time() -> None:
    plain = only(batch=16)
    for asked in ({"compile": True}, {"software": "1.13"}, {"attention": "eager"}, {"lora": 8}):
        assert only(batch=16, **asked).service_seconds != plain.service_seconds
    anchored = only(batch=16, anchor=f"{BASE}=900")
    assert (anchored.service_seconds, anchored.basis) == (pytest.approx(16 / 900), "anchored")


def test_a_processor_serves_without_a_context_of_its_own() -> None:
    """A processor whose memory is given keeps its measurements, and needs no room for CUDA."""
    served = vitcost.serve(
        BASE, rate="1/s", gpu="cpu-i9_10940x,memory_gb=16", compile=True, precision="fp32"
    )
    (row,) = served.found
    assert row.basis == "calibrated"
    assert row.reserve_bytes == 0
    assert row.used_bytes + row.headroom_bytes == 16 * 2**30
    assert "a context" not in render(served, "markdown")
    (l4,) = vitcost.serve(BASE, rate="1/s", gpu="l4").found
    assert l4.used_bytes + l4.reserve_bytes + l4.headroom_bytes == 24 * 2**30
