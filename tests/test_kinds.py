"""Every kind of op has a row, and every row an answer to every column."""

import pytest
from transformers.activations import ACT2FN

from vitcost.config.activations import ACTIVATIONS, Activation
from vitcost.engine.derivatives import GATHERED, RULES
from vitcost.engine.kinds import KINDS, Kind, Kinds

AUTOCAST = ("half", "float", "keep", "widest", "promote")
VIEWS = ("", "whole", "part", "heads", "part heads")
LAYOUTS = ("keeps", "lays out", "turns", "in order", "view")
WORKS = ("linear", "conv", "product", "attention", "norm", "memory")
# kinds that no training step has as they are
WITHOUT_GRADIENT = {"affine", "cached", "checkpoint", "cross entropy", "fill"}


@pytest.mark.parametrize("name", KINDS)
def test_a_row_answers_every_column(name: str) -> None:
    row = KINDS[name]
    allowed = {
        "name": row.name == name,
        "reads": bool(row.reads) and all(0 <= n <= 5 for n in row.reads),
        "pointwise": row.pointwise in (0, 1),
        "autocast": row.autocast in AUTOCAST,
        "on_cpu": row.on_cpu in AUTOCAST,
        "saves": set(row.saves) <= set("xnwyomdibksgcr"),
        "gradient": row.gradient in {*RULES, *GATHERED} or name in WITHOUT_GRADIENT,
        "view": row.view in VIEWS,
        "layout": row.layout in LAYOUTS and (row.layout == "view") == (row.view != ""),
        "work": row.work in WORKS,
        "back": row.back in ("kernel", "passes"),
        "widens": set(row.widens) <= {"fp16", "bf16"},
        # autograd would find another tensor in the place of one that it kept
        "overwrites": not (row.overwrites and set(row.saves) & set("xon")),
    }
    assert set(allowed) == set(Kind._fields)
    wrong = [f"{name}: {column} is {getattr(row, column)!r}" for column in allowed
             if not allowed[column]]  # fmt: skip
    assert wrong == []


def test_no_column_has_a_default_that_a_new_row_forgets() -> None:
    assert set(Kind._field_defaults) == {"widens", "overwrites"}
    with pytest.raises(TypeError, match="'layout', 'work', 'back'"):
        Kind("mish", (1,), 1, "keep", "keep", "x", "each", "")  # type: ignore[call-arg]


def test_gaps_and_duplicates_are_refused_by_name() -> None:
    with pytest.raises(LookupError, match="two rows for op kind 'relu'"):
        Kinds([KINDS["gelu"], KINDS["relu"], KINDS["relu"]])
    with pytest.raises(LookupError, match="op kind 'mish' has no row"):
        KINDS["mish"]


def test_a_rule_of_gradients_is_some_kinds() -> None:
    assert {row.gradient for row in KINDS.values()} == {"", *RULES, *GATHERED}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_answers_every_column(name: str) -> None:
    row = ACTIVATIONS[name]
    allowed = {
        "module": row.module.isidentifier(),
        # one that is written out is of kinds that are there
        "kind": row.kind in KINDS or row.kind == "",
        "saves": row.saves == (KINDS[row.kind].saves if row.kind else ""),
        "classes": all("." in path for path in row.classes) and row.classes != (),
        # empty where transformers has no such activation
        "hidden_act": set(row.hidden_act) <= ACT2FN.keys(),
    }
    assert set(allowed) == set(Activation._fields)
    assert [f"{name}: {column}" for column in allowed if not allowed[column]] == []
