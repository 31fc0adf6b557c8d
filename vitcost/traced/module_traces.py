"""Traces of a module that are made when they are asked for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from vitcost.config.fields import checked
from vitcost.config.vit_config import FIELDS, configure
from vitcost.errors import ConfigError, NotCovered, shown
from vitcost.outside.users_code import users_code
from vitcost.traced.chosen_loss import Loss
from vitcost.traced.inputs import inputs_of
from vitcost.traced.trace import How, Trace
from vitcost.traced.traced_workload import Traces
from vitcost.traced.traces import LINES, trace

__all__ = ["OfModule"]

# fields of a traced model that need no new model: its inputs, and how it is trained
_FIELDS = ("input", "loss", "img_size", "input_size", "in_chans")
# fields for which the library has to build another model
_BUILT = ("num_classes", "img_size", "in_chans")


@dataclass(eq=False)
class OfModule(Traces):
    """Traces of a module: of a single batch when it is asked for, and as polynomials for all
    batches.

    ``given`` inputs are as ``--input`` spells them, a callable of the batch, or example tensors;
    ``beside`` is what a factory returned beside the module, ``found`` looks up a loss by its name.
    ``rebuild`` makes the module with other constructor arguments, or is None if these are not
    known; ``built`` are the arguments of this module.
    """

    module: nn.Module
    name: str
    given: Any = None
    images: Mapping[str, Any] = field(default_factory=dict)
    loss: Any = None
    beside: Any = None
    notes: Sequence[str] = ()
    found: Callable[[str], Callable[..., Any]] | None = None
    rebuild: Callable[[Mapping[str, Any]], nn.Module] | None = None
    built: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.module = unwrapped(self.module)
        fed = _images(self.images) if self.images else self.given
        with users_code(f"{self.name}: its inputs"):
            self.inputs = inputs_of(self.module, fed, self.beside)
        self._at: dict[tuple[How, int], Trace] = {}
        self._lines: dict[How, Trace] = {}

    def at(self, how: How, batch: int) -> Trace:
        if (how, batch) in self._at:
            return self._at[how, batch]
        if batch > 1 and how in self._lines:
            return self._lines[how]
        if batch > 1 and any(made_for == how and b > 1 for made_for, b in self._at):
            return self.lines(how)
        return self._at.setdefault((how, batch), self._trace(how, (batch,)))

    def lines(self, how: How) -> Trace:
        if how not in self._lines:
            try:
                lines = self._trace(how, LINES)
            except NotCovered:
                # a loss that compares every image with every other needs a fourth batch: its sizes
                # are squares
                lines = self._trace(how, (*LINES, LINES[-1] + 1))
            self._lines[how] = lines
        return self._lines[how]

    def any(self) -> Trace:
        return self.at(How(), 2)

    def with_fields(self, overrides: Mapping[str, Any]) -> "OfModule":
        if not overrides:
            return self
        self._check(overrides)
        inputs = overrides.get("input", self.given)
        images = {k: v for k, v in overrides.items() if k in _FIELDS[2:]}
        if images and inputs is not None:
            raise ConfigError(f"{next(iter(images))} beside input: give the inputs alone")
        module, built = self.module, {k: v for k, v in overrides.items() if k in _BUILT}
        if built and self.rebuild is not None:
            built = {**self.built, **built}
            module = self.rebuild(built)
            if images and "img_size" not in {**self.images, **images}:
                # images of the same size with another number of channels
                size = getattr(module, "pretrained_cfg", {}).get("input_size", ())[1:]
                images = {"img_size": tuple(size), **images} if size else images
        return replace(
            self,
            module=module,
            given=inputs,
            images={} if inputs is not None else {**self.images, **images},
            loss=overrides.get("loss", self.loss),
            built=built or self.built,
        )

    def _check(self, overrides: Mapping[str, Any]) -> None:
        known = dict.fromkeys((*_FIELDS, *(_BUILT if self.rebuild is not None else ())))
        for name, value in overrides.items():
            if name not in known:
                raise ConfigError(
                    f"{self.name} is traced, so that it has no field {name}: it has "
                    f"{', '.join(known)}, and a factory takes arguments: "
                    "package.module:factory(img_size=384)"
                )
            if name in FIELDS:
                checked(name, *FIELDS[name], value)

    def to_dict(self) -> dict[str, Any]:
        trace = next(iter((*self._lines.values(), *self._at.values())), None)
        notes = (*self.notes, self.inputs.note) if trace is None else trace.notes
        return {"notes": list(notes), **({} if trace is None else {"torch": trace.torch})}

    def _trace(self, how: How, batches: Sequence[int]) -> Trace:
        with users_code(f"{self.name}: tracing it"):
            return trace(
                self.module,
                self.inputs,
                batches,
                how,
                self.criterion(),
                name=self.name,
                notes=self.notes,
            )

    def criterion(self) -> Loss:
        """The loss of a training step. Raises ``ConfigError`` for a loss that is not a function of
        the output."""
        if self.loss is None or callable(self.loss):
            return Loss(self.loss, getattr(self.loss, "__qualname__", "a callable"))
        if not isinstance(self.loss, str) or self.found is None:
            raise ConfigError(f"a loss is package.module:function, got {shown(self.loss)}")
        return Loss(self.found(self.loss), self.loss)


def unwrapped(module: nn.Module) -> nn.Module:
    """The module inside torch.compile, DataParallel and DistributedDataParallel.

    >>> inside = nn.Linear(2, 3)
    >>> unwrapped(nn.DataParallel(inside)) is inside
    True
    """
    wrappers = {"OptimizedModule": "_orig_mod", "DataParallel": "module",
                "DistributedDataParallel": "module"}  # fmt: skip
    while type(module).__name__ in wrappers:
        inner = getattr(module, wrappers[type(module).__name__], None)
        if not isinstance(inner, nn.Module):
            break
        module = inner
    return module


def _images(fields: Mapping[str, Any]) -> list[str]:
    """An image with these fields, as ``--input`` spells it."""
    plain = {"img_size": (224, 224), "in_chans": 3, "patch_size": 1}
    config = configure({**plain, "interpolate_pos_encoding": "same"}, **fields)
    return ["x".join(map(str, (config.in_chans, *config.image)))]
