"""The tables of timm's architectures against an installed timm: rows that differ, and new ones.

``python tests/bench/timm_tables.py`` prints it, with a row to paste for every new name; exit code
1 says that there is something. No model is built: timm's entry points are stopped where they would,
and the arguments that they would build it with are compared, as configs.
"""

import sys
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple
from unittest.mock import patch

from vitcost.check.installed import timm
from vitcost.config.backbones import BACKBONES
from vitcost.config.vit_config import ViTConfig
from vitcost.errors import VitcostError
from vitcost.zoo import resolve
from vitcost.zoo import timm as zoo
from vitcost.zoo.read_backbones import row_of
from vitcost.zoo.timm.args import CLASSES, fields_of

__all__ = ["Difference", "Entry", "differences", "entries", "main"]

# where timm registers models of the classes that the tables cover
_MODULES = ("vision_transformer", "vision_transformer_hybrid", "vitamin", "deit", "eva", "beit")
# values that the tables have by name, and timm by class
_LAYERS = {
    "LayerNorm": "layernorm",
    "RmsNorm": "rmsnorm",
    "GELU": "gelu",
    "GELUTanh": "gelu_tanh",
    "QuickGELU": "quick_gelu",
    "SiLU": "silu",
    "ReLU": "relu",
}
# arguments of timm's builder itself
_BUILDER = ("pretrained_filter_fn", "pretrained_strict", "feature_cfg")
# arguments put on top of a row and of timm's call, whose results must be equal
_OVERRIDES: tuple[Mapping[str, Any], ...] = (
    {},
    {"embed_dim": 1920, "num_heads": 24},
    {"global_pool": "avg"},
    {"global_pool": "token", "class_token": True},
    {"global_pool": "", "num_classes": 0},
)


class Entry(NamedTuple):
    """A timm architecture: its class, the arguments it is built with, the classes of each tag."""

    model_class: str
    kwargs: Mapping[str, Any]
    tags: Mapping[str, int]


class Difference(NamedTuple):
    """A name about which the tables and timm do not agree."""

    name: str
    what: str


class _Stop(Exception):
    """Carries the arguments out of an entry point."""


def entries() -> dict[str, Entry]:
    """Every architecture of the covered classes in the installed timm."""
    timm()
    registry = import_module("timm.models._registry")
    entries_by_name = {}
    for module_name in _MODULES:
        module = import_module(f"timm.models.{module_name}")
        for name in sorted(
            registry._module_to_models[module_name] - {*registry._deprecated_models}
        ):
            stopped = _built_with(module, registry._model_entrypoints[name])
            if stopped is not None:
                entries_by_name[name] = _entry(registry, name, *stopped)
    return entries_by_name


def _built_with(module: Any, entrypoint: Any) -> tuple[str, dict[str, Any]] | None:
    """The class and the arguments that an entry point hands to timm's builder.

    The backbone of a hybrid is built before, on meta.
    """
    torch = import_module("torch")

    def stop(model_class: type, *_: Any, **kwargs: Any) -> None:
        raise _Stop(model_class.__name__, kwargs)

    with patch.object(module, "build_model_with_cfg", stop), torch.device("meta"):
        try:
            entrypoint()
        except _Stop as stopped:
            model_class, kwargs = stopped.args
            return (model_class, kwargs) if model_class in CLASSES else None
    return None


def _entry(registry: Any, name: str, model_class: str, kwargs: dict[str, Any]) -> Entry:
    cfgs = {
        full.partition(".")[2]: registry._model_pretrained_cfgs[full]
        for full in registry._model_with_tags[name]
    }
    default = next(iter(cfgs.values()))
    for tag, cfg in cfgs.items():
        same = (cfg.input_size, cfg.fixed_input_size)
        if same != (default.input_size, default.fixed_input_size):
            raise NotImplementedError(f"{name}.{tag} differs in more than its classes: {same}")
    # timm sets these alone from the description of the weights
    filled: dict[str, Any] = {"in_chans": default.input_size[0]}
    if default.fixed_input_size:
        filled["img_size"] = default.input_size[1:]
    fields = {key: _name(value) for key, value in kwargs.items() if key not in _BUILDER}
    if isinstance(kwargs.get("embed_layer"), partial):
        fields.update(embed_layer=None, backbone=_backbone(**kwargs["embed_layer"].keywords))
    classes = {tag: cfg.num_classes for tag, cfg in cfgs.items() if tag}
    return Entry(model_class, {**filled, **fields}, classes)


def _backbone(backbone: Any, proj: bool = True) -> str:
    """The network of a hybrid by its name in the tables."""
    name = row_of(backbone, in_chans=3)
    if BACKBONES[name].projected != proj:
        raise NotImplementedError(f"backbone {name} has proj={proj}")
    return name


def _name(value: Any) -> Any:
    """A layer by its name, as the tables have it."""
    if isinstance(value, partial):
        name = _name(value.func)
        return "SwiGLUPacked" if value.keywords.get("gate_last") is False else name
    if isinstance(value, type):
        return _LAYERS.get(value.__name__, value.__name__)
    return value


def differences() -> Iterator[Difference]:
    """Rows of the tables that differ from the installed timm, and rows that they lack."""
    current = entries()
    for name in sorted({*current, *zoo.names()}):
        if name not in current:
            yield Difference(name, "not in the installed timm")
        elif zoo.lookup(name) is None:
            yield Difference(name, f"new: {_row(current[name])}")
        else:
            yield from _compared(name, current[name])


def _compared(name: str, entry: Entry) -> Iterator[Difference]:
    for override in _OVERRIDES:
        ours = _config(lambda override=override: _ours(name, **override))
        theirs = _config(
            lambda override=override: ViTConfig(
                **fields_of(entry.model_class, {**entry.kwargs, **override})
            )
        )
        if ours != theirs:
            yield Difference(name, f"with {dict(override)}: {_apart(ours, theirs)}")
    ours_by_tag = {tag: _ours(f"{name}.{tag}").num_classes for tag in zoo.tags(name)}
    if ours_by_tag != dict(entry.tags):
        yield Difference(name, f"tags: {ours_by_tag}, timm has {dict(entry.tags)}")


def _ours(name: str, **override: Any) -> ViTConfig:
    """The model of a name as a user types it."""
    config = resolve(name, **override).config
    assert isinstance(config, ViTConfig), name
    return config


def _config(make: Any) -> ViTConfig | str:
    """A config, or None where the call must be refused on both sides."""
    try:
        config: ViTConfig = make()
    except VitcostError:
        return "refused"
    return config


def _apart(ours: ViTConfig | str, theirs: ViTConfig | str) -> str:
    if isinstance(ours, str) or isinstance(theirs, str):
        return f"{ours}, timm: {theirs}"
    a, b = ours.to_dict(), theirs.to_dict()
    return ", ".join(f"{k}: {a[k]!r}, timm {b[k]!r}" for k in a if a[k] != b[k])


def _row(entry: Entry) -> str:
    """A row to paste, or the reason why a row cannot say it."""
    try:
        fields = fields_of(entry.model_class, entry.kwargs)
        ViTConfig(**fields)
    except VitcostError as error:
        return str(error)
    spelled = ", ".join(f"{key}={value!r}" for key, value in fields.items())
    return f"row(source, {spelled}), tags {dict(entry.tags)}"


def main() -> int:
    """Prints the differences; returns 1 if there are any."""
    changed = list(differences())
    for name, what in changed:
        sys.stdout.write(f"{name}: {what}\n")
    sys.stdout.write(
        f"timm {timm().__version__}, tables of {zoo.VERSION}: "
        f"{len(zoo.names())} names, {len(changed)} differences\n"
    )
    return 1 if changed else 0


if __name__ == "__main__":
    raise SystemExit(main())
