"""The user's own code: a torch module, or the factory that builds one."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from vitcost.config import ViTConfig, configure
from vitcost.engine.cost import fold
from vitcost.engine.lower import Mode, lower
from vitcost.engine.model import sizes_of, structure_of
from vitcost.errors import ConfigError, MissingExtra, NotCovered, shown
from vitcost.zoo.families import FAMILIES
from vitcost.zoo.foreign import Foreign
from vitcost.zoo.found import Resolved
from vitcost.zoo.huggingface import of_class
from vitcost.zoo.read_layers import name_of
from vitcost.zoo.readers import READERS

if TYPE_CHECKING:
    from torch import nn

    from vitcost.engine.model import Config

__all__ = ["build", "from_torch", "is_factory"]

Size: TypeAlias = int | tuple[int, int]

_HARMLESS = {"__module__", "__qualname__", "__doc__", "__init__", "__annotations__",
             "__firstlineno__", "__static_attributes__", "__parameters__"}  # fmt: skip


def from_torch(
    module: "nn.Module", *, name: str = "", img_size: Size = 224, in_chans: int = 3
) -> Resolved | Foreign:
    """A torch module as a model: by formula where it is a Vision Transformer that is known here.

    timm's VisionTransformer, VisionTransformerDistilled, Eva and Beit, transformers' ViTs and
    torchvision's are read back from their attributes, and their parameters must add up. Any other
    module can be measured on images of ``img_size``.

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
    try:
        config = _read(module)
        frozen = _add_up(module, config)
    except (NotCovered, ConfigError, AttributeError, KeyError) as error:
        sides = (img_size, img_size) if isinstance(img_size, int) else tuple(img_size)
        reason = str(error) if not isinstance(error, AttributeError | KeyError) else repr(error)
        return Foreign(name or type(module).__name__, kind, module, (in_chans, *sides), reason)
    # which parameters train is a flag of the scenario
    more = f"; its {frozen:,} frozen parameters train here unless freeze says so" if frozen else ""
    return Resolved(name or type(module).__name__, f"a torch module, {kind}{more}", config)


def is_factory(model: str) -> bool:
    """Whether a model is spelled ``package.module:factory``."""
    return re.fullmatch(r"[A-Za-z_]\w*(\.\w+)*:[A-Za-z_]\w*(\.\w+)*", model) is not None


def build(model: str) -> "nn.Module":
    """What ``package.module:factory`` builds on the meta device, where nothing is allocated.

    The current directory is searched first, as ``python -m`` does. What the code prints goes to
    stderr. Raises ``ConfigError`` with whatever went wrong in it.
    """
    try:
        import torch
    except ImportError:
        raise MissingExtra("torch", "torch", "a model from code") from None
    path, _, attribute = model.partition(":")
    with _users_code(f"{model}: importing {path}"):
        found: Any = import_module(path)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"{model}: {path} has no {attribute}")
        found = getattr(found, part)
    if not isinstance(found, torch.nn.Module):
        if not callable(found):
            raise ConfigError(f"{model}: {attribute} is {shown(found)}, which cannot be called")
        with (
            _users_code(f"{model}: calling {attribute}() on the meta device"),
            torch.device("meta"),
        ):
            found = found()
    if not isinstance(found, torch.nn.Module):
        raise ConfigError(f"{model}: gives {shown(found)}, not a torch.nn.Module")
    return found


@contextmanager
def _users_code(doing: str) -> Iterator[None]:
    """Runs code of the user's: whatever it raises is a message."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        # stdout carries the answer alone
        with redirect_stdout(sys.stderr):
            yield
    except (Exception, SystemExit) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(f"{doing}: {type(error).__name__}: {reason}") from error
    finally:
        if here in sys.path:
            sys.path.remove(here)


def _read(module: "nn.Module") -> "Config":
    """The config of a module whose class, or one that it only configures, is known."""
    for cls in type(module).__mro__:
        name = f"{cls.__module__}.{cls.__qualname__}"
        if name in READERS:
            return _by_rule(configure(READERS[name](module)))
        if name.startswith("transformers.models."):
            return _transformers(module, cls.__name__)
        if set(vars(cls)) - _HARMLESS:
            break
    raise NotCovered(f"{name_of(module)} has no formula here")


def _by_rule(config: ViTConfig) -> ViTConfig:
    """Leaves to the rules of timm's class what these would say, so that they go on to say it when
    a field is put on top."""
    for name in ("patch_bias", "final_norm", "fc_norm"):
        ruled = configure(config, **{name: None})
        if structure_of(ruled) == structure_of(config):
            config = ruled
    return config


def _transformers(module: Any, name: str) -> "Config":
    """A model of transformers' says all in its config, but for the layers that its call chose."""
    # keys with an underscore are how it runs, not what it is
    data = {k: v for k, v in module.config.to_dict().items() if not k.startswith("_")}
    for kind, family in FAMILIES.items():
        if name in family.classes:
            fields = of_class(kind, name, data).fields
            if hasattr(getattr(module, "embeddings", None), "mask_token"):
                fields["mask_token"] = module.embeddings.mask_token is not None
            if getattr(module, "pooler", module) is None:
                fields["representation_size"] = None
            return configure(fields)
    # models of images alone start without
    from vitcost.zoo import huggingface_text as text

    kinds = [kind for kind, row in text.TEXTS.items() if name in row.classes]
    kinds += [kind for kind, row in text.PAIRS.items() if name == row.name]
    found = text.of_text_class(kinds[0], name, data).text if kinds else None
    if found is None:
        raise NotCovered(f"{name} of transformers has no formula here")
    return found


def _add_up(module: "nn.Module", config: "Config") -> int:
    """Refuses a module with other parameters than its formula; how many train in the formula that
    are frozen in the module."""
    tree = lower(structure_of(config, training=True), Mode())
    formula = fold(tree, sizes_of(config)).cost
    own = sum(p.numel() for p in module.parameters())
    if own != formula.params:
        raise NotCovered(f"its {own:,} parameters are not the {formula.params:,} of the formula")
    trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return max(formula.trainable - trained, 0)
