"""From what a user types to a config: names, files and configs."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from vitcost.config import ViTConfig, configure
from vitcost.errors import ConfigError, NotCovered, UnknownName, VitcostError, shown
from vitcost.zoo.found import Base, Resolved

if TYPE_CHECKING:
    from vitcost.engine.model import Config
    from vitcost.text import ClipConfig, TextConfig
    from vitcost.zoo.keys import Described

__all__ = [
    "Base",
    "Model",
    "Resolved",
    "completed",
    "described",
    "is_rebuilt",
    "names",
    "resolve",
]


Model: TypeAlias = "str | ViTConfig | TextConfig | ClipConfig | Resolved | Base"


def resolve(model: Model, **overrides: Any) -> Resolved:
    """The config behind a name, a file, the user's code or a config, with any field put on top.

    Raises ``UnknownName`` with the nearest names, ``NotCovered`` for a model that exists but that
    no formula here describes, ``ConfigError`` for a field that cannot be.

    >>> resolve("vit_huge_patch14_224", num_classes=5).config.embed_dim
    1280
    >>> resolve("gpt2", seq_len=512).config.seq_len
    512
    """
    fed: dict[str, Any] = {
        name: overrides.pop(name) for name in ("input", "loss") if name in overrides
    }
    found = _fed(model, fed) if fed else described(model)
    given = completed(found, overrides)
    said = "".join(
        f"; {field}, for images of another size" for field in given if field in found.fed
    )
    source = found.source + ("" if given == overrides else said)
    return Resolved(found.name, source, _on_top(found.base, given), found.flags)


def completed(found: Base, overrides: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fields that are put on a model, with those that its library asks for beside them: where an
    ``input_size`` is not the size that the model is built for."""
    if not found.fed or "input_size" not in overrides:
        return overrides
    own = _on_top(found.base, {k: v for k, v in overrides.items() if k != "input_size"})
    config = _on_top(found.base, {**found.fed, **overrides})
    there = all(getattr(own, field) == getattr(config, field) for field in found.fed)
    if there or getattr(config, "input_size", None) is None:
        return overrides
    return {**found.fed, **overrides}


def is_rebuilt(name: str, img_size: "int | tuple[int, int]") -> bool:
    """Whether another ``img_size`` takes the position table away from a pretrained model that
    resamples it to each image.

    >>> is_rebuilt("facebook/dinov2-base", 224), is_rebuilt("vit_base_patch16_224", 384)
    (True, False)
    """
    from vitcost.zoo import aliases, timm

    bare = timm.RENAMED.get(name, name)
    if not (aliases.is_hub_id(name) or ("." in bare and timm.lookup(name) is not None)):
        return False
    config = resolve(name).config
    if not isinstance(config, ViTConfig) or config.pos_embed == "none":
        return False
    takes_any = config.dynamic_img_size or config.interpolate_pos_encoding != ""
    return takes_any and configure(config, img_size=img_size).img_size != config.img_size


def described(model: Model) -> Base:
    """What is known of a model before any field is put on top: a width given as a ratio is one."""
    if isinstance(model, Resolved):
        return Base(*model)
    if isinstance(model, Base):
        return model
    if not isinstance(model, str):
        if hasattr(model, "named_parameters"):
            raise ConfigError("a torch module is read by vitcost.from_torch(module)")
        # text models are loaded when one is asked for, and then they are there
        if not isinstance(model, ViTConfig) and type(model).__module__ != "vitcost.text":
            raise ConfigError(f"a model is a name, a path or a config, got {shown(model)}")
        return Base("custom", "config", model)
    if not model.strip():
        raise ConfigError(f"a model is a name, a path or a config, got {shown(model)}")
    row = _fields(model)
    if row is not None:
        return Base(model, *row, fed=_DYNAMIC)
    text = _text(model)
    if text is not None:
        return Base(model, *text)
    return _by_others(model)


# what timm's models take images of any size with
_DYNAMIC: Mapping[str, Any] = MappingProxyType({"dynamic_img_size": True})


def names() -> list[str]:
    """Every name that ``resolve`` knows, in order."""
    from vitcost.zoo import aliases, papers, text, timm

    ours = {*papers.MODELS, *timm.names(), *text.TEXT, *text.CLIP}
    return sorted({*ours, *aliases.names(ours)})


def _fields(name: str) -> tuple[str, dict[str, Any]] | None:
    """The source and fields of a ViT by its name."""
    # a table is loaded when a name asks for it
    from vitcost.zoo import papers, timm

    if name not in papers.MODELS:
        found = timm.lookup(name)
        return found and (found[0], {"scale_query": True, **found[1]})
    row = papers.MODELS[name]
    base = _fields(row.base)
    assert base is not None, f"{name} is a variant of {row.base}, which is not there"
    return row.source, {**base[1], **row.fields}


def _text(name: str) -> "tuple[str, TextConfig | ClipConfig] | None":
    """A text transformer or a model of two towers by its name."""
    from vitcost.zoo import text

    if name in text.TEXT:
        return text.TEXT[name].source, text.text_config(name)
    if name not in text.CLIP:
        return None
    row = text.CLIP[name]
    vision = _fields(row.vision)
    assert vision is not None, f"{name} has the image tower {row.vision}, which is not there"
    return row.source, text.clip_config(row, vision[1])


def _by_others(model: str) -> Base:
    """A model by somebody else's name, by a file, or by the user's code."""
    # each loader costs every start that loads it
    from vitcost.zoo import aliases

    row = aliases.lookup(model, _named)
    if row is None:
        from vitcost.zoo import files

        if files.is_path(model):
            found = _traced_file(model)
            if found is not None:
                return found
            row = files.described(model, _named)
    if row is not None:
        base = row.fields if row.text is None else row.text
        return Base(model, row.source, base, fed=row.fed)
    from vitcost.zoo import modules

    if modules.is_factory(model):
        return described(modules.of_factory(model))
    from vitcost.zoo import tracing
    from vitcost.zoo.timm.others import class_of

    traced = tracing.of_timm(model) if class_of(model) is not None else None
    if traced is None:
        raise _unknown(model)
    return Base(*traced)


def _traced_file(path: str) -> Base | None:
    """A trace, or a model of transformers' without a formula; None for what is neither."""
    from vitcost.zoo import files

    if path.endswith(".gz"):
        from vitcost.zoo import tracing

        return tracing.of_file(path)
    if not path.lower().endswith(".json"):
        return None
    data = files.read(path)
    if str(data.get("schema", "")).startswith("vitcost.trace/"):
        from vitcost.zoo import tracing

        return tracing.of_file(path)
    if "model_type" not in data:
        return None
    try:
        files.described(path, _named)
    except NotCovered:
        from vitcost.zoo import tracing

        found = tracing.of_transformers(path, data)
        return None if found is None else Base(*found)
    return None


def _named(name: str) -> "Described":
    """The fields of a ViT by its name, whoever's name it is."""
    from vitcost.zoo import aliases
    from vitcost.zoo.keys import Described

    own = _fields(name)
    found = Described(*own, fed=_DYNAMIC) if own is not None else aliases.lookup(name, _named)
    if found is None and _text(name) is not None:
        raise NotCovered(f"{name} reads text, and a model of images is asked for")
    if found is None:
        raise _unknown(name)
    return found


def _unknown(model: str) -> VitcostError:
    """Why a name is not found: timm has it and no formula here does, or nobody knows it."""
    from vitcost.zoo.timm.others import class_of

    kind = class_of(model)
    if kind is not None:
        return NotCovered(f"not covered: {kind}; {model} is timm's, and no formula here is exact")
    from vitcost.zoo.aliases import ROWS

    rows = {name: alias.base for name, alias in ROWS.items()}
    return UnknownName("model", model, names(), "`vitcost models` lists all", rows)


def _fed(model: Model, fed: Mapping[str, Any]) -> Base:
    """A traced module with other inputs, or another loss."""
    from vitcost.zoo import modules, tracing

    if isinstance(model, str) and modules.is_factory(model):
        # with inputs of its own a module is traced, though a formula may describe it
        return Base(*modules.traced(model, **fed))
    found = described(model)
    tracing.need_traced(found.base, found.name)
    return found._replace(base=_on_top(found.base, fed))


def _on_top(config: "Mapping[str, Any] | Config", overrides: Mapping[str, Any]) -> "Config":
    model: Any = config
    if hasattr(model, "workload"):
        traced: Config = model.on_top(overrides)
        return traced
    if isinstance(config, ViTConfig | Mapping):
        return configure(config, **overrides)
    from vitcost.text import configure_text

    return configure_text(config, **overrides)
