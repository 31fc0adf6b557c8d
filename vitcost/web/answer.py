"""The page's answer to a question: the library's own results through the renderers of HTML.

It runs in the browser's Python, and once when the folder is made, for the first answer. An answer
also shows how to ask the same question elsewhere: by a command, by a call in Python, by a budget.
"""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from html import escape
from types import MappingProxyType
from typing import Any, NamedTuple

from vitcost.config.flags import mode_of
from vitcost.config.scenario import Scenario
from vitcost.costs.quantities import QUANTITIES
from vitcost.costs.report import report, report_in, with_times
from vitcost.costs.report_types import Report
from vitcost.costs.roofline_picture import roofline
from vitcost.errors import ConfigError, VitcostError
from vitcost.hardware.specs import asked_cards
from vitcost.page import Column, Page, Row, Table, printable
from vitcost.planner.fit import fit
from vitcost.planner.from_keywords import asked
from vitcost.render.html import body
from vitcost.render.mathml import mathml
from vitcost.web.controls import given
from vitcost.web.formula import SHOWN, formulas_of
from vitcost.zoo import digests
from vitcost.zoo.modules import is_factory

__all__ = [
    "Answer",
    "answer",
    "as_budget",
    "as_command",
    "as_python",
    "asked_of",
    "in_full",
    "lacks",
]


_PLAIN = Scenario()


def _asked(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that change the answer: the mode, flags of the scenario that are not at their
    defaults, and every field of the model."""
    return {
        name: value
        for name, value in flags.items()
        if name == "mode" or value != getattr(_PLAIN, name, None)
    }


def as_command(model: str, flags: Mapping[str, Any]) -> str:
    """The command that gives the answer.

    >>> as_command("gpt2", {"batch": 8, "mode": "train", "zero": 0, "gpu": "mine,memory_gb=8"})
    'vitcost report gpt2 --batch 8 --mode train --gpu mine,memory_gb=8'
    """
    words = ["vitcost", "report", model]
    for name, value in _asked(flags).items():
        text = "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
        words += [f"--{name.replace('_', '-')}", text]
    return shlex.join(words)


def as_python(model: str, flags: Mapping[str, Any]) -> str:
    """The call in Python that gives the answer.

    >>> print(as_python("gpt2", {"batch": 8}))
    import vitcost
    <BLANKLINE>
    report = vitcost.report("gpt2", batch=8)
    """
    values = {
        name: json.dumps(value) if isinstance(value, str) else repr(value)
        for name, value in _asked(flags).items()
    }
    arguments = "".join(f", {name}={value}" for name, value in values.items())
    return f"import vitcost\n\nreport = vitcost.report({json.dumps(model)}{arguments})"


def as_budget(model: str, flags: Mapping[str, Any], report: Report) -> str:
    """A budget in TOML whose limits are exactly today's numbers."""
    mode = report.scenario.mode
    data = report.to_dict()
    limits = ["params", "train_memory" if mode == "train" else "inference_memory"]
    lines = ["[[tool.vitcost.budget]]", f"model = {json.dumps(model)}"]
    for name, value in _asked(flags).items():
        if name != "gpu":
            json_value = list(value) if isinstance(value, tuple) else value
            lines.append(f"{name} = {json.dumps(json_value)}")
    for name in limits:
        value = QUANTITIES[name].read(data)
        if value is not None:
            lines.append(f'{name} = "{value} B"' if name != "params" else f"{name} = {value}")
    return "\n".join(lines)


class Answer(NamedTuple):
    """A column of the page: its markup, or an error message. ``said`` is the answer in one line,
    ``own`` are the model's own values for fields that are not given, and ``patch`` is the side of a
    patch, the step by which an image grows. ``both`` is the markup below two columns."""

    html: str = ""
    said: str = ""
    error: str = ""
    own: Mapping[str, str] = MappingProxyType({})
    patch: int = 1
    both: str = ""


def asked_of(text: str) -> str:
    """The answer to a question in JSON, with a column for each model; ``rest`` asks for the part
    below the numbers that follow a slider."""
    question = json.loads(text)
    rest = question.pop("rest", False)
    models = [question.get("model", ""), question.get("other", "")]
    columns = [answer(model, question, rest) for i, model in enumerate(models) if model or not i]
    if rest and len(columns) == 2 and not any(column.error for column in columns):
        columns[0] = columns[0]._replace(both=_both(models, question))
    return json.dumps([{**column._asdict(), "own": {**column.own}} for column in columns])


def lacks(text: str) -> str:
    """The files that a question's models need and that have not been loaded, in JSON: the name of
    each in the page's folder, and its place."""
    question = json.loads(text)
    models = (question.get(field, "").strip() for field in ("model", "other"))
    files = dict.fromkeys(filter(None, map(digests.file_of, models)))
    return json.dumps([[file.name, str(file)] for file in files if not file.exists()])


def in_full(text: str) -> str:
    """The JSON of ``vitcost report`` for a question, or the error message."""
    question = json.loads(text)
    try:
        return json.dumps(report(_model(question["model"]), **given(question)).to_dict())
    except VitcostError as error:
        return json.dumps({"error": str(error)})


def answer(model: str, question: Mapping[str, str], rest: bool = False) -> Answer:
    """One column: its first part, or with ``rest`` the second part."""
    try:
        name, flags = _model(model), given(question)
        reported = _report(name, tuple(flags.items()))
        if rest:
            return Answer(_rest(name, flags, reported))
        page = _page(reported, flags)
        markup = body(page)
    except VitcostError as error:
        return Answer(error=printable(str(error)))
    vision: Any = getattr(reported.model.config, "vision", reported.model.config)
    sides = getattr(vision, "img_size", None)
    fields = {"img_size": sides and "x".join(map(str, dict.fromkeys(sides)))}
    fields["num_classes"] = getattr(vision, "num_classes", None)
    shown = {field: str(value) for field, value in fields.items() if value is not None}
    patch = max(getattr(vision, "patch_size", None) or (1,))
    return Answer(markup, "; ".join(page.answer[:2]), own=shown, patch=patch)


def _both(models: Sequence[str], question: Mapping[str, str]) -> str:
    """The parts of both models, drawn over the limits of one card."""
    flags = tuple(given(question).items())
    reports = [_report(_model(model), flags) for model in models]
    return body(Page("", pictures=lambda: tuple(roofline(reports))))


def _model(name: str) -> str:
    """A model as it is typed; code is refused, since a browser does not run it."""
    if is_factory(name.strip()):
        raise ConfigError(
            f"{name:.80}: a model from code is traced where its torch is: "
            f"`vitcost trace {name.strip():.80} -o FILE`; drop that file here"
        )
    return name.strip()


@lru_cache(maxsize=8)
def _report(model: str, flags: tuple[tuple[str, Any], ...]) -> Report:
    """The report without numbers that are slow and not in the first part of the page."""
    keywords = {**dict(flags), **mode_of("report", dict(flags))}
    gpu = keywords.pop("gpu", ())
    try:
        resolved, scenario = asked(model, keywords)
        reported = report_in(resolved, scenario, by_precision=False)
        # a card that is given only by its memory has a verdict but no time
        cards = asked_cards(gpu, {}) if gpu else ()
        cards = tuple(card for card in cards if any(card.peaks) or card.capacity_bytes is None)
        return with_times(reported, cards, turning=False) if cards else reported
    except VitcostError:
        # asked again as a whole, so that the message is the usual one
        return report(model, **dict(flags))


def _page(reported: Report, flags: Mapping[str, Any]) -> Page:
    page = reported.page()
    what, numbers, *cards = page.answer
    answers = [*cards, *_largest(reported, flags), numbers]
    lead = (what, *(f"{time.gpu}: the time is {time.basis}" for time in reported.time))
    return Page(page.title, lead, answer=tuple(answers), bars=page.bars, pictures=page.pictures)


def _largest(reported: Report, flags: Mapping[str, Any]) -> Iterator[str]:
    """The largest batch on the card."""
    if "gpu" not in flags:
        return
    try:
        if not reported.time:
            yield from fit(reported.model, **_fitted(flags)).page().answer[1:]
            return
        # a batch of two fits nearly everywhere, so no other ways are searched
        (row,) = fit(reported.model, **{**_fitted(flags), "batch": 2}).found
    except VitcostError as error:
        yield f"largest batch: {error}"
        return
    if row.largest_batch is not None:
        at_most = "at least " if row.used_is == "bounded" else ""
        yield f"{row.gpu}: largest batch {at_most}{row.largest_batch:,}"


def _fitted(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags for a fit; the resolved model has the fields already."""
    names = {"gpu", *Scenario.__dataclass_fields__}
    return {name: value for name, value in flags.items() if name in names}


def _rest(model: str, flags: Mapping[str, Any], reported: Report) -> str:
    lines = [body(Page("", tables=tuple(_ways(reported, flags))))]
    lines += _formulas(reported)
    lines += _spelled(model, flags, reported)
    numbers = body(_numbers(reported))
    lines.append(f"<details><summary><span>Exact numbers</span></summary>{numbers}</details>")
    return "\n".join(lines)


def _ways(reported: Report, flags: Mapping[str, Any]) -> Iterator[Table]:
    """Changes that make the batch fit, the cheapest first."""
    if "gpu" not in flags:
        return
    try:
        fitted = fit(reported.model, **_fitted(flags))
    except VitcostError:
        return
    yield from fitted.page().tables[1:]


def _formulas(reported: Report) -> Iterator[str]:
    for name, (letters, numbers, result) in formulas_of(reported.model, reported.scenario).items():
        yield f"<section><h2>Formula: {SHOWN[name]}</h2>"
        for i, line in enumerate((letters, numbers)):
            written = mathml(line) or escape(line)
            yield f'<p class="formula" tabindex="0">{"= " if i else ""}{written}</p>'
        yield f'<p class="formula" tabindex="0">= {int(result):,}</p></section>'


def _spelled(model: str, flags: Mapping[str, Any], reported: Report) -> Iterator[str]:
    yield '<section class="wide copies"><h2>The same question</h2>'
    for title, text in (
        ("command", as_command(model, flags)),
        ("Python", as_python(model, flags)),
        ("budget, in pyproject.toml", as_budget(model, flags, reported)),
    ):
        written = escape(_lines(text))
        yield f'<figure><figcaption>{title}</figcaption><pre tabindex="0">{written}</pre></figure>'
    yield "</section>"


def _lines(text: str) -> str:
    """Lines of text, escaped so that no sign in a name breaks them.

    >>> _lines("a\\nb\\x1b")
    'a\\nb\\\\x1b'
    """
    return "\n".join(map(printable, text.split("\n")))


def _numbers(reported: Report) -> Page:
    """Every quantity with all its digits, as in the JSON."""
    data = reported.to_dict()
    values = ((name, quantity.read(data)) for name, quantity in QUANTITIES.items())
    rows = [
        Row((name, f"{value:,}" if isinstance(value, int) else repr(value)))
        for name, value in values
        if value is not None
    ]
    return Page("", tables=(Table("", (Column("quantity"), Column("value")), tuple(rows)),))
