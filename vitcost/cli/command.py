"""A command and its options: checks of arguments before anything is computed, and the help."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import click
from click.core import ParameterSource

from vitcost.cli import help_option, printing_option
from vitcost.cli.output import ALSO, chosen_format, tell
from vitcost.render import JUDGING, SUFFIXES

__all__ = ["Command", "Flag", "Option", "answers", "given", "options"]

# a flag in the table of a command: its names, its help, and further arguments of ``Option``
Flag: TypeAlias = tuple[str, str, Mapping[str, Any]]


class Command(click.Command):
    """A command whose help shows examples first, and its options by section.

    ``rare`` makes the many options that few users need; it is called only if a flag is not found
    otherwise. ``judges``: whether rows of the answer can fail, as GitHub's annotations need.
    ``suffixes`` are those of the files that ``-o`` writes, each with its format; ``own_file``: the
    file is not an answer in one of the formats, but has a form of its own.
    """

    def __init__(
        self,
        *args: Any,
        examples: str = "",
        rare: Callable[[], list[click.Parameter]] | None = None,
        suffixes: Mapping[str, str] = SUFFIXES,
        own_file: bool = False,
        judges: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        # click's own option looks for translations on the disk
        self.add_help_option = False
        self.examples = examples
        self.rare = rare
        self.has_fields = rare is not None
        self.suffixes = suffixes
        self.own_file = own_file
        self.judges = judges
        self._help_all = printing_option(
            ["--help-all"], "every flag, and every field of a model", _whole_help
        )
        self._help = help_option()

    def invoke(self, ctx: click.Context) -> Any:
        # a file whose suffix contradicts the format is refused before anything is computed
        named, as_json, output = (ctx.params.get(n) for n in ("format", "as_json", "output"))
        if self.own_file:
            named, as_json = None, False
        chosen = chosen_format(named, bool(as_json), output, self.suffixes)
        formats = [chosen, *(also for also, _ in ctx.meta.get(ALSO, ()))]
        verdict = next((each for each in formats if each in JUDGING), None)
        if verdict and not (self.judges or ctx.params.get("check")):
            more = ": add --check" if "check" in ctx.params else ""
            raise click.UsageError(
                f"--format {verdict} lists what fails, and {self.name} judges nothing{more}"
            )
        if output is not None and output in (file for _, file in ctx.meta.get(ALSO, ())):
            raise click.UsageError(f"-o and --also are both {output!r:.80}")
        for line in _rebuilt(ctx):
            tell(line)
        code = super().invoke(ctx)
        for note in self._notes(ctx):
            tell(f"note: {note}")
        return code

    def _notes(self, ctx: click.Context) -> Iterator[str]:
        """The reasons why typed flags cannot matter."""
        typed = given()
        if typed:
            # imported only if a flag was typed
            from vitcost.config.idle import idle

            varied = (text.partition("=")[0] for text in ctx.params.get("vary") or ())
            yield from idle(self.name or "", typed, tuple(varied))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = {flag for param in self.params for flag in (*param.opts, *param.secondary_opts)}
        flags = {arg.partition("=")[0] for arg in args if arg.startswith("-")}
        known |= {"--help-all", *self._help.opts}
        if ctx.resilient_parsing or not flags <= known:
            self._add_rare()
        typed = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            # imported only for a message
            from vitcost.config.offers import offer

            ours = offer(error.option_name, _value_of(error.option_name, typed))
            if ours:
                raise click.UsageError(f"no such option: {ours}", ctx) from None
            raise
        except click.UsageError as error:
            if not error.message.startswith("Got unexpected extra argument"):
                raise
            raise click.UsageError(self._one_too_many(ctx, error.message), ctx) from None

    def _add_rare(self) -> None:
        """Makes the rare options, once."""
        if self.rare is not None:
            params, self.rare = self.rare(), None
            for param in params:
                if isinstance(param, Option):
                    param.rare = True
            self.params += params

    def _one_too_many(self, ctx: click.Context, message: str) -> str:
        """The message for several models if the command takes one."""
        models = next((p for p in self.params if isinstance(p, click.Argument)), None)
        if models is None or models.name != "model" or self.name == "compare":
            return message
        return f"{message}; {self.name} takes one model; for several: `vitcost compare A B`"

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        self._help_all.hidden = not self._has_more()
        return [*super().get_params(ctx), self._help_all, self._help]

    def _has_more(self) -> bool:
        return self.rare is not None or any(_is_rare(param) for param in self.params)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if not ctx.meta.get(_WHOLE) and self._has_more():
            fields = (
                "any field of the model (--img-size, --num-classes, …) and "
                if self.has_fields
                else ""
            )
            formatter.write_paragraph()
            formatter.write_text(f"{fields}rare flags: --help-all. Reading help: vitcost help")

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if ctx.meta.get(_WHOLE) or not self._has_more():
            super().format_help_text(ctx, formatter)
            return
        # the first paragraph is the answer of the command
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text((self.help or "").partition("\n\n")[0])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        whole = bool(ctx.meta.get(_WHOLE))
        if self.examples:
            with formatter.section("Examples"):
                examples = self.examples.strip().splitlines()
                for line in examples if whole or not self._has_more() else examples[:_EXAMPLES]:
                    formatter.write(f"{'':{formatter.current_indent}}{line.strip()}\n")
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None or not isinstance(param, click.Option):
                continue
            if not whole and _is_rare(param):
                continue
            flag = f"--[no-]{param.opts[0][2:]}" if param.secondary_opts else record[0]
            section = getattr(param, "section", "Output")
            help_text = (
                record[1] if whole else _in_short(flag, record[1], getattr(param, "words", ()))
            )
            sections.setdefault(section, []).append((flag, help_text))
        # a command's own flags come first, its output last, in whatever order they are declared
        titles = sorted(sections, key=lambda title: _PLACES.get(title, 1))
        for title, records in ((title, sections[title]) for title in titles):
            with formatter.section(title):
                formatter.write_dl(records)


# the key in a context that asks for the whole help
_WHOLE = "vitcost.whole"
_PLACES = {"Options": 0, "Output": 2}
_EXAMPLES = 4
# columns of a screen, and of the flags in front of their help
_SCREEN, _FLAG = 78, 26


def _whole_help(ctx: click.Context) -> str:
    """Prints the whole help; ``--help`` prints the short one."""
    ctx.meta[_WHOLE] = True
    command = ctx.command
    if isinstance(command, Command):
        command._add_rare()
    return ctx.get_help()


def _is_rare(param: click.Parameter) -> bool:
    return isinstance(param, Option) and param.rare


def _in_short(flag: str, help_text: str, words: tuple[str, ...] = ()) -> str:
    """The help of a flag in one line, without its list of words and its remarks if these do not
    fit."""
    room = _SCREEN - max(_FLAG, len(flag) + 4)
    text, default, value = help_text.partition("  [default: ")
    if len(help_text) <= room:
        return help_text
    if words:
        # a list of allowed words helps more than a description
        left = room - len(default) - len(value)
        while words and len(", ".join(words)) + 3 > left:
            words = words[:-1]
        return f"{', '.join(words)}, …{default}{value}"
    for sign in ("; ", ": "):
        if len(text) + len(default) + len(value) > room:
            text = text.partition(sign)[0]
    return text + default + value if len(value) < room else text


def _value_of(flag: str, args: Sequence[str]) -> str:
    """The value that was typed after a flag that does not exist."""
    for i, arg in enumerate(args):
        name, equals, value = arg.partition("=")
        if name == flag:
            follows = args[i + 1] if i + 1 < len(args) else ""
            return value if equals else "" if follows.startswith("-") else follows
    return ""


def _rebuilt(ctx: click.Context) -> Iterator[str]:
    """A note for each pretrained model that is fed images of any size but built for another
    size."""
    size = ctx.params.get("img_size")
    if size is None:
        return
    from vitcost.zoo import is_rebuilt

    typed = [ctx.params.get(name) or () for name in ("model", "models", "model_option")]
    names = [(each,) if isinstance(each, str) else each for each in typed]
    sides = size if isinstance(size, int) else "x".join(map(str, size))
    for name in (name for each in names for name in each):
        if is_rebuilt(name, size):
            yield (
                f"{name}: --img-size {sides}: this rebuilds the position table, "
                f"--input-size {sides} keeps it"
            )


def answers(name: str, **how: Any) -> Callable[[Callable[..., Any]], Command]:
    """Makes a command of the function below; ``how`` are arguments of ``Command``."""
    return click.command(name, cls=Command, **how)


class Option(click.Option):
    """An option with its section in the help.

    A ``passed`` option is a keyword of the library's function, which receives it if it was typed. A
    ``rare`` option is only in the whole help; ``words`` are its allowed values.
    """

    def __init__(
        self,
        *args: Any,
        section: str = "Options",
        passed: bool = False,
        rare: bool = False,
        words: tuple[str, ...] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.words = words
        self.section = section
        self.passed = passed
        self.rare = rare


def options(flags: Iterable[Flag], **shared: Any) -> list[click.Parameter]:
    """The options in a table of flags; ``shared`` arguments hold for rows that do not set them."""
    return [
        Option(names.split(), help=words, **{**shared, **typed}) for names, words, typed in flags
    ]


def given() -> dict[str, Any]:
    """The keywords for the library among the typed flags of the running command."""
    ctx = click.get_current_context()
    return {
        param.name: ctx.params[param.name]
        for param in ctx.command.params
        if isinstance(param, Option)
        and param.passed
        and param.name is not None
        and ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE
    }
