"""The flags that commands share, generated from the tables of the library."""

from collections.abc import Iterable, Sequence
from dataclasses import Field as DataclassField
from dataclasses import fields
from typing import Any

import click

from vitcost.cli.command import Flag, Option, options
from vitcost.cli.flag_values import FILE, SWITCH, FieldValue, Gpu, ModelName, Whole, Words
from vitcost.config.fields import Field, Pair
from vitcost.config.scenario import CHOICES, HELP, Scenario
from vitcost.config.vit_config import FIELDS, RATIOS
from vitcost.errors import ConfigError

__all__ = [
    "GPU_FILE",
    "PRICE",
    "QUIET",
    "RESERVE",
    "field_options",
    "gpu_options",
    "measured_options",
    "model_options",
    "one_model",
    "precision_option",
    "scenario_options",
    "some_models",
]

_SHORT = {"batch": ("-b",)}
# the sections in which flags of a scenario are listed; a flag without a row is in the first
_HOW, _TRAINS, _SHARED = "How it runs", "How it trains", "On several cards"
_SECTIONS = {
    **dict.fromkeys(("ranks", "zero", "buckets", "gather"), _SHARED),
    **dict.fromkeys(
        ("optimizer", "checkpointing", "freeze", "lora", "lora_layers", "recipe", "ema",
         "ema_dtype", "ema_device", "optimizer_in_backward", "accumulate", "zero_grad",
         "grad_scaler"),
        _TRAINS,
    ),
}  # fmt: skip
# flags that few users need; only the whole help has them
_RARE = (
    "platform", "lora_layers", "recipe", "layout", "compile", "software", "buckets", "zero_grad",
    "ema_dtype", "ema_device", "optimizer_in_backward", "grad_scaler", "gather",
)  # fmt: skip
_TEXT_SECTION = "Fields of a model that reads text"


# flags that several commands have
RESERVE: Flag = (
    "--reserve",
    "kept free beside tensors; 0: nothing  [default: auto]",
    {"metavar": "auto|BYTES|X%"},
)
PRICE: Flag = (
    "--price",
    "of a card and hour: 2.5, CARD=2.5/h, FILE.toml; again for each",
    {"metavar": "CARD=X/h|FILE", "multiple": True},
)
QUIET: Flag = "-q --quiet", "names alone, one a line", SWITCH
GPU_FILE: Flag = (
    "--gpu-file",
    "your own cards  [default: pyproject.toml]",
    {**FILE, "multiple": True},
)
_TOWER: Flag = (
    "--tower",
    "one tower of a model of two, as NAME:vision and NAME:text are",
    {"type": Words(("vision", "text")), "metavar": "vision|text", "passed": True},
)
# flags for the cards of a question, and for the user's facts about cards
_GPU: tuple[Flag, ...] = (
    (
        "-g --gpu",
        "a card, of `vitcost gpus` or your own; figures in place of its own behind commas: "
        "l4,power_w=60",
        {"type": Gpu(), "metavar": "NAME"},
    ),
    (
        "--gpu-file",
        "your own cards, [gpu.NAME]  [default: pyproject.toml, [tool.vitcost.gpu.NAME]]",
        {**FILE, "rare": True},
    ),
    ("--calibration", "constants that `vitcost calibrate` wrote", {**FILE, "rare": True}),
    (
        "--anchor",
        "measured speed of the card, in this scenario",
        {"type": Words(), "metavar": "MODEL=IMG_PER_S", "rare": True},
    ),
)
# flags for the inputs and the loss of a traced module
_FED: tuple[Flag, ...] = (
    (
        "--input",
        "an input without the batch: 3x224x224, ids=77:int64; again for each",
        {"multiple": True, "metavar": "[NAME=]SHAPE[:DTYPE]"},
    ),
    (
        "--loss",
        "a function of the output, or of output and batch, to one number",
        {"metavar": "MODULE:FUNCTION"},
    ),
)


def model_options(*, many: bool = False) -> list[click.Parameter]:
    """MODEL, or --model MODEL."""
    name, typed = ModelName(), {"type": ModelName(), "multiple": many}
    option: Flag = "--model model_option", "instead of the argument", typed
    return [
        click.Argument(["model"], required=False, type=name, nargs=-1 if many else 1),
        *options([option, _TOWER], rare=True),
    ]


def one_model() -> str:
    """The model of the running command: an argument or ``--model``, not both."""
    params = click.get_current_context().params
    argument, option = params["model"], params["model_option"]
    if argument is not None and option is not None:
        raise click.UsageError(f"two models given, {option!r} and {argument!r}")
    model: str | None = argument if option is None else option
    if model is None:
        raise click.UsageError("no MODEL given; `vitcost models` lists them")
    return model


def some_models(*, required: bool = True) -> list[str]:
    """The models of the running command, if it takes several."""
    params = click.get_current_context().params
    models = [*params["model_option"], *params["model"]]
    if required and not models:
        raise click.UsageError("no MODEL given; `vitcost models` lists them")
    return models


def scenario_options(
    only: Iterable[str] | None = None, *, without: Iterable[str] = ()
) -> list[click.Parameter]:
    """A flag for each field of the scenario: for all, for some, or for all but some."""
    names = {field.name for field in fields(Scenario)} if only is None else {*only}
    names -= {*without}
    return [_scenario_option(field) for field in fields(Scenario) if field.name in names]


def _scenario_option(field: "DataclassField[Any]") -> Option:
    flags, words = [*_SHORT.get(field.name, ()), _flag(field.name)], HELP.get(field.name, "")
    how: dict[str, Any] = {
        "section": _SECTIONS.get(field.name, _HOW),
        "rare": field.name in _RARE,
    }
    if field.type is bool:
        return Option(flags, is_flag=True, help=words, passed=True, **how)
    default = f"  [default: {field.default}]" if field.default != "" else ""
    if field.type is int:
        return _worded(flags, Whole(), "N", words, default, **how)
    choices = Words(CHOICES.get(field.name, ()))
    return _worded(flags, choices, "NAME", words, default, **how)


def precision_option() -> click.Parameter:
    """--precision for a question about cards; by default each card has its own precision."""
    from vitcost.hardware.default_precision import AUTOMATIC

    return _worded(
        ["--precision"],
        Words(AUTOMATIC),
        "NAME",
        "auto is bf16 where a card has it, fp16 where it has that alone, else fp32; in training "
        "under autocast",
        "  [default: auto]",
        section=_HOW,
    )


def gpu_options(
    only: Iterable[str] | None = None, section: str = "Time on a card"
) -> list[click.Parameter]:
    """Flags for the cards of a question and for the user's facts about them, or some of these
    flags."""
    flags = [row for row in _GPU if only is None or row[0].split()[-1] in only]
    return options(flags, section=section, passed=True, multiple=True)


def field_options() -> list[click.Parameter]:
    """A flag for each field of a config, including the fields of text models."""
    from vitcost.config.text_config import TEXT_FIELDS

    ratio: tuple[Any, Field] = (float, Field("ratio to embed_dim, in place of the width"))
    text = {name: declared for name, declared in TEXT_FIELDS.items() if name not in FIELDS}
    return [
        *options(_FED, section="Inputs and loss of a traced module", passed=True),
        *(_field_option(name, *declared) for name, declared in FIELDS.items()),
        *(_field_option(name, *ratio) for name in RATIOS),
        *(_field_option(name, *declared, _TEXT_SECTION) for name, declared in text.items()),
    ]


_METAVARS: dict[Any, str] = {
    Pair: "N|HxW", Pair | None: "N|HxW", str: "NAME", float: "X", float | None: "X",
}  # fmt: skip


def _field_option(
    name: str,
    kind: Any,
    field: Field,
    section: str = "Fields of the model, in place of the model's own",
) -> Option:
    if kind in (bool, bool | None):
        flags = f"{_flag(name)}/{_flag(f'no_{name}')}"
        return Option([flags], default=None, help=field.help, section=section, passed=True)
    metavar, value = _METAVARS.get(kind, "N"), FieldValue(name, kind, field)
    return _worded([_flag(name)], value, metavar, field.help, section=section)


def _worded(
    flags: list[str], kind: Words, metavar: str, help: str, default: str = "", **how: Any
) -> Option:
    """A passed option that shows its choices, next to the flag if they are short."""
    joined = "|".join(kind.known)
    short = joined if len(joined) <= 24 else ""
    words = () if short else kind.known
    listed = f": {', '.join(word or repr(word) for word in words)}" if words else ""
    text = help + listed + default
    return Option(
        flags, type=kind, metavar=short or metavar, help=text, passed=True, words=words, **how
    )


def _one_card(ctx: click.Context, param: click.Parameter, names: Sequence[str]) -> str | None:
    # commands that take several models have another function
    if len(names) > 1:
        raise ConfigError(f"measurements are of one card, got {', '.join(names)}")
    return names[0] if names else None


def measured_options(section: str = "Facts that the files do not state") -> list[click.Parameter]:
    """Options that hold for all rows of files of measurements."""
    scenario: list[Flag] = [
        (
            _flag(name),
            HELP[name].partition(":")[0].partition("  [")[0],
            SWITCH
            if name == "compile"
            else {"type": Words(CHOICES.get(name, ())), "metavar": "NAME"},
        )
        for name in ("mode", "precision", "optimizer", "layout", "compile", "software")
    ]
    how = {"type": Gpu(), "metavar": "NAME", "multiple": True, "callback": _one_card}
    card: Flag = "-g --gpu", "a card", how
    flags = [card, *scenario, GPU_FILE]
    return options(flags, section=section, passed=True, default=None)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
