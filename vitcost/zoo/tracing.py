"""Models that are traced: the user's modules, and those of timm and transformers without a formula.

torch, timm and transformers are imported only when a model is built.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from vitcost.errors import ConfigError, MissingExtra, NotCovered, VitcostError, shown
from vitcost.outside.users_code import users_code
from vitcost.traced.file import read
from vitcost.traced.traced_model import Filed, TracedModel
from vitcost.zoo.aliases import on_the_hub
from vitcost.zoo.resolved import Base, Resolved

if TYPE_CHECKING:
    from torch import nn

    from vitcost.engine.model import Config

__all__ = [
    "Built",
    "built_by_timm",
    "of_file",
    "of_hub",
    "of_module",
    "of_timm",
    "of_transformers",
    "on_meta",
]

# limits for a model from a file: its modules (tracing takes 2 ms for each), and its labels
_MOST_MODULES, _MOST_LABELS = 3000, 10**5


class Built(NamedTuple):
    """A module, the values that its factory returned beside it, and how it was built."""

    module: "nn.Module"
    beside: Any = None
    notes: tuple[str, ...] = ()


def on_meta(
    build: Callable[[], Any], name: str, called: str = "", most_modules: int | None = None
) -> Built:
    """The module that a callable builds: on the meta device, where nothing is allocated, else on
    the CPU.

    ``build`` returns a module, or a module and its example inputs. A module with more than
    ``most_modules`` submodules is refused; with that limit nothing is built on the CPU. Raises
    ``ConfigError`` with the text of the callable's error.
    """
    try:
        import torch
    except ImportError:
        raise MissingExtra("torch", "torch", "a model from code") from None
    notes: tuple[str, ...] = ()
    state = torch.get_rng_state()
    try:
        with users_code("on the meta device"), torch.device("meta"), _bounded(most_modules):
            built = build()
    except VitcostError as error:
        if most_modules is not None:
            raise ConfigError(f"{name}: {error}") from None
        # a constructor that reads a value, or moves the module, cannot run on meta
        with users_code(f"{name}: calling {called or name}()"), torch.device("cpu"):
            built = build()
        reason = str(error).removeprefix("on the meta device: ")[:120]
        notes = (f"built on the CPU, since on the meta device it raises {reason}",)
    finally:
        torch.set_rng_state(state)
    module, beside = built, None
    # the attributes of the user's class may have any type, or raise
    with users_code(f"{name}: reading the module"):
        if (
            isinstance(built, tuple)
            and len(built) == 2
            and not isinstance(built[1], torch.nn.Module)
        ):
            module, beside = built
        is_module = isinstance(module, torch.nn.Module)
    if not is_module:
        raise ConfigError(f"{name}: gives {shown(built)}, not a torch.nn.Module")
    return Built(module, beside, notes)


@contextmanager
def _bounded(most: int | None) -> Iterator[None]:
    """Stops building a model when it has this many modules."""
    from torch.nn.modules.module import register_module_module_registration_hook

    count = 0

    def counted(*_: object) -> None:
        nonlocal count
        count += 1
        if most is not None and count > most:
            raise NotCovered(f"a model of more than {most:,} modules is not built from a file")

    with register_module_module_registration_hook(counted):
        yield


def of_module(built: Built, name: str, kind: str, reason: str, **options: Any) -> Resolved:
    """A module as a model that is traced when it is asked for, with ``options`` of ``OfModule``."""
    from vitcost.traced.module_traces import OfModule

    traces = OfModule(built.module, name, beside=built.beside, notes=built.notes, **options)
    return _resolved(
        name, f"a torch module, {kind}, traced: {reason}", TracedModel(name, kind, traces, reason)
    )


def of_timm(name: str) -> Resolved | None:
    """A name of timm without a formula, if timm is installed; else None."""
    if find_spec("timm") is None or find_spec("torch") is None:
        return None
    try:
        timm: Any = import_module("timm")
    except Exception:
        # importing another package may raise any error
        return None
    if not timm.is_model(name):
        return None

    built = on_meta(partial(built_by_timm, timm, name, {}), name)
    kind = type(built.module).__name__

    def rebuilt(arguments: Mapping[str, Any]) -> "nn.Module":
        with users_code(f"{name} with {', '.join(arguments)}"):
            return on_meta(partial(built_by_timm, timm, name, arguments), name).module

    return of_module(built, name, f"timm's {kind}", "no formula here describes it", rebuild=rebuilt)


def built_by_timm(timm: Any, name: str, arguments: Mapping[str, Any]) -> Any:
    """timm's module for a name; a bare name gets 1000 classes, if its class has classes. A class
    without an ``img_size`` takes images of any size."""
    classes = {} if "." in name else {"num_classes": 1000}
    keywords = {**classes, **arguments}
    # a class may lack some arguments; the user's own ``num_classes`` is never left out
    for left_out in ((), ("img_size",), ("num_classes",) if "num_classes" not in arguments else ()):
        kept = {key: value for key, value in keywords.items() if key not in left_out}
        try:
            return timm.create_model(name, pretrained=False, **kept)
        except TypeError as error:
            refused = error
    raise refused


def of_transformers(
    path: str, data: Mapping[str, Any], inputs: Sequence[str] = ()
) -> Resolved | None:
    """A config of transformers without a formula, if transformers is installed; ``inputs`` are the
    inputs that its processor makes, for a config without their sizes.

    The file may come from a stranger: the model is built only on the meta device, with at most
    ``_MOST_MODULES`` modules. Raises ``ConfigError`` with the error that transformers raised.
    """
    kind, architectures = data.get("model_type"), data.get("architectures")
    if find_spec("transformers") is None or find_spec("torch") is None:
        return None
    labels = data.get("num_labels", 0)
    if not isinstance(kind, str) or not isinstance(labels, int) or labels > _MOST_LABELS:
        return None
    named = architectures[0] if isinstance(architectures, list) and architectures else ""
    with users_code(f"{path}: building it with transformers"):
        library: Any = import_module("transformers")
        if kind not in library.CONFIG_MAPPING:
            # transformers does not have this model: the reader's own reason says more
            return None
        fields = {k: v for k, v in data.items() if k not in ("model_type", "transformers_version")}
        config = library.AutoConfig.for_model(kind, **fields)
        cls = _class_of(library, named)
        build = cls._from_config if hasattr(cls, "_from_config") else cls.from_config
    built = on_meta(lambda: build(config), path, most_modules=_MOST_MODULES)
    if inputs:
        from vitcost.traced.inputs import inputs_of

        default = inputs_of(built.module, inputs)
        beside = default._replace(
            note=f"inputs of its processor{default.note.removeprefix('inputs')}"
        )
        built = built._replace(beside=beside)
    class_name = type(built.module).__name__
    return of_module(built, path, f"transformers' {class_name}", "no formula here describes it")


def of_hub(name: str) -> Resolved | None:
    """A known id of the hub without a formula, from transformers' module; None for any other name.

    Raises ``NotCovered`` for a model that cannot be traced, ``MissingExtra`` if transformers is not
    installed.
    """
    from vitcost.zoo.hub_traced import TRACED, UNTRACED

    path = on_the_hub(name)
    if path in UNTRACED:
        raise NotCovered(f"{name} cannot be traced: {UNTRACED[path].reason}")
    row = TRACED.get(path)
    if row is None:
        return None
    data = {"model_type": row.kind, "architectures": [row.architecture], **row.keys}
    resolved = of_transformers(name, data, row.inputs)
    if resolved is None:
        package = "torch" if find_spec("torch") is None else "transformers"
        extra = "torch" if package == "torch" else ""
        raise MissingExtra(package, extra, f"{name}, which is traced from transformers' module,")
    return resolved


def _class_of(library: Any, name: Any) -> Any:
    """The class that a file names, or else its kind's class without a head."""
    named = getattr(library, name, None) if isinstance(name, str) and name.isidentifier() else None
    is_model = isinstance(named, type) and issubclass(named, library.PreTrainedModel)
    return named if is_model else library.AutoModel


def of_file(path: str) -> Base:
    """The model of a trace file."""
    file = read(path)
    model = TracedModel(file.name, file.source, Filed(file, path))
    return _resolved(file.name, f"{path}: a trace of {file.source}", model).as_base()


def _resolved(name: str, source: str, model: TracedModel) -> Resolved:
    # the model answers as a workload; a function that needs a formula refuses it
    return Resolved(name, source, cast("Config", model))


def need_traced(config: object, name: str) -> None:
    """Refuses inputs or a loss for a model that is not traced."""
    if not isinstance(config, TracedModel):
        raise NotCovered(
            f"{name} has a formula, which has no input and no loss: they are of a module that is "
            "traced, package.module:factory"
        )
