"""``budget``: limits on the costs of a model and on their growth, for a pull request to keep."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from vitcost.costs.quantities import QUANTITIES, TIMED, parse_limit
from vitcost.costs.quantity import NO_TERMS, TERMS, Amount, Terms
from vitcost.costs.report import Report, report
from vitcost.errors import ConfigError, NotCovered, VitcostError
from vitcost.outside.arguments import flag, optional, path, takes
from vitcost.render.result import Result
from vitcost.zoo import Model

# imported only for a budget, as these load tomllib, json, fractions and pathlib
if TYPE_CHECKING:
    from fractions import Fraction

    from vitcost.planner.budgets.baseline import Baseline
    from vitcost.planner.budgets.declared import Declared, Place
    from vitcost.planner.changes import Changed

__all__ = ["BudgetResult", "Check", "assert_budget", "budget", "declared_terms"]

SCHEMA = "vitcost.budget/1"
# the mode unless a keyword names one, so that a flag of training alone does not change a time
_MODE = {"mode": "infer"}


class Check(NamedTuple):
    """A quantity of one budget against its limit and its baseline.

    ``baseline`` is the quantity in the committed file, ``tolerated`` the most that it may have
    grown to, or the least that it may have fallen to. If ``value`` is None, ``missing`` says why.
    """

    name: str
    quantity: str
    value: Amount | None
    limit: Amount | None
    baseline: Amount | None = None
    tolerated: Amount | None = None
    level: str = "error"
    place: "Place | None" = None
    grew: "tuple[Changed, ...]" = ()
    missing: str | None = None
    peak_is: str | None = None  # whether the peak in train_memory is exact or bounded

    @property
    def at_most(self) -> bool:
        """Whether the value is an upper bound of what the model needs."""
        return self.peak_is == "bounded"

    @property
    def more(self) -> bool:
        """Whether more is better, so that the limit is the least allowed value."""
        return QUANTITIES[self.quantity].more

    @property
    def headroom(self) -> Amount | None:
        """The distance of the value to the nearer of the limit and the tolerated change; negative
        if it is beyond one of them."""
        limits = [limit for limit in (self.limit, self.tolerated) if limit is not None]
        if self.value is None or not limits:
            return None
        return self.value - max(limits) if self.more else min(limits) - self.value

    @property
    def verdicts(self) -> tuple[str, ...]:
        """Every rule that the value breaks: a limit is ``exceeded``, the model ``grew`` beyond its
        baseline; where more is better, a limit is ``missed`` and the model ``fell``; or there is
        ``no answer``."""
        value = self.value
        if value is None:
            return ("no answer",)
        words = ("missed", "fell") if self.more else ("exceeded", "grew")
        return tuple(
            word
            for word, limit in zip(words, (self.limit, self.tolerated), strict=True)
            if limit is not None and (value < limit if self.more else value > limit)
        )

    @property
    def ok(self) -> bool:
        """Whether no rule is broken."""
        return not self.verdicts

    @property
    def reasons(self) -> tuple[str, ...]:
        """A sentence for every rule that the value breaks: by how much, and how to mend it."""
        from vitcost.page import shown

        if self.value is None:
            return (f"{self.quantity}: {self.missing}",)
        unit, clauses = QUANTITIES[self.quantity].unit, []
        under, less = ("under", "less") if self.more else ("over", "more")
        if {"exceeded", "missed"} & {*self.verdicts}:
            by = shown(abs(self.value - (self.limit or 0)), unit)
            verb = "lower" if self.more else "raise"
            change = f"; {verb} the limit at {self.place}" if self.place else ""
            clauses.append(f"{by} {under} the limit of {shown(self.limit, unit)}{change}")
        if {"grew", "fell"} & {*self.verdicts}:
            by = shown(abs(self.value - (self.baseline or 0)), unit)
            was = shown(self.baseline, unit)
            clauses.append(
                f"{by} {less} than the baseline of {was}; accept: vitcost budget --update"
            )
        verb = "is, as a bound," if self.at_most else "is"
        return tuple(f"{self.quantity} {verb} {each}" for each in clauses)


@dataclass(frozen=True, slots=True)
class BudgetResult(Result):
    """Every check of every budget. ``why``: whether the page names the layers that grew."""

    checks: tuple[Check, ...]
    why: bool = False
    towers: tuple[str, ...] = ()  # the names of models with two towers
    origins: tuple[str, ...] = ()  # the libraries and versions from which stored traces come

    def pairs(self) -> tuple[str, ...]:
        """The names of the models that have two towers."""
        return self.towers

    @property
    def ok(self) -> bool:
        """Whether every check holds, apart from checks that only warn."""
        return all(check.ok or check.level == "warn" for check in self.checks)

    @property
    def unanswered(self) -> tuple[str, ...]:
        """The reasons why checks have no answer, each once; checks that only warn are left out."""
        reasons = (
            check.missing for check in self.checks if check.missing and check.level != "warn"
        )
        return tuple(dict.fromkeys(reasons))

    def to_dict(self) -> dict[str, Any]:
        """The JSON of schema ``vitcost.budget/1``."""
        grew = ([each._asdict() for each in check.grew] for check in self.checks)
        rows = zip(self.rows(), grew, strict=True)
        checks = [{**row, "grew": layers} for row, layers in rows]
        return {"schema": SCHEMA, "ok": self.ok, "checks": checks}

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every check as a flat row: ``pandas.DataFrame(result.rows())``."""
        for check in self.checks:
            yield {
                "name": check.name,
                "quantity": check.quantity,
                "value": check.value,
                "limit": check.limit,
                "baseline": check.baseline,
                "ok": check.ok,
                "verdict": ", ".join(check.verdicts) or "ok",
                "peak_is": check.peak_is,
                "missing": check.missing,
                "level": check.level,
                "file": check.place and check.place.file,
                "line": check.place and check.place.line,
            }


@takes(config=path, baseline=optional(path), update=flag, why=flag)
def budget(
    config: str = "pyproject.toml",
    *,
    baseline: str | None = None,
    update: bool = False,
    why: bool = False,
) -> BudgetResult:
    r"""The budgets of a file, each quantity against its limit and against the baseline.

    ``baseline`` is a file, ``vitcost-baseline.json`` beside ``config`` unless given; ``update``
    writes it. A check that cannot be answered has the reason; all others are answered. Raises
    ``ConfigError`` with file and line for a wrong file. If no check can be answered, or if one
    cannot while a baseline is written, its reason is raised: ``ConfigError``, or ``NotCovered`` for
    a quantity without an exact figure.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "pyproject.toml")
    ...     _ = file.write_text(
    ...         "[[tool.vitcost.budget]]\n"
    ...         'model = "vit_base_patch16_224"\nparams = "86.6 M"\nmacs = "17 G"\n'
    ...     )
    ...     checks = budget(str(file)).checks
    >>> [(check.quantity, check.value, check.limit) for check in checks]
    [('params', 86567656, 86600000), ('macs', 17563828224, 17000000000)]
    """
    from vitcost.planner.budgets import baseline as kept
    from vitcost.planner.budgets.declared import read_budgets

    declared = read_budgets(config)
    file = baseline or kept.beside(config)
    entries: Baseline = {} if update else kept.read(file) or {}
    errors: list[VitcostError] = []
    checks: list[Check] = []
    pairs: list[str] = []
    origins: list[str] = []
    for each in declared:
        try:
            report, terms = _reported(each), declared_terms(each)
        except VitcostError as error:
            errors.append(error)
            checks += _unanswered(each, error)
            continue
        pairs += report.pairs()
        origins += report.model.origins(each.name)
        if update:
            entries = {**entries, each.name: kept.recorded(report, terms)}
        checks += _checks(each, report, terms, entries, errors)
    if errors and (update or all(check.missing for check in checks)):
        raise errors[0]
    if update:
        kept.write(file, entries)
    notes = (tuple(dict.fromkeys(each)) for each in (pairs, origins))
    return BudgetResult(tuple(checks), why, *notes)


def assert_budget(model: Model, **limits: Any) -> None:
    """Fails a test whose model costs more than it may.

    ``limits`` are quantities (``params="87 M"``, ``train_memory="24 GiB"``; for
    ``images_per_second`` the limit is the least). Other keywords are those of ``report`` (flags of
    the scenario, fields of the config), and ``price``, ``samples`` and ``epochs`` for costs. Raises
    ``AssertionError`` with the table if a limit does not hold, ``VitcostError`` for a question that
    is not possible.

    >>> assert_budget("vit_base_patch16_224", params="86.6 M", macs="17 G")
    Traceback (most recent call last):
    AssertionError: Budget exceeded
    """
    most = {key: parse_limit(key, limits[key]) for key in limits if key in QUANTITIES}
    of_costs = {key: limits[key] for key in TERMS if key in limits}
    if not most:
        raise ConfigError(f"no limit; there are {', '.join(QUANTITIES)}")
    keywords = {key: limits[key] for key in limits if key not in most and key not in of_costs}
    measured = report(model, **{**_MODE, **keywords})
    name = measured.model.name
    terms = _terms_of(keywords, of_costs, most)
    values = {key: _value(key, name, measured, terms) for key in most}
    checks = tuple(
        Check(name, key, values[key], limit, peak_is=_peak_is(key, measured))
        for key, limit in most.items()
    )
    result = BudgetResult(checks, origins=tuple(measured.model.origins(name)))
    if not result.ok:
        # imported only if a limit does not hold: a passing test prints no table
        from vitcost.render import render

        raise AssertionError(render(result, "table").rstrip())


def _terms_of(keywords: Mapping[str, Any], terms: Mapping[str, Any], names: Iterable[str]) -> Terms:
    """The terms of costs, for the cards that the keywords name."""
    if not terms:
        return NO_TERMS
    # imported only if a price is given
    from vitcost.planner.comparison_question import terms_of

    return terms_of(keywords, terms, names)


def _reported(budget: "Declared") -> Report:
    try:
        return report(budget.model, **{**_MODE, **budget.keywords})
    except VitcostError as error:
        # a message about the model begins with its name; a message about a keyword contains the
        # keyword
        on_model = str(error).startswith(budget.model)
        place = budget.places["model" if on_model else _key_in(error, budget.keywords, "model")]
        kind = NotCovered if isinstance(error, NotCovered) else ConfigError
        raise kind(f"{place}: {error}") from error


def _key_in(error: VitcostError, keys: Iterable[str], default: str) -> str:
    """The key of a budget to which an error message refers."""
    words = str(error).replace("'", " ").split()
    return next((key for key in keys if key in words), default)


def declared_terms(budget: "Declared") -> Terms:
    r"""The terms of a budget's costs. Raises ``ConfigError`` with the line of a term that is wrong
    or missing.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from vitcost.planner.budgets.declared import read_budgets
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "pyproject.toml")
    ...     _ = file.write_text(
    ...         "[[tool.vitcost.budget]]\n"
    ...         'model = "vit_base_patch16_224"\ngpu = "l4"\nprice = "0.8/h"\n'
    ...         'cost_per_million_images = "1"\n'
    ...     )
    ...     (declared,) = read_budgets(str(file))
    >>> dict(declared_terms(declared).prices)
    {'l4': 0.8}
    """
    names = [limit.quantity for limit in budget.limits]
    try:
        return _terms_of(budget.keywords, budget.terms, names)
    except VitcostError as error:
        place = budget.places[_key_in(error, (*budget.terms, *names), "")]
        raise ConfigError(f"{place}: {error}") from error


def _unanswered(budget: "Declared", error: VitcostError) -> Iterator[Check]:
    """The checks of a budget whose model has no report."""
    for quantity, most, place in budget.limits:
        check = Check(budget.name, quantity, None, most, level=budget.level, place=place)
        yield check._replace(missing=str(error))


def _checks(
    budget: "Declared",
    report: Report,
    terms: Terms,
    baseline: "Baseline",
    errors: list[VitcostError],
) -> Iterator[Check]:
    """The checks of a budget; the reason of a check without an answer is also added to
    ``errors``."""
    from vitcost.planner.budgets.baseline import grown

    before = baseline.get(budget.name)
    for quantity, most, place in budget.limits:
        was = before and before.quantities.get(quantity)
        tolerated = None if was is None else _tolerated(quantity, was, budget.tolerance)
        check = Check(budget.name, quantity, None, most, was, tolerated, budget.level, place)
        try:
            value = _value(quantity, budget.name, report, terms, f"{place}: ")
            check = check._replace(value=value, peak_is=_peak_is(quantity, report))
            if most is None and was is None:
                raise ConfigError(
                    f"{place}: {quantity} is limited by a baseline that does not have it; "
                    "`vitcost budget --update` writes it"
                )
        except VitcostError as error:
            errors.append(error)
            check = check._replace(value=None, missing=str(error))
        if before is not None and not check.ok:
            check = check._replace(grew=tuple(grown(report, before, quantity)))
        yield check


def _peak_is(quantity: str, report: Report) -> str | None:
    return report.training.peak_is if quantity == "train_memory" else None


def _tolerated(quantity: str, was: Amount, tolerance: "Fraction") -> Amount:
    """The most that a quantity may have grown to, or, if more is better, the least that it may have
    fallen to. The limit of a count is a whole number, computed exactly."""
    most = was * (1 - tolerance if QUANTITIES[quantity].more else 1 + tolerance)
    return most if isinstance(most, float) else int(most)


def _value(quantity: str, name: str, report: Report, terms: Terms, where: str = "") -> Amount:
    value = QUANTITIES[quantity].read(report, terms)
    if report.left_out and quantity in ("flops", "macs"):
        raise NotCovered(f"{where}{quantity} of {name} are not all counted: {report.left_out}")
    if value is None and quantity in TIMED and not report.time:
        raise NotCovered(f"{where}{quantity} of {name} is known on a card only: give a gpu")
    if value is None and quantity in TIMED:
        lacks = TIMED[quantity].lacks(terms, (time.gpu for time in report.time))
        if lacks:
            raise ConfigError(f"{where}{quantity} needs {lacks}")
        modes = TIMED[quantity].mode, report.scenario.mode
        raise NotCovered(
            "{}{} exists in mode {} only, and the mode is {}".format(where, quantity, *modes)
        )
    if value is None:
        why = report.training.missing
        reason = f": {why}" if why else ""
        raise NotCovered(
            f"{where}{quantity} of {name} has no exact figure under this scenario{reason}"
        )
    return value
