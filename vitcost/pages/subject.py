"""The subject of a page in words: the model's changed fields, and flags that are not at their
defaults."""

from collections.abc import Iterator, Mapping
from typing import Any

from vitcost.config.scenario import PRECISIONS, Scenario
from vitcost.page import shown
from vitcost.zoo import Resolved

__all__ = ["of_inputs", "of_model", "of_scenario", "precision_of"]


def of_model(model: Resolved) -> str:
    """A model by its name and its changed fields.

    >>> from vitcost.zoo import resolve
    >>> of_model(resolve("vit_base_patch16_224", depth=13, num_classes=1000))
    'vit_base_patch16_224 with depth 13 (not 12)'
    """
    changes = ", ".join(_field(*each) for each in model.changed)
    return f"{model.name} with {changes}" if changes else model.name


def _field(name: str, value: Any, default: Any) -> str:
    return f"{name} {_spelled(value)}" + ("" if default is None else f" (not {_spelled(default)})")


def _spelled(value: Any) -> str:
    """A value as a person types it; a square by one side."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple | list):
        sides = [str(each) for each in value]
        return sides[0] if len(set(sides)) == 1 else "x".join(sides)
    return str(value)


def of_inputs(model: Resolved) -> Iterator[str]:
    """The image and the text that a model reads; empty for a traced model, which describes its
    inputs itself."""
    config: Any = model.config
    vision, text = getattr(config, "vision", config), getattr(config, "text", config)
    size = getattr(vision, "input_size", None) or getattr(vision, "img_size", None)
    if size is not None:
        image = tuple(size)
        yield f"{image[0]} px" if len(set(image)) == 1 else f"{shown(image)} px"
    length = getattr(text, "seq_len", None)
    if length is not None:
        yield f"{length:,} tokens of text"


def precision_of(scenario: Scenario) -> str:
    """The precision; for half precision throughout, that optimizer states have it too.

    >>> precision_of(Scenario(precision="bf16", mode="train")), precision_of(Scenario())
    ('bf16 throughout, states included', 'fp32')
    """
    half = PRECISIONS[scenario.precision].engine == "half"
    if scenario.sharded_in_fp32:
        return f"{scenario.precision}, shards and states in fp32"
    if half and scenario.recipe == "torch" and scenario.mode == "train":
        return f"{scenario.precision} throughout, states included"
    return scenario.precision


# flags that are described elsewhere in words, or not at all
_SAID = ("batch", "precision", "mode", "ranks", "zero")
_MODES: Mapping[str, str] = {"infer": "inference", "train": "training"}


def of_scenario(
    scenario: Scenario, *, batch: bool = True, precision: bool = True, mode: bool = True
) -> Iterator[str]:
    """Batch, precision and mode, and every flag that is not at its default.

    >>> ", ".join(of_scenario(Scenario(batch=8, mode="train", ema=1, ranks=4, zero=1)))
    'batch 8, fp32, training, ema 1, zero 1 on 4 ranks'
    """
    if batch:
        yield f"batch {scenario.batch:,}"
    if precision:
        yield precision_of(scenario)
    if mode:
        yield _MODES[scenario.mode]
    plain = Scenario()
    for name in Scenario.__dataclass_fields__:
        value = getattr(scenario, name)
        if name in _SAID or value == getattr(plain, name):
            continue
        yield name.replace("_", " ") if value is True else f"{name.replace('_', ' ')} {value}"
    if scenario.ranks > 1:
        yield f"zero {scenario.zero} on {scenario.ranks:,} ranks"
