"""The models of a comparison: names, names that match a pattern, and all models of timm."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from vitcost.costs.report import Report
from vitcost.errors import ConfigError
from vitcost.planner.grid import MODEL, Grid, Vary, grid
from vitcost.zoo import Model

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MOST_COMPARED", "Candidate", "Named", "named"]

Candidate: TypeAlias = "Model | Report"

# a larger comparison is better read from a file
MOST_COMPARED = 1000
# the most names: all of timm's, and some others
_MOST_NAMED = 2000


class Named(NamedTuple):
    """Models, and what else varies. Models that only a pattern or ``all_timm`` named are left out
    if they do not have the scenario."""

    models: tuple[Candidate, ...]
    varied: Grid
    found: frozenset[str] = frozenset()

    @property
    def points(self) -> int:
        """The number of combinations."""
        return len(self.models) * self.varied.points

    def may_lack(self, model: Candidate) -> bool:
        """Whether a model may be left out if it does not have the scenario."""
        return isinstance(model, str) and model in self.found

    @property
    def most(self) -> int:
        """The most combinations of one comparison."""
        return MOST_COMPARED if self.varied else _MOST_NAMED


def named(models: Sequence[Candidate], vary: "Vary | None", all_timm: bool = False) -> Named:
    """The models that words name: a pattern stands for every name that it matches, a varied
    ``model`` for a list of models, and ``all_timm`` adds every architecture of timm.

    Raises ``ConfigError`` if no model is named, or if models are named in two ways, and
    ``UnknownName`` for a pattern that matches nothing.

    >>> named(["vit_tiny_patch16_224"], ["depth=6,12"]).points
    2
    >>> len(named(["swin_tiny*", "swin_s3*"], None).models)
    4
    """
    varied = grid(vary)
    values = next((axis.values for axis in varied.axes if axis.name == MODEL), None)
    rest = Grid(tuple(axis for axis in varied.axes if axis.name != MODEL))
    if values is not None and models:
        raise ConfigError(f"model varies, and models are also given: {models[0]!r:.80}")
    models = tuple(models if values is None else values)
    if not models and not all_timm:
        raise ConfigError("no model to compare")
    names: dict[str, None] = {}
    each = list(_expanded(models, names))
    if all_timm:
        # imported only for timm's whole table of names
        from vitcost.zoo.timm import architectures

        more = [name for name in architectures() if name not in names and name not in models]
        names.update(dict.fromkeys(more))
        each += more
    return Named(tuple(each), rest, frozenset(names))


def _expanded(models: Iterable[Candidate], names: dict[str, None]) -> "Iterator[Candidate]":
    """Models; a pattern is replaced by the names that match it and are not in the list yet."""
    for model in models:
        if not isinstance(model, str) or not any(c in model for c in "*?["):
            yield model
            continue
        from vitcost.zoo.patterns import is_pattern, matches

        if not is_pattern(model):
            yield model
            continue
        new = [name for name in matches(model) if name not in names and name not in models]
        names.update(dict.fromkeys(new))
        yield from new
