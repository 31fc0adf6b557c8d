"""The flags of a scenario, and how each command uses them: one row for each flag.

The command line and the library read the same table, so a flag means the same in both.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from vitcost.config.records import Record
from vitcost.config.scenario import Scenario
from vitcost.errors import ConfigError, NotCovered

__all__ = [
    "FLAGS",
    "TAKES",
    "TRAINING",
    "Takes",
    "apart",
    "check_layout",
    "mode_of",
    "settled",
    "trained_aside",
]

# whether a flag changes a forward pass and a training step, only a step, or only a time
_BOTH, _STEP, _TIME = "both", "training", "time"
FLAGS: Mapping[str, str] = {
    "batch": _BOTH,
    "mode": _BOTH,
    "precision": _BOTH,
    "attention": _BOTH,
    "platform": _BOTH,
    "optimizer": _STEP,
    "checkpointing": _STEP,
    "freeze": _STEP,
    "lora": _BOTH,
    "lora_layers": _BOTH,
    "recipe": _STEP,
    "layout": _TIME,
    "compile": _TIME,
    "software": _TIME,
    "ranks": _BOTH,
    "zero": _STEP,
    "buckets": _STEP,
    "ema": _STEP,
    "accumulate": _STEP,
    "zero_grad": _STEP,
    "policy": _STEP,
    "ema_dtype": _STEP,
    "ema_device": _STEP,
    "optimizer_in_backward": _STEP,
    "grad_scaler": _STEP,
    "gather": _STEP,
}
TRAINING = tuple(flag for flag, of in FLAGS.items() if of == _STEP)


def apart(keywords: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Separates keywords into flags of the scenario and all others, such as fields of a config.

    >>> apart({"img_size": 384, "batch": 8})
    ({'batch': 8}, {'img_size': 384})
    """
    flags = {name: value for name, value in keywords.items() if name in FLAGS}
    return flags, {name: value for name, value in keywords.items() if name not in FLAGS}


class Takes(Record):
    """How a command uses a flag that only training has.

    ``implies`` says when such a flag makes the mode ``train``, if no mode is given: ``always``, or
    if a ``card`` is named. ``beside_infer`` says what happens to it beside an explicit ``infer``:
    it is ``refused``, or changes the ``training quantities`` that the answer also has.
    """

    implies: str
    beside_infer: str


# budget and explain have no row: their answers have training quantities in every mode
TAKES: Mapping[str, Takes] = {
    "report": Takes("card", "training quantities"),
    "compare": Takes("card", "training quantities"),
    "fit": Takes("always", "refused"),
}

_P = ParamSpec("_P")
_R = TypeVar("_R")


def settled(command: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Makes a command's function use the mode that its flags imply.

    >>> settled("fit")(dict)(ema=1)
    {'ema': 1, 'mode': 'train'}
    """

    def wrapped(function: Callable[_P, _R]) -> Callable[_P, _R]:
        @wraps(function)
        def call(*args: _P.args, **given: _P.kwargs) -> _R:
            given.update(mode_of(command, given))
            return function(*args, **given)

        return call

    return wrapped


def mode_of(command: str, keywords: Mapping[str, object]) -> dict[str, str]:
    """The mode that a command's keywords imply; empty if a mode is given, or if none is implied.

    Raises ``ConfigError`` for a flag of training beside an explicit ``infer``, if the command has
    no training quantities.

    >>> mode_of("fit", {"ema": 1}), mode_of("report", {"ema": 1})
    ({'mode': 'train'}, {})
    >>> mode_of("report", {"ema": 1, "gpu": "l4"}), mode_of("fit", {"lora": 8})
    ({'mode': 'train'}, {})
    """
    takes, mode = TAKES[command], keywords.get("mode")
    asked = [flag for flag in TRAINING if keywords.get(flag) is not None]
    if not asked:
        return {}
    if mode is None:
        card = bool(keywords.get("gpu"))
        return {"mode": "train"} if takes.implies == "always" or card else {}
    if mode == "infer" and takes.beside_infer == "refused":
        raise ConfigError(
            f"{asked[0]} belongs to a training step, and mode infer has none: leave one of them out"
        )
    return {}


def check_layout(config: object, scenario: Scenario) -> None:
    """Refuses channels last for a hybrid, since no formula knows those bytes: its convolutional
    backbone makes other copies then. A patch embedding has the same bytes in both layouts.

    >>> from vitcost.zoo import resolve
    >>> check_layout(resolve("vit_base_patch16_224").config, Scenario(layout="nhwc"))
    >>> check_layout(resolve("vit_base_r50_s16_224").config, Scenario(layout="nhwc"))
    Traceback (most recent call last):
    vitcost.errors.NotCovered: the bytes that a convolutional backbone keeps in layout ...
    """
    if scenario.layout != "nchw" and hasattr(config, "workload"):
        raise NotCovered(
            f"a traced module in layout {scenario.layout} is not covered: give layout nchw"
        )
    vision = getattr(config, "vision", config)
    if scenario.layout != "nchw" and getattr(vision, "backbone", None):
        raise NotCovered(
            f"the bytes that a convolutional backbone keeps in layout {scenario.layout} are not "
            "covered: give layout nchw"
        )


def trained_aside(scenario: Scenario) -> tuple[str, ...]:
    """The flags of training in a scenario of inference: they change only its training quantities.

    >>> trained_aside(Scenario(ema=1)), trained_aside(Scenario(ema=1, mode="train"))
    (('ema',), ())
    """
    if scenario.mode == "train":
        return ()
    plain = Scenario()
    return tuple(flag for flag in TRAINING if getattr(scenario, flag) != getattr(plain, flag))
