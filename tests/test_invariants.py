"""Invariants over models and scenarios: one of them a draw, thousands of draws.

``tests/bench/draw_invariants.py`` draws as many as it is asked for, from any seed.
"""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import invariants
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from invariants import INVARIANTS, Trained, draw

import vitcost
from vitcost.costs.memory_types import Training
from vitcost.costs.quantities import QUANTITIES
from vitcost.costs.report import Report
from vitcost.engine.model import sizes_of

DRAWS = 4000
drawn: Counter[str] = Counter()


@settings(
    max_examples=DRAWS,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(st.data())
def test_every_draw_holds(data: st.DataObject) -> None:
    drawn[draw(data)] += 1


def test_every_invariant_was_drawn() -> None:
    if not drawn:
        pytest.skip("the draws did not run before")
    assert set(drawn) == set(INVARIANTS)
    assert drawn.total() >= DRAWS


# --- each of them fails where a number is wrong

CONFIG = vitcost.ViTConfig(
    img_size=32, patch_size=8, embed_dim=32, num_heads=2, depth=3, num_classes=10
)


def first(strategy: Any) -> Any:
    """The simplest choice of a strategy."""
    found: list[Any] = []

    @settings(max_examples=1, database=None, derandomize=True)
    @given(strategy)
    def choose(value: Any) -> None:
        found.append(value)

    choose()
    return found[0]


def _training(report: Report, **more: int) -> Report:
    return replace(report, training=_more(report.training, more))


def _states(found: Trained, **more: int) -> Trained:
    return found._replace(states=_more(found.states, more))


def _more(own: Training, more: dict[str, int]) -> Training:
    return own._replace(**{name: getattr(own, name) + value for name, value in more.items()})


# what is changed in the reports of an invariant, by the order in which it asks for them
WRONG: dict[str, Callable[[Any, int], Any]] = {
    "sums": lambda report, _: replace(report, params=report.params + 1),
    "rising": lambda report, i: _training(report, saved_activations_bytes=-(10**9) * i),
    "checkpointed": lambda found, i: _states(found, saved_activations_bytes=10**9 * i),
    "selective": lambda found, i: _states(found, saved_activations_bytes=10**9 * i),
    "frozen": lambda found, i: _states(found, gradients_bytes=10**9 * i),
    "sharded": lambda found, i: _states(found, weights_bytes=10**9 * i),
    "fitting": lambda report, i: _training(report, peak_bytes=10**9),
    "swept": lambda report, _: replace(report, params=report.params + 1),
    "explained": lambda report, _: replace(report, params=report.params + 1),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_number_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check, _ = INVARIANTS[name]
    flags = {"batch": 2}
    check(CONFIG, flags, first)
    asked = iter(range(99))
    for real in (invariants.told, invariants.trained):

        def wrong(*args: Any, _real: Callable[..., Any] = real, **given: Any) -> Any:
            return WRONG[name](_real(*args, **given), next(asked))

        monkeypatch.setattr(invariants, real.__name__, wrong)
    with pytest.raises(AssertionError):
        check(CONFIG, flags, first)


def test_two_answers_that_differ_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the report and of compare; of a module and of its name."""
    real = vitcost.report
    for name in ("one number", "from torch"):
        check, _ = INVARIANTS[name]
        asked = iter(range(99))

        def other(*args: Any, _asked: Iterator[int] = asked, **given: Any) -> Any:
            return real(*args, **{**given, "batch": 2 + next(_asked)})

        check(CONFIG, {"batch": 2}, first)
        monkeypatch.setattr(vitcost, "report", other)
        with pytest.raises(AssertionError):
            check(CONFIG, {"batch": 3}, first)
        monkeypatch.setattr(vitcost, "report", real)


# --- what an invariant allows, to the byte


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("heads", [2, 4])
def test_queries_and_keys_in_float_are_kept_by_selective_checkpointing(
    batch: int, heads: int
) -> None:
    """Under autocast a norm of queries and keys leaves fp32, and its layout makes the kernel's
    output a storage beside the one that the projection reads.

    Without checkpointing the kernel keeps two casts and its output, 2 bytes each of b·s·h, the
    log-sum-exp of each row, 4·b·a·s, and 16 + 8 bytes of random state; with it the core keeps
    queries and keys as they are given to it, 4 bytes each.
    """
    given: dict[str, Any] = {"batch": batch, "precision": "amp-bf16", "img_size": 32}
    given |= {"embed_dim": 64, "num_heads": heads, "patch_size": 8, "depth": 3, "qk_norm": True}
    none, selective = (
        vitcost.report("vit_tiny_patch16_224", checkpointing=how, **given)
        for how in ("none", "selective")
    )
    s, h = 17, 64
    kept = 3 * 2 * batch * s * h + 4 * batch * heads * s + 24
    given_to_it = 2 * 4 * batch * s * h
    assert none.attention_kernel == ("flash",)
    assert sizes_of(none.model.config, batch)["s"] == s
    saved = QUANTITIES["saved_activations"]
    more = saved.read(selective) - saved.read(none)  # type: ignore[operator]
    assert more == 3 * (given_to_it - kept)


@pytest.mark.slow
def test_the_script_draws_and_counts() -> None:
    script = Path(__file__).parent / "bench" / "draw_invariants.py"
    folders = [str(script.parent.parent.parent), str(script.parent.parent)]
    path = os.pathsep.join([*folders, os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(script), "--draws", "60", "--seed", "5"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"seed 5, 1 rounds, 60 draws in [\d,]+ s .*: none failed", done.stdout)
