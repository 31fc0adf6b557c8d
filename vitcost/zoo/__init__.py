"""From the text that a user types to a config.

``resolve`` finds a base model (``described``) and replaces fields of it. A text is looked up in
this order: a name with a formula (``_row_by_name``: timm's and the papers' tables, text models,
names of other libraries), a file, a name of timm without a formula, ``package.module:factory``, an
id of the hub. The last three, and files that no formula describes, answer from a trace or from its
digest.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from vitcost.config.vit_config import RATIOS, ViTConfig, configure
from vitcost.errors import ConfigError, NotCovered, UnknownName, VitcostError, shown
from vitcost.zoo.resolved import Base, Resolved

if TYPE_CHECKING:
    from vitcost.config.text_config import ClipConfig, TextConfig
    from vitcost.engine.model import Config
    from vitcost.zoo.keys import Described

__all__ = [
    "Base",
    "Model",
    "Resolved",
    "completed",
    "described",
    "every_name",
    "is_name",
    "is_rebuilt",
    "names",
    "resolve",
]


Model: TypeAlias = "str | ViTConfig | TextConfig | ClipConfig | Resolved | Base"


def resolve(model: Model, **overrides: Any) -> Resolved:
    """The config of a name, a file, the user's code or a config, with some fields replaced.

    ``tower`` chooses one tower of a model of two, ``vision`` or ``text``, as ``NAME:vision`` does.

    Raises ``UnknownName`` with the nearest names, ``NotCovered`` for a model that exists but that
    no formula here describes, ``ConfigError`` for a field that cannot be.

    >>> resolve("vit_huge_patch14_224", num_classes=5).config.embed_dim
    1280
    >>> resolve("gpt2", seq_len=512).config.seq_len
    512
    """
    tower = overrides.pop("tower", None)
    of_trace: dict[str, Any] = {
        name: overrides.pop(name) for name in ("input", "loss") if name in overrides
    }
    base = _retraced(model, of_trace, tower) if of_trace else _base_of_tower(model, tower)
    fields = completed(base, overrides)
    added = (name for name in fields if name in base.any_size and fields != overrides)
    source = base.source + "".join(f"; {name}, for images of another size" for name in added)
    config = _with_fields(base, fields)
    changed = (*base.changed, *_changed(base, config, {**of_trace, **fields}))
    return Resolved(base.name, source, config, base.flags, changed)


def _changed(
    base: Base, config: "Config", overrides: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    """The fields whose value differs from the model's: name, new value, value in the model."""
    if not overrides:
        return
    if hasattr(config, "workload"):
        # a trace has no fields to compare with; if no field changed the trace, it is the same
        # object
        if config is not base.base:
            yield from ((name, value, None) for name, value in overrides.items())
        return
    towers = [getattr(each, "vision", each) for each in (config, _with_fields(base, {}))]
    for name in overrides:
        # a ratio sets a width
        field = name.replace("ratio", "dim") if name in RATIOS else name
        value, value_before = (getattr(tower, field, overrides[name]) for tower in towers)
        if value != value_before:
            yield (name, overrides[name], None) if name in RATIOS else (name, value, value_before)


def _base_of_tower(model: Model, tower: str | None) -> Base:
    """A model, or one of its towers."""
    if tower is None:
        return described(model)
    if tower not in _TOWERS:
        raise UnknownName("tower", str(tower), _TOWERS, f"allowed: {', '.join(_TOWERS)}")
    if isinstance(model, str):
        return described(f"{model}:{tower}")
    base = described(model)
    config: Any = base.base
    if not hasattr(config, "vision"):
        raise ConfigError(f"{base.name} is a single tower: {tower} asks for one of two")
    from vitcost.config.text_config import tower_of

    source = f"{tower} tower of {base.source}"
    return Base(f"{base.name}:{tower}", source, tower_of(config, tower), base.flags)


def completed(base: Base, overrides: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields that replace those of a model. If ``input_size`` is not the size that the model is
    built for, fields that its library then needs are added, such as timm's ``dynamic_img_size``."""
    if not base.any_size or "input_size" not in overrides:
        return overrides
    config: Any = _with_fields(base, {k: v for k, v in overrides.items() if k != "input_size"})
    size = overrides["input_size"]
    sides = (size, size) if isinstance(size, int) else size
    there = all(getattr(config, field) for field in base.any_size)
    if there or sides is None or config.img_size == tuple(sides):
        return overrides
    return {**base.any_size, **overrides}


def is_rebuilt(name: str, img_size: "int | tuple[int, int]") -> bool:
    """Whether another ``img_size`` removes the position table from a pretrained model that
    resamples the table to each image.

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
    """A model before fields are replaced: the row of its table, in which a width may be a ratio."""
    if isinstance(model, Resolved):
        return model.as_base()
    if isinstance(model, Base):
        return model
    if not isinstance(model, str):
        if hasattr(model, "named_parameters"):
            raise ConfigError("a torch module is read by vitcost.from_torch(module)")
        # a text config can only come from its own module, which need not be imported for this test
        if (
            not isinstance(model, ViTConfig)
            and type(model).__module__ != "vitcost.config.text_config"
        ):
            raise ConfigError(f"a model is a name, a path or a config, got {shown(model)}")
        return Base("custom", "config", model)
    if not model.strip():
        raise ConfigError(f"a model is a name, a path or a config, got {shown(model)}")
    name, _, tower = model.rpartition(":")
    row = _row(name) if name and tower in _TOWERS else None
    if row is not None:
        return _base_of_row(name, row, tower)
    return _base_of_text(model)


def is_name(model: str) -> bool:
    """Whether a model is known by its name, or is a tower of a model that is.

    >>> is_name("vit_tiny_patch16_224"), is_name("ViT-B-32:vision"), is_name("models:build")
    (True, True, False)
    """
    name, _, tower = model.rpartition(":")
    return _row_by_name(model) is not None or bool(name and tower in _TOWERS and _row(name))


def _base_of_text(model: str) -> Base:
    """The model of a text without a tower, in the order of this module's docstring."""
    # no name ends like a file, and searching all tables costs more than reading a file
    row = None if model.lower().endswith(_ENDINGS) else _row_by_name(model)
    if row is not None:
        return _base_of_row(model, row)
    from vitcost.zoo import model_files

    if model_files.is_path(model):
        traced = _traced_file(model)
        if traced is not None:
            return traced
        return _base_of_row(model, model_files.described(model, _image_row))
    # imported late, since each loader slows every start
    from vitcost.zoo import digests
    from vitcost.zoo.timm.others import class_of

    of_timm, of_hub = class_of(model) is not None, "/" in model
    resolved = digests.of_timm(model) if of_timm else digests.of_hub(model) if of_hub else None
    if resolved is None:
        from vitcost.zoo import modules, tracing

        if of_timm:
            resolved = tracing.of_timm(model)
        elif modules.is_factory(model):
            return described(modules.of_factory(model))
        elif of_hub:
            resolved = tracing.of_hub(model)
    if resolved is None:
        raise _unknown(model)
    return resolved.as_base()


_TOWERS = ("vision", "text")
_ENDINGS = (".json", ".toml", ".gz")


def _base_of_row(name: str, row: "Described", tower: str = "") -> Base:
    """The base of a row; for a row of two towers both, or the ``tower`` that is asked for."""
    config: Any = row.text
    both = row.lacks != "" or hasattr(config, "vision")
    if not tower and row.lacks:
        raise NotCovered(f"{name}: {row.lacks}; the vision tower alone: {name}:vision")
    if not tower:
        whole = row.fields if config is None else config
        return Base(name, row.source, whole, any_size=row.any_size)
    if not both:
        raise ConfigError(f"{name} is a single tower: {tower} asks for one of two")
    if tower == "vision":
        return Base(f"{name}:vision", f"vision tower of {row.source}", row.fields)
    if row.lacks:
        raise NotCovered(f"{name}: {row.lacks}")
    return Base(f"{name}:text", f"text tower of {row.source}", config.text)


def _row(name: str) -> "Described | None":
    """The row of a model, by its name or from a file."""
    row = _row_by_name(name)
    if row is not None:
        return row
    from vitcost.zoo import model_files

    return model_files.described(name, _image_row) if model_files.is_path(name) else None


def _row_by_name(name: str) -> "Described | None":
    """The row of a name with a formula, in any library."""
    from vitcost.zoo.keys import Described

    fields = _fields_of(name)
    if fields is not None:
        return Described(*fields, any_size=_DYNAMIC)
    text = _text_row(name)
    if text is not None:
        return text
    # imported late, like every loader
    from vitcost.zoo import aliases

    return aliases.lookup(name, _image_row)


# the field with which timm's models take images of any size
_DYNAMIC: Mapping[str, Any] = MappingProxyType({"dynamic_img_size": True})


def names() -> list[str]:
    """Every name that a formula describes, in order."""
    from vitcost.zoo import aliases, papers, timm
    from vitcost.zoo import text_models as text

    ours = {*papers.MODELS, *timm.names(), *text.TEXT, *text.CLIP}
    return sorted({*ours, *aliases.names(ours)})


def every_name() -> list[str]:
    """Every name in order, including the names of timm and of the hub that have no formula."""
    from vitcost.zoo.hub_traced import TRACED
    from vitcost.zoo.timm import architectures

    return sorted({*names(), *architectures(), *TRACED})


def _fields_of(name: str) -> tuple[str, dict[str, Any]] | None:
    """The source and fields of a ViT by its name."""
    # a table is imported when a name asks for it
    from vitcost.zoo import papers, timm

    if name not in papers.MODELS:
        known = timm.lookup(name)
        return known and (known[0], {"scale_query": True, **known[1]})
    row = papers.MODELS[name]
    base = _fields_of(row.base)
    assert base is not None, f"{name} is a variant of {row.base}, which is not there"
    return row.source, {**base[1], **row.fields}


def _text_row(name: str) -> "Described | None":
    """A text transformer or a model of two towers by its name."""
    from vitcost.zoo import text_models as text
    from vitcost.zoo.keys import Described

    if name in text.TEXT:
        return Described(text.TEXT[name].source, {}, text.text_config(name))
    if name not in text.CLIP:
        return None
    row = text.CLIP[name]
    vision = _fields_of(row.vision)
    assert vision is not None, f"{name} has the image tower {row.vision}, which is not there"
    config = text.clip_config(row, vision[1])
    alone = {"num_classes": config.projection_dim, "head_bias": False}
    return Described(row.source, {**vision[1], **alone}, config)


def _traced_file(path: str) -> Base | None:
    """A trace file, or transformers' config of a model without a formula; None for any
    other file."""
    from vitcost.zoo import model_files

    data = model_files.read(path) if path.lower().endswith(".json") else {}
    if path.endswith(".gz") or str(data.get("schema", "")).startswith("vitcost.trace/"):
        from vitcost.zoo import tracing

        return tracing.of_file(path)
    try:
        if "model_type" in data:
            model_files.described(path, _image_row)
    except NotCovered:
        from vitcost.zoo import tracing

        resolved = tracing.of_transformers(path, data)
        return None if resolved is None else resolved.as_base()
    return None


def _image_row(name: str) -> "Described":
    """The row of an image model by its name in any library; other models are refused."""
    base, _, tower = name.rpartition(":")
    alone = _row_by_name(base) if base and tower == "vision" else None
    if alone is not None:
        _base_of_row(base, alone, tower)
        return alone._replace(text=None, lacks="")
    by_name = _row_by_name(name)
    if by_name is None:
        raise _unknown(name)
    if by_name.lacks or hasattr(by_name.text, "vision"):
        raise NotCovered(f"{name} has 2 towers; the vision tower alone: {name}:vision")
    if by_name.text is not None:
        raise NotCovered(f"{name} reads text, and a model of images is asked for")
    return by_name


def _unknown(model: str) -> VitcostError:
    """The error for an unknown name: either timm has such a model, or no library has it."""
    from vitcost.zoo.timm.others import class_of

    kind = class_of(model)
    if kind is not None:
        return NotCovered(
            f"not covered: {kind}; {model} is timm's, with neither a formula nor a digest of its "
            "trace here: pip install 'vitcost[torch]' timm traces it"
        )
    from vitcost.zoo.aliases import ROWS

    rows = {name: alias.base for name, alias in ROWS.items()}
    return UnknownName("model", model, every_name(), "`vitcost models` lists all", rows)


def _retraced(model: Model, fields: Mapping[str, Any], tower: str | None) -> Base:
    """A traced module with other inputs, or another loss."""
    from vitcost.zoo import modules, tracing

    if isinstance(model, str) and modules.is_factory(model) and tower is None:
        # a formula does not know other inputs, so the module is traced
        return modules.traced(model, **fields).as_base()
    base = _base_of_tower(model, tower)
    tracing.need_traced(base.base, base.name)
    return base._replace(base=_with_fields(base, fields))


def _with_fields(base: Base, overrides: Mapping[str, Any]) -> "Config":
    model: Any = base.base
    if hasattr(model, "workload"):
        traced: Config = model.with_fields(overrides)
        return traced
    if isinstance(base.base, ViTConfig | Mapping):
        return configure(base.base, **overrides)
    from vitcost.config.text_config import configure_text

    return configure_text(base.base, base.name, **overrides)
