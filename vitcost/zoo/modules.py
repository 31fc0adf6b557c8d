"""The user's own code: a torch module, or the factory that builds one."""

import re
import sys
from ast import Call, Name, literal_eval, parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import partial
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from vitcost.config.scenario import Scenario
from vitcost.config.vit_config import ViTConfig, configure
from vitcost.engine.model import built_alike
from vitcost.engine.workload import workload
from vitcost.errors import ConfigError, MissingExtra, NotCovered, shown
from vitcost.outside.users_code import users_code
from vitcost.zoo.alterations import need_alike, need_slots, need_unchanged
from vitcost.zoo.families import FAMILIES
from vitcost.zoo.huggingface import of_class
from vitcost.zoo.module_flags import flags_of
from vitcost.zoo.read_layers import name_of
from vitcost.zoo.readers import READERS
from vitcost.zoo.resolved import Resolved
from vitcost.zoo.tracing import Built, of_module, on_meta

if TYPE_CHECKING:
    from torch import nn

    from vitcost.engine.model import Config

__all__ = ["build", "from_torch", "function", "is_factory", "of_factory", "traced"]

Size: TypeAlias = int | tuple[int, int]

_HARMLESS = {"__module__", "__qualname__", "__doc__", "__init__", "__annotations__",
             "__firstlineno__", "__static_attributes__", "__parameters__"}  # fmt: skip


@users_code("reading the module")
def from_torch(
    module: "nn.Module",
    *,
    name: str = "",
    inputs: Any = None,
    loss: Any = None,
    img_size: Size | None = None,
    in_chans: int | None = None,
) -> Resolved:
    """A torch module as a model: with a formula if it is a Vision Transformer of a known class.

    timm's VisionTransformer, VisionTransformerDistilled, Eva and Beit, transformers' ViTs and
    torchvision's are read back from their attributes, and the number of parameters must agree. The
    module's own type, attention, checkpointing and frozen parameters become flags of every
    scenario. A module with a replaced method, a registered hook or a removed submodule has no
    formula. Any other module is traced when numbers are asked for, and so is a module with
    ``inputs`` (shapes without the batch, a callable of the batch, or example tensors) or a
    ``loss``; it is traced on images of ``img_size`` with ``in_chans`` channels, or on the inputs
    that it declares.

    Raises ``ConfigError`` for an image that the module does not accept.

    >>> import torch
    >>> from vitcost.check.reference import build
    >>> with torch.device("meta"):
    ...     model = build(ViTConfig(depth=2, num_classes=5))
    >>> from_torch(model).config.depth
    2
    """
    if not hasattr(module, "named_parameters"):
        raise ConfigError(f"a torch.nn.Module is needed, got {shown(module)}")
    kind = name_of(module)
    if kind.startswith("torch.jit."):
        raise NotCovered(f"{kind}: TorchScript hides its forward; give the module it was made of")
    if kind == "torch._dynamo.eval_frame.OptimizedModule" and inputs is None and loss is None:
        inner: Any = module._orig_mod
        resolved = from_torch(inner, name=name, img_size=img_size, in_chans=in_chans)
        if not hasattr(resolved.config, "workload"):
            flags = {**resolved.flags, "compile": True}
            return resolved._replace(source=f"{resolved.source}; torch.compile", flags=flags)
    called = name or type(module).__name__
    if inputs is not None or loss is not None:
        options = {"given": inputs, "loss": loss, "found": function}
        return of_module(Built(module), called, kind, "with inputs or a loss of its own", **options)
    images = {"img_size": img_size, "in_chans": in_chans}
    images = {field: value for field, value in images.items() if value is not None}
    try:
        need_unchanged(module)
        config = _understood(module)
        _add_up(module, config)
        flags = flags_of(module, partial(_trained, config))
    except (NotCovered, ConfigError) as error:
        resolved = of_module(Built(module), called, kind, str(error), found=function)
        traced: Any = resolved.config
        return resolved._replace(config=traced.with_fields(images))
    config = _fed(config, images)
    own_flags = "".join(f"; its own {flag}: {value}" for flag, value in flags.items())
    return Resolved(called, f"a torch module, {kind}{own_flags}", config, flags)


_MOST_LETTERS = 1000
_FACTORY = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*):([A-Za-z_]\w*(?:\.\w+)*)(\(.*\))?", re.DOTALL)


def is_factory(model: str) -> bool:
    """Whether a model is spelled ``package.module:factory``, with or without keyword arguments.

    >>> is_factory("my.models:build(img_size=384)"), is_factory("vit_base_patch16_224")
    (True, False)
    """
    return _FACTORY.fullmatch(model) is not None


def of_factory(model: str) -> Resolved:
    """The model that a factory builds: with a formula if one describes it, else traced."""
    built = _built(model)
    if built.beside is None:
        resolved = from_torch(built.module, name=model)
        if not hasattr(resolved.config, "workload"):
            return resolved
        reason = resolved.source.partition(", traced: ")[2]
    else:
        reason = "with inputs of its own"
    return of_module(built, model, name_of(built.module), reason, found=function)


def traced(model: str, input: Any = None, loss: Any = None) -> Resolved:
    """The model that a factory builds, traced with these inputs and this loss."""
    built, reason = _built(model), "with inputs or a loss of its own"
    options = {"given": input, "loss": loss, "found": function}
    return of_module(built, model, name_of(built.module), reason, **options)


def build(model: str) -> "nn.Module":
    """The module of ``package.module:factory``: built on the meta device, where nothing is
    allocated, or on the CPU if that fails.

    The current directory is searched first, as ``python -m`` does. Output of the code goes to
    stderr. Raises ``ConfigError`` with the error of the code.
    """
    return _built(model).module


def function(name: str) -> Any:
    """The callable that ``package.module:function`` names."""
    match = _FACTORY.fullmatch(name)
    if match is None or match[3]:
        raise ConfigError(f"a loss is package.module:function, got {shown(name)}")
    value = _named(name, match[1], match[2])
    if not callable(value):
        raise ConfigError(f"{name}: {match[2]} is {shown(value)}, which cannot be called")
    return value


def _built(model: str) -> Built:
    match = _FACTORY.fullmatch(model)
    assert match is not None, model
    path, attribute, arguments = match[1], match[2], match[3]
    if len(model) > _MOST_LETTERS:
        raise ConfigError(f"a factory of more than {_MOST_LETTERS:,} letters: {shown(model)}")
    keywords = _literals(model, arguments) if arguments else {}
    value = _named(model, path, attribute)
    import torch

    if isinstance(value, torch.nn.Module):
        if arguments:
            raise ConfigError(f"{model}: {attribute} is a module, which takes no arguments")
        return Built(value)
    if not callable(value):
        raise ConfigError(f"{model}: {attribute} is {shown(value)}, which cannot be called")
    with _imports_here():
        return on_meta(partial(value, **keywords), model, attribute)


def _named(model: str, path: str, attribute: str) -> Any:
    """The object at an attribute of the user's module."""
    try:
        import_module("torch")
    except ImportError:
        raise MissingExtra("torch", "torch", "a model from code") from None
    with _imports_here(), users_code(f"{model}: importing {path}"):
        value: Any = import_module(path)
    for part in attribute.split("."):
        with users_code(f"{model}: looking for {attribute}"):
            if not hasattr(value, part):
                raise ConfigError(f"{model}: {path} has no {attribute}")
            value = getattr(value, part)
    return value


def _literals(model: str, arguments: str) -> dict[str, Any]:
    """Keyword arguments, which must be literal values."""
    wrong = f"{shown(model)}: arguments are keywords with literal values, as in (img_size=384)"
    try:
        call = parse(f"f{arguments}", mode="eval").body
        if not isinstance(call, Call) or call.args or not isinstance(call.func, Name):
            raise ConfigError(wrong)
        return {str(k.arg): literal_eval(k.value) for k in call.keywords if k.arg or _no_stars()}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ConfigError(wrong) from None


def _no_stars() -> bool:
    raise ValueError("keywords alone")


@contextmanager
def _imports_here() -> Iterator[None]:
    """Lets Python import the user's code from the current directory first."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)


def _understood(module: "nn.Module") -> "Config":
    try:
        return _read(module)
    except (AttributeError, KeyError) as error:
        # an attribute is missing that a reader needs, or has a value that no table knows
        raise NotCovered(repr(error)) from None


def _read(module: "nn.Module") -> "Config":
    """The config of a module of a known class, or of a subclass that only sets a configuration."""
    for cls in type(module).__mro__:
        name = f"{cls.__module__}.{cls.__qualname__}"
        if name in READERS:
            need_slots(module)
            if name.startswith("torchvision."):
                need_alike(module, _torchvision_anew(cls, module), apart=("heads",))
            return _by_rule(configure(READERS[name](module)))
        if name.startswith("transformers.models."):
            config = _transformers(module, cls.__name__)
            need_alike(module, _anew(cls, module))
            return config
        if set(vars(cls)) - _HARMLESS:
            break
    raise NotCovered(f"{name_of(module)} has no formula here")


def _by_rule(config: ViTConfig) -> ViTConfig:
    """Drops fields that follow from the rules of timm's class, so that these rules still apply when
    other fields are replaced."""
    for name in ("patch_bias", "final_norm", "fc_norm"):
        ruled = configure(config, **{name: None})
        if built_alike(ruled, config):
            config = ruled
    return config


def _transformers(module: Any, name: str) -> "Config":
    """The config of a transformers model is complete, except for layers that the constructor call
    chose."""
    # keys that begin with an underscore say how the model runs, not its shape
    data = {k: v for k, v in module.config.to_dict().items() if not k.startswith("_")}
    for kind, family in FAMILIES.items():
        if name in family.classes:
            fields = of_class(kind, name, data).fields
            if hasattr(getattr(module, "embeddings", None), "mask_token"):
                fields["mask_token"] = module.embeddings.mask_token is not None
            if getattr(module, "pooler", module) is None:
                fields["representation_size"] = None
            return configure(fields)
    # imported only for models that read text
    from vitcost.zoo import huggingface_text as text

    kinds = [kind for kind, row in text.TEXTS.items() if name in row.classes]
    kinds += [kind for kind, row in text.PAIRS.items() if name == row.name]
    config = text.of_text_class(kinds[0], name, data).text if kinds else None
    if config is None:
        raise NotCovered(f"{name} of transformers has no formula here")
    return config


def _anew(cls: Any, module: Any) -> "nn.Module":
    """The module that a transformers config builds, with the layers that the constructor call
    chose."""
    chosen = {
        "add_pooling_layer": getattr(module, "pooler", None) is not None,
        "use_mask_token": getattr(getattr(module, "embeddings", None), "mask_token", None)
        is not None,
    }
    parameters = signature(cls.__init__).parameters
    kwargs = {name: value for name, value in chosen.items() if name in parameters}
    return _on_meta(partial(cls, deepcopy(module.config), **kwargs))


def _torchvision_anew(cls: Any, m: Any) -> "nn.Module":
    """The module that torchvision builds from the attributes of a given one."""
    names = (
        "image_size", "patch_size", "hidden_dim", "mlp_dim", "dropout", "attention_dropout",
        "num_classes", "representation_size", "norm_layer",
    )  # fmt: skip
    arguments = {name: getattr(m, name) for name in names}
    layers = list(m.encoder.layers)
    return _on_meta(
        partial(cls, num_layers=len(layers), num_heads=layers[0].num_heads, **arguments)
    )


def _on_meta(build: "Callable[[], nn.Module]") -> "nn.Module":
    import torch

    # the caller's random numbers are left as they were
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return build()


def _fed(config: "Config", images: Mapping[str, Any]) -> "Config":
    """The config of a module that is fed images of some size."""
    from vitcost.config.text_config import ClipConfig

    image = getattr(config, "vision", config)
    if not isinstance(image, ViTConfig):
        for name, value in images.items():
            raise ConfigError(f"{name} {value}: the module reads no images")
        return config
    in_chans = images.get("in_chans", image.in_chans)
    if in_chans != image.in_chans:
        raise ConfigError(f"in_chans {in_chans}: the module reads {image.in_chans} channels")
    if "img_size" not in images:
        return config
    fed = configure(image, input_size=images["img_size"])
    return replace(config, vision=fed) if isinstance(config, ClipConfig) else fed


def _add_up(module: "nn.Module", config: "Config") -> None:
    """Refuses a module whose parameters are not those of its formula."""
    params = workload(config, Scenario(mode="train")).rows().cost.params
    counted = sum(p.numel() for p in module.parameters())
    if counted != params:
        raise NotCovered(f"its {counted:,} parameters are not the {params:,} of the formula")


def _trained(config: "Config", freeze: str) -> int:
    """The names of the parameters that train in the formula."""
    return workload(config, Scenario(mode="train", freeze=freeze)).rows().cost.trainable
