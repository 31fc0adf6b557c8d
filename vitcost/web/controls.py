"""The controls of the page, one row each: a keyword of ``report``, its label, and its values."""

from collections.abc import Mapping
from html import escape
from typing import Any, NamedTuple

from vitcost.config.scenario import CHOICES, HELP

__all__ = ["CONTROLS", "FIRST", "LISTS", "Control", "form", "given"]


class Control(NamedTuple):
    """A control: a ``choice`` of values; a ``number`` with a slider from ``least`` to ``most``; or
    a ``text`` with completions. If it is empty, the library's default holds."""

    name: str
    label: str
    group: str
    kind: str = "choice"
    values: tuple[str, ...] = ()
    least: int = 0
    most: int = 0


MODEL, RUN, TRAINING, CARD = "Model", "How it runs", "Training", "Card"
CONTROLS = (
    Control("model", "model", MODEL, "text"),
    Control("other", "beside it", MODEL, "text"),
    Control("img_size", "image, px", MODEL, "number", (), 16, 1024),
    Control("num_classes", "classes", MODEL, "number", (), 0, 21843),
    Control("batch", "batch", RUN, "number", (), 1, 4096),
    Control("mode", "mode", RUN, values=CHOICES["mode"]),
    Control("precision", "precision", RUN, values=CHOICES["precision"]),
    Control("attention", "attention", RUN, values=CHOICES["attention"]),
    Control("lora", "LoRA rank", RUN, "number", (), 0, 64),
    Control("ranks", "ranks", RUN, "number", (), 1, 64),
    Control("optimizer", "optimizer", TRAINING, values=CHOICES["optimizer"]),
    Control(
        "checkpointing",
        "checkpointing",
        TRAINING,
        "text",
        ("none", "selective", "block", "every:2", "first:6", "last:6"),
    ),
    Control(
        "freeze",
        "freeze",
        TRAINING,
        "text",
        ("none", "backbone", "first:6", "all-but-last:2", "all"),
    ),
    Control("accumulate", "accumulate", TRAINING, "number", (), 1, 64),
    Control("zero", "ZeRO stage", TRAINING, values=("0", "1", "2", "3")),
    Control("gpu", "card, or your own", CARD, "text"),
)
_BY_NAME = {control.name: control for control in CONTROLS}
# the question of a page that is opened without one
FIRST: Mapping[str, str] = {
    "model": "vit_base_patch16_224",
    "batch": "64",
    "mode": "train",
    "precision": "amp-bf16",
    "gpu": "rtx4090",
}
_HELP = {
    **HELP,
    "model": "a name, or a file that is dropped on the page",
    "other": "a second model, for a comparison side by side",
    "img_size": "side of the image that the model is built for",
    "num_classes": "outputs of the head",
    "gpu": "a name, or figures: mine,memory_gb=24,bandwidth_gbps=300,bf16_tflops=60",
}
# the values that an empty number field and its slider show
_DEFAULTS = {"batch": "1", "accumulate": "1", "ranks": "1"}
# lists that complete a text; the page fills them with names
LISTS = {"model": "models", "other": "models", "gpu": "cards"}


def given(question: Mapping[str, str]) -> dict[str, Any]:
    """The keywords of ``report`` in a question: whole numbers as numbers, a size as its sides, all
    else as text, which the library checks.

    >>> given({"model": "gpt2", "batch": "8", "img_size": "384x256", "lora": "", "zero": "one"})
    {'batch': 8, 'img_size': (384, 256), 'zero': 'one'}
    """
    flags: dict[str, Any] = {}
    for name, text in question.items():
        if name in ("model", "other") or not text.strip():
            continue
        control = _BY_NAME.get(name)
        value: Any = text.strip()
        if control is None or control.kind == "number" or name == "zero":
            value = _number(value)
        flags[name] = value
    return flags


def _number(text: str) -> Any:
    sides = text.split("x") if text[:1].isdecimal() else [text]
    if not all(side.isascii() and side.isdecimal() and len(side) < 20 for side in sides):
        return text
    return int(text) if len(sides) == 1 else tuple(map(int, sides))


def form() -> str:
    """The controls as the fields of a form, group by group."""
    lines = []
    for group in dict.fromkeys(control.group for control in CONTROLS):
        of_step = ' id="training"' if group == TRAINING else ""
        lines.append(f"<fieldset{of_step}><legend>{group}</legend>")
        for control in CONTROLS:
            if control.group == group:
                lines += _field(control)
        lines.append("</fieldset>")
    return "\n".join(lines)


def _field(control: Control) -> list[str]:
    name, help_ = control.name, escape(_HELP.get(control.name, ""))
    lines = [f'<label for="{name}" title="{help_}">{control.label}</label>']
    common = f'id="{name}" name="{name}" title="{help_}"'
    first = FIRST.get(name, "")
    if control.kind == "choice":
        options = "".join(
            f"<option{' selected' if value == first else ''}>{value}</option>"
            for value in control.values
        )
        return [*lines, f"<select {common}>{options}</select>"]
    if control.kind == "number":
        hint = escape(_DEFAULTS.get(name, "its own" if control.group == MODEL else "0"))
        return [
            *lines,
            f'<span class="slide"><input {common} type="text" inputmode="numeric" value="{first}"'
            f' placeholder="{hint}" autocomplete="off">'
            f'<input type="range" data-of="{name}" aria-label="{control.label}" '
            f'min="{control.least}" max="{control.most}"></span>',
        ]
    listed = LISTS.get(name, name)
    options = "".join(f"<option>{value}</option>" for value in control.values)
    completes = f'<datalist id="{listed}-list">{options}</datalist>' if name not in LISTS else ""
    return [
        *lines,
        f'<input {common} type="text" list="{listed}-list" value="{first}" autocomplete="off" '
        f'spellcheck="false">{completes}',
    ]
