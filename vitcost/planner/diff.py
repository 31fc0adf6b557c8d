"""``diff``: the costs of models now against their costs before, for a pull request to show."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from vitcost.config.scenario import Scenario
from vitcost.costs.quantities import QUANTITIES, known
from vitcost.costs.quantity import Amount
from vitcost.costs.report import report
from vitcost.errors import ConfigError, VitcostError
from vitcost.outside.arguments import listed, optional, path, takes, text
from vitcost.planner.changes import Changed, changes
from vitcost.render.result import Result

# imported only for a difference
if TYPE_CHECKING:
    from vitcost.costs.report_types import Report
    from vitcost.planner.budgets.declared import Declared
    from vitcost.planner.budgets.git import Ask
    from vitcost.planner.budgets.sides import Side

__all__ = ["Base", "Diff", "Difference", "ModelDiff", "diff"]

_Asked = TypeVar("_Asked", "Ask", "Declared")

SCHEMA = "vitcost.diff/1"
# the quantities that a page shows for each model, whether they changed or not
SHOWN = (
    "params", "macs", "train_flops", "inference_memory", "saved_activations", "train_memory",
)  # fmt: skip


class Base(NamedTuple):
    """The side that new numbers are compared with: a saved report, a baseline or a commit."""

    name: str
    kind: str  # the kind of the base: report | baseline | commit
    hash: str | None = None


class Difference(NamedTuple):
    """A quantity of a model before and now; None: there is no figure."""

    model: str
    quantity: str
    previous: Amount | None
    new: Amount | None

    @property
    def difference(self) -> Amount | None:
        """``now - was``; None without one of them."""
        both = self.previous is not None and self.new is not None
        return (self.new or 0) - (self.previous or 0) if both else None

    @property
    def relative(self) -> float | None:
        """The difference as a share of the previous number."""
        if self.difference is None or not self.previous:
            return None
        return self.difference / self.previous

    @property
    def changed(self) -> bool:
        """Whether both sides differ, one of which may have no figure."""
        return self.previous != self.new


class ModelDiff(NamedTuple):
    """A model before and now; if one side is missing, ``missing`` says why."""

    name: str
    was: "Side | None"
    now: "Side | None"
    missing: str = ""

    def differences(self) -> Iterator[Difference]:
        """Every quantity that either side has."""
        for name in QUANTITIES:
            was, now = (side and side.quantities.get(name) for side in (self.was, self.now))
            if was is not None or now is not None:
                yield Difference(self.name, name, was, now)

    def layers(self) -> tuple[Changed, ...]:
        """Every number of a layer that changed; a layer is listed after the layer that
        contains it."""
        if self.was is None or self.now is None:
            return ()
        return tuple(changes(self.was.layers, self.now.layers))

    def facts(self) -> Iterator[tuple[str, str, str]]:
        """The fields and flags that changed."""
        if self.was is None or self.now is None:
            return
        for name, now in self.now.facts.items():
            was = self.was.facts.get(name)
            if was is not None and was != now:
                yield name, was, now


@dataclass(frozen=True, slots=True)
class Diff(Result):
    """How the costs of every model changed."""

    base: Base
    models: tuple[ModelDiff, ...]
    shown: tuple[str, ...] = SHOWN

    @property
    def unanswered(self) -> tuple[str, ...]:
        """The reasons why models have no number now, each once."""
        return tuple(dict.fromkeys(each.missing for each in self.models if each.now is None))

    def to_dict(self) -> dict[str, Any]:
        """The JSON of schema ``vitcost.diff/1``."""
        return {
            "schema": SCHEMA,
            "base": self.base._asdict(),
            "rows": list(self.rows()),
            "models": [
                {
                    "model": each.name,
                    "missing": each.missing or None,
                    "changed": [
                        {"field": field, "was": was, "now": now} for field, was, now in each.facts()
                    ],
                    "layers": [layer._asdict() for layer in each.layers()],
                }
                for each in self.models
            ],
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every quantity of every model as a flat row: ``pandas.DataFrame(result.rows())``."""
        for model in self.models:
            for each in model.differences():
                yield {
                    **each._asdict(),
                    "difference": each.difference,
                    "relative": each.relative,
                    "changed": each.changed,
                }

    def pairs(self) -> tuple[str, ...]:
        """The names of the models that have two towers."""
        return tuple(each.name for each in self.models if each.now and each.now.towers == 2)


@takes(base=text, config=path, quantities=optional(listed), gpu=listed)
def diff(
    base: str,
    *models: str,
    config: str = "pyproject.toml",
    quantities: Sequence[str] | None = None,
    **flags: Any,
) -> Diff:
    """The costs of models now against a saved report, a baseline or a git ref.

    ``base`` is a file that ``report --json`` or ``budget --update`` wrote, or a git ref: another
    process imports its code from a worktree. ``main...`` is the commit at which this branch left
    main. Without ``models`` the models of the budgets in ``config`` are compared, and a saved
    report with its own model under its own flags. ``flags`` are the keywords of ``report``.
    ``quantities`` are shown instead of the usual ones; JSON always has all. Raises ``ConfigError``
    for a base that is neither a file nor a ref, and if no model has a number.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from vitcost import report
    >>> from vitcost.render import render
    >>> with TemporaryDirectory() as folder:
    ...     saved = f"{folder}/base.json"
    ...     before = render(report("vit_tiny_patch16_224"), "json")
    ...     _ = Path(saved).write_text(before)
    ...     found = diff(saved, num_classes=10)
    >>> [each.difference for each in found.models[0].differences()][0] == -990 * 193
    True
    """
    shown = SHOWN if quantities is None else known(quantities)
    models = tuple(text("a model", each) for each in models)
    if not base.strip():
        raise ConfigError("no base: a saved report, a baseline or a git ref")
    data = _file(base)
    if data is None:
        return _of_commit(base, models, config, shown, flags)
    if data.get("schema") == "vitcost.baseline/1":
        if models or flags:
            raise ConfigError(
                f"{base} belongs to the budgets in {config}: give no model and no flags"
            )
        return _of_baseline(base, config, shown)
    return _of_report(base, data, models, shown, flags)


def _file(base: str) -> Mapping[str, Any] | None:
    """The JSON data of a file; None for a git ref."""
    from pathlib import Path

    from vitcost.outside.reading import REPORT, exists, read_json

    if base.lower().endswith((".json", ".json.gz")) or (exists(base) and Path(base).is_file()):
        return read_json(base, REPORT)
    return None


def _of_report(
    base: str,
    data: Mapping[str, Any],
    models: Sequence[str],
    shown: tuple[str, ...],
    flags: dict[str, Any],
) -> Diff:
    """A saved report compared with its own model, or with another model, under its own flags."""
    from vitcost.costs import saved
    from vitcost.planner.budgets.sides import of_json

    before = saved.read(base)
    if before is None:
        raise ConfigError(
            f"{base}: neither a saved report nor a baseline: its schema is "
            f"{data.get('schema')!r:.80}"
        )
    if len(models) > 1:
        raise ConfigError(f"{base} is the report on one model, and {len(models)} are given")
    name = models[0] if models else before["model"]["name"]
    after = saved.read(name) if name.lower().endswith(".json") else None
    if after is not None and flags:
        raise ConfigError(f"{name} is a finished report, which {next(iter(flags))} cannot change")
    if after is None:
        own_fields = {} if models else _own_fields(before)
        after = report(name, **{**_own_flags(before), **own_fields, **flags}).to_dict()
    _check_inputs(base, before, after)
    compared = ModelDiff(after["model"]["name"], of_json(before), of_json(after))
    return Diff(Base(base, "report"), (compared,), shown)


def _own_flags(data: Mapping[str, Any]) -> dict[str, Any]:
    """The flags of a report that differ from the defaults."""
    asked = data["scenario"]
    names = [f.name for f in fields(Scenario) if f.default != asked.get(f.name, f.default)]
    cards = {"gpu": asked["gpu"]} if asked.get("gpu") else {}
    return {**{name: asked[name] for name in names}, **cards}


def _own_fields(data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that were given for a report on a name: the fields that differ from the
    name's own."""
    from vitcost.zoo import is_name, resolve

    name = data["model"]["name"]
    if not is_name(name):
        # for a file, or the user's code, the model itself may have changed; a name from a digest
        # gives its classes
        config = data["model"]["config"]
        return {key: config[key] for key in ("num_classes",) if key in config}
    defaults = resolve(name).config.to_dict()
    changed: dict[str, Any] = {}
    for field, was in _apart(data["model"]["config"]):
        if was not in (value for other, value in _apart(defaults) if other == field):
            changed[field] = tuple(was) if isinstance(was, list) else was
    return changed


def _apart(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The fields of a config, and of both towers if it has two."""
    for field, value in config.items():
        if isinstance(value, Mapping):
            yield from _apart(value)
        else:
            yield field, list(value) if isinstance(value, tuple) else value


def _check_inputs(base: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Refuses two traces with different inputs or losses: their numbers would not show how the
    model changed."""
    sides = [each["model"]["config"].get("notes") for each in (before, after)]
    if None in sides:
        return
    for kind in ("inputs", "loss"):
        was, now = ([note for note in notes if note.startswith(f"{kind}: ")] for notes in sides)
        if was != now:
            name = "input" if kind == "inputs" else kind
            raise ConfigError(
                f"{base} is of {', '.join(was) or f'no {kind}'}, and the model is traced with "
                f"{', '.join(now) or f'no {kind}'}: give the same --{name}"
            )


def _of_baseline(base: str, config: str, shown: tuple[str, ...]) -> Diff:
    from vitcost.planner.budget import declared_terms
    from vitcost.planner.budgets import baseline as kept
    from vitcost.planner.budgets.declared import read_budgets
    from vitcost.planner.budgets.sides import of_baseline, of_recorded

    before, declared = kept.read(base) or {}, read_budgets(config)
    sides = _sides(declared, lambda current, each: of_recorded(current, declared_terms(each)))
    models = []
    for each, now in zip(declared, sides, strict=True):
        was = before.get(each.name)
        missing = "" if was else f"{base} does not have it"
        models.append(_model(each.name, was and of_baseline(was), now, missing))
    return Diff(Base(base, "baseline"), tuple(models), shown)


def _of_commit(
    ref: str, models: Sequence[str], config: str, shown: tuple[str, ...], flags: dict[str, Any]
) -> Diff:
    """Models as the working tree has them, compared with the same models at a commit."""
    from vitcost.planner.budgets.declared import read_budgets
    from vitcost.planner.budgets.git import Ask, commit_of, reports_at
    from vitcost.planner.budgets.sides import of_json

    commit = commit_of(ref)
    if models:
        asks = [Ask(model, model, flags) for model in models]
    elif flags:
        raise ConfigError(f"{next(iter(flags))} changes a model, and no model is given")
    else:
        asks = [Ask(each.name, each.model, each.keywords) for each in read_budgets(config)]
    sides = _sides(asks, lambda current, _: of_json(current.to_dict()))
    differences = []
    before = reports_at(commit, asks, None if models else config)
    for ask, now, was in zip(asks, sides, before, strict=True):
        known_side = None if isinstance(was, str) else of_json(was)
        missing = f"at {ref}: {was}" if isinstance(was, str) else ""
        differences.append(_model(ask.name, known_side, now, missing))
    return Diff(Base(ref, "commit", commit.hash), tuple(differences), shown)


def _sides(
    asks: "Sequence[_Asked]", side_of: "Callable[[Report, _Asked], Side]"
) -> "list[Side | VitcostError]":
    """The answers of the working tree, one for each model: its numbers, or the error that is the
    reason why there are none. Raises the first error if every model has an error."""
    sides: list[Side | VitcostError] = []
    for ask in asks:
        try:
            sides.append(side_of(report(ask.model, **{"mode": "infer", **ask.keywords}), ask))
        except VitcostError as error:
            sides.append(error)
    errors = [each for each in sides if isinstance(each, VitcostError)]
    if len(errors) == len(sides):
        raise errors[0]
    return sides


def _model(name: str, was: "Side | None", now: "Side | VitcostError", missing: str) -> ModelDiff:
    if isinstance(now, VitcostError):
        return ModelDiff(name, was, None, str(now))
    return ModelDiff(name, was, now, missing)
