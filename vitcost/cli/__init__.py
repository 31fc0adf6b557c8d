"""The command line: parses, calls one function of the library, prints, exits.

A command is imported only when it is called, so that it does not wait for the others.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module

import click

from vitcost.config.words import COMMANDS as OTHER_TOOLS
from vitcost.errors import VitcostError, nearest
from vitcost.outside.users_code import has_run, reason_of
from vitcost.outside.version import VERSION

__all__ = ["COMMANDS", "cli", "help_option", "printing_option", "run"]

# the commands, each a function ``command`` in a module NAME_command, and the first line of its help
COMMANDS = {
    "report": "One page: parameters, FLOPs, memory traffic, memory, time.",
    "summary": "The table of torchsummary, without torch.",
    "models": "The known models, with their sizes.",
    "gpus": "The known cards, their figures, and the source of each figure.",
    "explain": "A formula, its numbers, result and reference.",
    "check": "The formulas against the real torch model.",
    "calibrate": "Fits the constants of a card to measurements of your own.",
    "compare": "Models side by side, or in every combination of what varies.",
    "fit": "The largest batch that fits, and which cards hold it.",
    "plan": "Time, cost and memory of a training run.",
    "serve": "How many cards answer a rate of images, and at what cost.",
    "budget": "Limits on what models cost, for CI.",
    "diff": "Changes of cost, as a comment for a pull request.",
    "trace": "Traces a module into a file that needs no torch.",
    "web": "The interactive page, as a folder of static files.",
    "schema": "The JSON schema of a command's --json.",
    "completion": "Completes names and flags in a shell.",
    "help": "The words of a page: fields, precision, memory, cards, units.",
}


class _Lazy(click.Group):
    """A group whose commands are in modules of their own, imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"vitcost.cli.{name}_command").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # the table has the first lines, since click would import every command to read them
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"no such command {args[0]!r:.80}; {_meant(args[0])}", ctx)
        return super().resolve_command(ctx, args)


def _meant(word: str) -> str:
    """The command that a wrong word may mean: by another tool's name, by a misspelling, or by a
    model's name."""
    if word in OTHER_TOOLS:
        return f"here it is `vitcost {OTHER_TOOLS[word]}`"
    guesses = nearest(word, COMMANDS)
    if guesses:
        return f"did you mean {', '.join(guesses)}?"
    # imported only for a mistake: the tables of names
    from vitcost.zoo import every_name

    models = [word] if word in every_name() else nearest(word, every_name(), 1)
    if models:
        return f"did you mean `vitcost report {models[0]}`?"
    return ", ".join(COMMANDS)


def printing_option(
    names: list[str], help: str, text: Callable[[click.Context], str]
) -> click.Option:
    """A flag that prints a text and exits. click's own flags would look for translations on the
    disk."""

    def say(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            click.echo(text(ctx), color=ctx.color)
            ctx.exit()

    return click.Option(
        names, is_flag=True, is_eager=True, expose_value=False, callback=say, help=help
    )


def help_option() -> click.Option:
    """-h, --help."""
    return printing_option(
        ["-h", "--help"], "Show this message and exit.", lambda ctx: ctx.get_help()
    )


@click.command(
    cls=_Lazy,
    add_help_option=False,
    params=[
        printing_option(
            ["--version"], "Show the version and exit.", lambda _: f"vitcost {VERSION}"
        ),
        help_option(),
    ],
)
def cli() -> None:
    """The cost of a Vision Transformer before anyone runs it.

    \b
    vitcost report vit_huge_patch14_224
    vitcost summary vit_base_patch32_224 --num-classes 5
    vitcost explain vit_base_patch16_224 params
    vitcost models huge
    vitcost gpus h100
    vitcost check vit_base_patch16_224
    vitcost compare vit_base_patch16_224 deit_base_patch16_224 --why
    vitcost fit vit_huge_patch14_224 --mode train -g h100-sxm
    vitcost plan vit_base_patch16_224 --samples 384M -g h100-sxm
    vitcost serve vit_base_patch16_224 --rate 5000/s --slo 50ms -g l4
    vitcost budget --why
    vitcost diff origin/main
    vitcost web --open
    """


def run(args: Sequence[str]) -> int:
    """Runs a command line and returns its exit code; an error of the user is one message."""
    try:
        code = cli.main(list(args), prog_name="vitcost", standalone_mode=False)
    except click.Abort:
        return 130
    except click.ClickException as error:
        return _refuse(error.format_message(), getattr(error, "ctx", None))
    except VitcostError as error:
        return _refuse(str(error))
    except OverflowError:
        from vitcost.outside.arguments import TOO_LARGE

        return _refuse(TOO_LARGE)
    except OSError as error:
        # stdout cannot be written, for example on a full disk
        from vitcost.cli.output import leave

        leave()
        return _refuse(f"cannot write the answer: {error.strerror or error}")
    except Exception as error:
        if not has_run():
            raise
        return _refuse_of_users_code(error)
    return code if isinstance(code, int) else 0


def _refuse_of_users_code(error: Exception) -> int:
    """Reports an internal error and its place; the user's code may have changed this process."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    where = f" ({last.tb_frame.f_code.co_filename}, line {last.tb_lineno})" if last else ""
    message = f"your code has run in this process, and then: {reason_of(error)}{where}"
    try:
        return _refuse(message)
    except Exception:
        # the user's code may have replaced stderr
        with suppress(OSError):
            os.write(2, ascii(f"Error: {message}").strip("'\"").encode() + b"\n")
        return 2


def _refuse(message: str, ctx: click.Context | None = None) -> int:
    """Prints a user's error, for a wrong flag also the usage, and returns the exit code."""
    from vitcost.page import printable

    usage = (
        "" if ctx is None else f"{ctx.get_usage()}\nTry '{ctx.command_path} --help' for help.\n\n"
    )
    lines = [printable(line) for line in message.splitlines()]
    # the exit code is right even if stderr is closed
    with suppress(OSError):
        click.echo(usage + "Error: " + "\n".join(lines), err=True)
    return 2
