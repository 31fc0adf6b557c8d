"""``Result``: what every command answers with, and the table from a result to its page."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitcost.page import Page

__all__ = ["PAGES", "Result"]

# the function that makes the page of a result, which is loaded when a page is asked for
PAGES = {
    "Report": "vitcost.pages.report.report_page",
    "Models": "vitcost.pages.models.models_page",
    "Explanation": "vitcost.pages.explain.explain_page",
    "Gpus": "vitcost.pages.gpus.gpus_page",
    "Calibrated": "vitcost.pages.calibration.calibration_page",
    "Score": "vitcost.pages.throughput.throughput_page",
    "Comparison": "vitcost.pages.compare.compare_page",
    "Sweep": "vitcost.pages.sweep.sweep_page",
    "Fit": "vitcost.pages.fit.fit_page",
    "Serve": "vitcost.pages.serve.serve_page",
    "Plan": "vitcost.pages.plan.plan_page",
    "BudgetResult": "vitcost.pages.budget.budget_page",
    "CheckResult": "vitcost.check.page.check_page",
}
# the part of a page that a notebook shows, and the lines that stand above every page
_FRAGMENT, _ANSWERED = "vitcost.render.html.fragment", "vitcost.page.answered"


class Result:
    """An answer: its JSON, its flat rows, and the page that every format for people prints."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON, in base units."""
        raise NotImplementedError

    def rows(self) -> Iterable[Mapping[str, Any]]:
        """Flat rows in base units: ``pandas.DataFrame(result.rows())``."""
        raise NotImplementedError

    def page(self) -> "Page":
        """The answer as titled tables.

        >>> from vitcost import report
        >>> report("vit_base_patch16_224").page().title
        'vit_base_patch16_224'
        """
        name = next(cls.__name__ for cls in type(self).__mro__ if cls.__name__ in PAGES)
        page: Page = _function(_ANSWERED)(_function(PAGES[name])(self))
        pairs = self.pairs()
        if not pairs:
            return page
        alone = ", ".join(f"{pair}:vision" for pair in pairs)
        said = f"2 towers; the vision tower alone: {alone}"
        return page._replace(title=f"{page.title}: {said}" if page.title else said)

    def pairs(self) -> tuple[str, ...]:
        """The names of models of two towers that the answer is of."""
        model: Any = getattr(self, "model", None)
        towers = hasattr(getattr(model, "config", None), "vision")
        return (model.name,) if towers else ()

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        html: str = _function(_FRAGMENT)(self)
        return html


def _function(path: str) -> Any:
    from importlib import import_module

    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)
