"""``Result``: the answer of every command, and the table that leads from a result to its page."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitcost.page import Page

__all__ = ["PAGES", "Result"]

# the function that makes the page of a result, imported when a page is asked for
PAGES = {
    "Report": "vitcost.pages.report_page.report_page",
    "Models": "vitcost.pages.models_page.models_page",
    "Explanation": "vitcost.pages.explain_page.explain_page",
    "Gpus": "vitcost.pages.gpus_page.gpus_page",
    "Calibrated": "vitcost.pages.calibration_page.calibration_page",
    "Score": "vitcost.pages.throughput_page.throughput_page",
    "Comparison": "vitcost.pages.compare_page.compare_page",
    "Sweep": "vitcost.pages.sweep_page.sweep_page",
    "Fit": "vitcost.pages.fit_page.fit_page",
    "Serve": "vitcost.pages.serve_page.serve_page",
    "Plan": "vitcost.pages.plan_page.plan_page",
    "BudgetResult": "vitcost.pages.budget_page.budget_page",
    "Diff": "vitcost.pages.diff_page.diff_page",
    "CheckResult": "vitcost.pages.check_page.check_page",
}
# the function that gives a notebook's part of a page, and the one that gives the lines above every
# page
_FRAGMENT, _ANSWERED = "vitcost.render.html.fragment", "vitcost.page.answered"
_RENDER = "vitcost.render.render"


class Result:
    """An answer: its JSON, its flat rows, and the page that every format for people prints.

    ``repr`` gives its title and its answer in one line, ``print`` the page.
    """

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        # a dataclass would otherwise make a repr of every field
        for name in ("__repr__", "__str__"):
            if name not in cls.__dict__:
                setattr(cls, name, getattr(cls, name))

    def __repr__(self) -> str:
        page = self.page()
        summary = ": ".join(part for part in (page.title, "; ".join(page.answer[:2])) if part)
        return f"<{type(self).__name__} {summary}>"

    def __str__(self) -> str:
        import sys

        width = None
        if sys.stdout and sys.stdout.isatty():
            from shutil import get_terminal_size

            width = get_terminal_size().columns
        text: str = _function(_RENDER)(self, width=width)
        return text.rstrip("\n")

    def to_dict(self) -> dict[str, Any]:
        """The JSON, in base units."""
        raise NotImplementedError

    def rows(self) -> Iterable[Mapping[str, Any]]:
        """Flat rows in base units: ``pandas.DataFrame(result.rows())``."""
        raise NotImplementedError

    def get(self, path: str) -> Any:
        """A value by its path in the JSON; the path has an index for each list.

        Raises ``ConfigError`` with the existing keys.

        >>> from vitcost import fit, report
        >>> report("vit_base_patch16_224").get("memory.training.peak_at")
        'optimizer step'
        >>> fit("vit_base_patch16_224", gpu="l4").get("rows.0.gpu")
        'l4'
        """
        value: Any = self.to_dict()
        for key in path.split("."):
            # a list has its indices as keys, any other value has none
            inside: Mapping[str, Any] = {}
            if isinstance(value, list):
                inside = {str(i): each for i, each in enumerate(value)}
            elif isinstance(value, dict):
                inside = value
            if key not in inside:
                raise _nothing_at(key, path, ", ".join(inside) or "nothing inside")
            value = inside[key]
        return value

    def to_pandas(self) -> Any:
        """The flat rows as a ``pandas.DataFrame``. Raises ``MissingExtra`` without pandas."""
        return self._frame("pandas")

    def to_polars(self) -> Any:
        """The flat rows as a ``polars.DataFrame``. Raises ``MissingExtra`` without polars."""
        return self._frame("polars")

    def _frame(self, package: str) -> Any:
        from importlib import import_module

        from vitcost.errors import MissingExtra

        try:
            frames = import_module(package)
        except ImportError:
            raise MissingExtra(package, "", "a table of rows") from None
        return frames.DataFrame([dict(row) for row in self.rows()])

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
        subject = f"2 towers; the vision tower alone: {alone}"
        return page._replace(title=f"{page.title}: {subject}" if page.title else subject)

    def pairs(self) -> tuple[str, ...]:
        """The names of the models with two towers in the answer."""
        model: Any = getattr(self, "model", None)
        towers = hasattr(getattr(model, "config", None), "vision")
        return (model.name,) if towers else ()

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows."""
        html: str = _function(_FRAGMENT)(self)
        return html


def _nothing_at(key: str, path: str, there: str) -> Exception:
    from vitcost.errors import ConfigError

    return ConfigError(f"the JSON has no {path!r:.80}: no {key!r:.40} there; it has {there:.300}")


def _function(path: str) -> Any:
    from importlib import import_module

    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)
