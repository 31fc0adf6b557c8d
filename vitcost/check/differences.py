"""The result of a check: every difference, with its explanation if there is one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from vitcost.render.result import Result

__all__ = ["CheckResult", "Difference", "ModelCheck", "Value"]

Value: TypeAlias = "int | str | tuple[int, ...]"


@dataclass(frozen=True, slots=True)
class Difference:
    """A quantity of one module (``""``: the whole model) as formula and torch see it. A step of a
    check yields one for every number; a result keeps those whose numbers are not equal.

    ``expected`` is the formula's, ``actual`` the counter's; ``explained_by`` names the counter's
    known deviation if that is exactly the difference, else it is empty.
    """

    path: str
    quantity: str
    expected: Value
    actual: Value
    explained_by: str = ""

    def to_dict(self) -> dict[str, Any]:
        row = {name: _plain(getattr(self, name)) for name in self.__dataclass_fields__}
        return {**row, "explained_by": self.explained_by or None}


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """One model compared with its torch module: the count of compared numbers by quantity, and the
    differences. ``against`` is the source of the module: ``reference``, or ``timm`` with its
    version. ``left_out`` lists parts that were not compared, with reasons; ``of`` is the side that
    is checked, ``formula`` or ``trace``."""

    model: str
    comparisons: Mapping[str, int]
    differences: tuple[Difference, ...]
    seconds: float
    against: str = "reference"
    left_out: tuple[str, ...] = ()
    of: str = "formula"

    @property
    def ok(self) -> bool:
        """Whether every difference is explained."""
        return all(d.explained_by for d in self.differences)

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "against": self.against,
            "ok": self.ok,
            "differences": [d.to_dict() for d in self.differences],
            "comparisons": dict(self.comparisons),
            "seconds": self.seconds,
            "left_out": list(self.left_out),
            "of": self.of,
        }


@dataclass(frozen=True, slots=True)
class CheckResult(Result):
    """The verdict on all models, and the versions of the counters that were used."""

    models: tuple[ModelCheck, ...]
    versions: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Whether every difference of every model is explained."""
        return all(m.ok for m in self.models)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of schema ``vitcost.check/1``."""
        return {
            "schema": "vitcost.check/1",
            "ok": self.ok,
            "models": [m.to_dict() for m in self.models],
            "versions": dict(self.versions),
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every difference as a flat row: ``pandas.DataFrame(result.rows())``."""
        for model in self.models:
            for difference in model.differences:
                yield {"model": model.model, **difference.to_dict()}


def _plain(value: Value) -> Any:
    return list(value) if isinstance(value, tuple) else value
