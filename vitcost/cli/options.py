"""The flags that commands share, each generated from what the library declares."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import Field as DataclassField
from dataclasses import fields
from typing import Any

import click
from click.core import ParameterSource

from vitcost.cli.output import chosen_format, tell
from vitcost.cli.words import FieldValue, Gpu, ModelName, ParamType, Words
from vitcost.config import FIELDS, RATIOS
from vitcost.errors import ConfigError
from vitcost.fields import Field, Pair
from vitcost.idle import idle
from vitcost.render import FORMATS, SUFFIXES
from vitcost.scenario import CHOICES, HELP, Scenario

__all__ = [
    "Command",
    "Gpu",
    "Words",
    "field_options",
    "format_options",
    "given",
    "gpu_options",
    "gpu_query",
    "measured_options",
    "model_options",
    "models_given",
    "one_model",
    "output_options",
    "scenario_options",
]

_SHORT = {"batch": ("-b",)}
_TEXT_SECTION = "Fields of a model that reads text"


class Command(click.Command):
    """A command whose help shows examples first, and its options by section.

    ``rare`` makes options that are many: they are made when a flag is not found without them.
    ``suffixes`` are those of the files that ``-o`` writes, and the format of each; ``own_file``:
    the file is no answer in a format, but the command's own.
    """

    def __init__(
        self,
        *args: Any,
        examples: str = "",
        rare: Callable[[], list[click.Parameter]] | None = None,
        suffixes: Mapping[str, str] = SUFFIXES,
        own_file: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples
        self.rare = rare
        self.suffixes = suffixes
        self.own_file = own_file

    def invoke(self, ctx: click.Context) -> Any:
        # a file that is not what its name says is refused before anything is computed
        named, as_json, output = (ctx.params.get(n) for n in ("format", "as_json", "output"))
        if self.own_file:
            named, as_json = None, False
        chosen_format(named, bool(as_json), output, self.suffixes)
        for line in _rebuilt(ctx):
            tell(line)
        code = super().invoke(ctx)
        varied = (text.partition("=")[0] for text in ctx.params.get("vary") or ())
        for note in idle(self.name or "", given(ctx), tuple(varied)):
            tell(f"note: {note}")
        return code

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = {flag for param in self.params for flag in (*param.opts, *param.secondary_opts)}
        flags = {arg.partition("=")[0] for arg in args if arg.startswith("-")}
        if self.rare is not None and (ctx.resilient_parsing or not flags <= known):
            self.params += self.rare()
            self.rare = None
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples.strip().splitlines():
                    formatter.write(f"{'':{formatter.current_indent}}{line.strip()}\n")
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None or not isinstance(param, click.Option):
                continue
            flag = f"--[no-]{param.opts[0][2:]}" if param.secondary_opts else record[0]
            section = getattr(param, "section", "Options")
            sections.setdefault(section, []).append((flag, record[1]))
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def _rebuilt(ctx: click.Context) -> Iterator[str]:
    """A line for each pretrained model that is fed images of any size, and is built for another."""
    size = ctx.params.get("img_size")
    if size is None:
        return
    from vitcost.zoo import is_rebuilt

    typed = [ctx.params.get(name) or () for name in ("model", "models", "model_option")]
    names = [(each,) if isinstance(each, str) else each for each in typed]
    said = size if isinstance(size, int) else "x".join(map(str, size))
    for name in (name for each in names for name in each):
        if is_rebuilt(name, size):
            yield (
                f"{name}: --img-size {said}: this rebuilds the position table, "
                f"--input-size {said} keeps it"
            )


class Option(click.Option):
    """An option with the section of the help that it stands in.

    ``passed`` ones are keywords of the library's function, and are given to it when typed.
    """

    def __init__(
        self, *args: Any, section: str = "Options", passed: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.section = section
        self.passed = passed


def model_options(*, many: bool = False) -> list[click.Parameter]:
    """MODEL, or --model MODEL."""
    return [
        click.Argument(["model"], required=False, type=ModelName(), nargs=-1 if many else 1),
        Option(
            ["--model", "model_option"],
            type=ModelName(),
            multiple=many,
            help="instead of the argument",
        ),
        Option(
            ["--tower"],
            type=Words(("vision", "text")),
            metavar="vision|text",
            help="one tower of a model of two, as NAME:vision and NAME:text are",
            passed=True,
        ),
    ]


def one_model(argument: str | None, option: str | None) -> str:
    """The model that was given, once, in one of two ways."""
    if argument is not None and option is not None:
        raise click.UsageError(f"two models given, {option!r} and {argument!r}")
    model = argument if option is None else option
    if model is None:
        raise click.UsageError("no MODEL given; `vitcost models` lists them")
    return model


def models_given(arguments: Iterable[str], options: Iterable[str]) -> list[str]:
    """One model or more."""
    models = [*options, *arguments]
    if not models:
        raise click.UsageError("no MODEL given; `vitcost models` lists them")
    return models


def scenario_options(only: Iterable[str] | None = None) -> list[click.Parameter]:
    """A flag for each field of the scenario, or for some."""
    return [
        _scenario_option(field) for field in fields(Scenario) if only is None or field.name in only
    ]


def _scenario_option(field: "DataclassField[Any]") -> Option:
    flags, words = [*_SHORT.get(field.name, ()), _flag(field.name)], HELP.get(field.name, "")
    if field.type is bool:
        return Option(flags, is_flag=True, help=words, section="Scenario", passed=True)
    return _worded(
        flags,
        CHOICES.get(field.name, ()),
        click.INT if field.type is int else Words(CHOICES.get(field.name, ())),
        "N" if field.type is int else "NAME",
        words,
        "Scenario",
        f"  [default: {field.default}]" if field.default != "" else "",
    )


def gpu_options(only: Iterable[str] | None = None, section: str = "Time") -> list[click.Parameter]:
    """The cards that a question is for, and what the user knows of them; or some of these flags."""
    flags: tuple[tuple[list[str], ParamType, str, str], ...] = (
        (
            ["-g", "--gpu"],
            Gpu(),
            "NAME",
            "a card, of `vitcost gpus` or your own; figures in place of its own behind commas: "
            "l4,power_w=60",
        ),
        (
            ["--gpu-file"],
            click.Path(),
            "FILE",
            "your own cards, [gpu.NAME]  [default: pyproject.toml, [tool.vitcost.gpu.NAME]]",
        ),
        (["--calibration"], click.Path(), "FILE", "what `vitcost calibrate` wrote"),
        (
            ["--anchor"],
            Words(),
            "MODEL=IMG_PER_S",
            "what the card was measured to do, in this scenario",
        ),
    )
    return [
        Option(
            names,
            type=kind,
            metavar=metavar,
            help=text,
            section=section,
            passed=True,
            multiple=True,
        )
        for names, kind, metavar, text in flags
        if only is None or names[-1] in only
    ]


def gpu_query() -> click.Parameter:
    """A part of a card's name."""
    return click.Argument(["query"], required=False, default="", type=Gpu())


def field_options() -> list[click.Parameter]:
    """A flag for each field of a config, those of a model of text too."""
    from vitcost.text import TEXT_FIELDS

    ratio: tuple[Any, Field] = (float, Field("ratio to embed_dim, in place of the width"))
    text = {name: declared for name, declared in TEXT_FIELDS.items() if name not in FIELDS}
    return [
        *_fed_options(),
        *(_field_option(name, *declared) for name, declared in FIELDS.items()),
        *(_field_option(name, *ratio) for name in RATIOS),
        *(_field_option(name, *declared, _TEXT_SECTION) for name, declared in text.items()),
    ]


_METAVARS: dict[Any, str] = {
    Pair: "N|HxW", Pair | None: "N|HxW", str: "NAME", float: "X", float | None: "X",
}  # fmt: skip


_FED_SECTION = "What a traced module is fed, and its loss"


def _fed_options() -> list[click.Parameter]:
    """The inputs and the loss of a module that is traced."""
    return [
        Option(
            ["--input"],
            multiple=True,
            metavar="[NAME=]SHAPE[:DTYPE]",
            help="an input without the batch: 3x224x224, ids=77:int64; again for each",
            section=_FED_SECTION,
            passed=True,
        ),
        Option(
            ["--loss"],
            metavar="MODULE:FUNCTION",
            help="from the output, and the batch where it takes two, to one number",
            section=_FED_SECTION,
            passed=True,
        ),
    ]


def _field_option(
    name: str,
    kind: Any,
    field: Field,
    section: str = "Fields of the model, in place of the model's own",
) -> Option:
    if kind in (bool, bool | None):
        flags = f"{_flag(name)}/{_flag(f'no_{name}')}"
        return Option([flags], default=None, help=field.help, section=section, passed=True)
    metavar = _METAVARS.get(kind, "N")
    value = FieldValue(name, kind, field)
    return _worded([_flag(name)], field.choices, value, metavar, field.help, section)


def _worded(
    flags: list[str],
    choices: tuple[str, ...],
    kind: ParamType,
    metavar: str,
    help: str,
    section: str,
    default: str = "",
) -> Option:
    """A passed option that shows its choices: beside the flag where they are short."""
    joined = "|".join(choices)
    if joined and len(joined) <= 24:
        metavar = joined
        words = ""
    else:
        words = f": {', '.join(word or repr(word) for word in choices)}" if choices else ""
    text = help + words + default
    return Option(flags, type=kind, metavar=metavar, help=text, section=section, passed=True)


def _one_card(ctx: click.Context, param: click.Parameter, names: Sequence[str]) -> str | None:
    # other commands take several
    if len(names) > 1:
        raise ConfigError(f"measurements are of one card, got {', '.join(names)}")
    return names[0] if names else None


def measured_options(section: str = "What the files do not say") -> list[click.Parameter]:
    """What holds for the rows of files of measurements."""
    said = ["mode", "precision", "optimizer", "layout", "compile", "software"]
    scenario = [
        Option(
            [_flag(name)],
            is_flag=name == "compile",
            default=None,
            type=None if name == "compile" else Words(CHOICES.get(name, ())),
            metavar=None if name == "compile" else "NAME",
            help=HELP[name].partition(":")[0].partition("  [")[0],
            section=section,
            passed=True,
        )
        for name in said
    ]
    card = Option(
        ["-g", "--gpu"],
        type=Gpu(),
        metavar="NAME",
        multiple=True,
        callback=_one_card,
        help="a card",
        section=section,
        passed=True,
    )
    own = Option(
        ["--gpu-file"],
        type=click.Path(),
        metavar="FILE",
        multiple=True,
        help="your own cards  [default: pyproject.toml]",
        section=section,
        passed=True,
    )
    return [card, *scenario, own]


def output_options() -> list[click.Parameter]:
    """--format, --json, -o."""
    return [
        *format_options(),
        Option(["-o", "--output"], type=click.Path(), metavar="FILE", help="a file, not stdout"),
    ]


def format_options() -> list[click.Parameter]:
    """--format, --json."""
    return [
        Option(
            ["--format"], type=Words(FORMATS), metavar="|".join(FORMATS), help="[default: table]"
        ),
        Option(["--json", "as_json"], is_flag=True, help="the same as --format json"),
    ]


def given(ctx: click.Context) -> dict[str, Any]:
    """The library's keywords among the flags that were typed."""
    return {
        param.name: ctx.params[param.name]
        for param in ctx.command.params
        if isinstance(param, Option)
        and param.passed
        and param.name is not None
        and ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE
    }


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
