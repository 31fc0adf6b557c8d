"""``vitcost completion``."""

import click
from click.shell_completion import get_completion_class

from vitcost.cli.command import answers
from vitcost.cli.flag_values import Words
from vitcost.cli.output import write

__all__ = ["command"]

_SHELLS = ("bash", "zsh", "fish")
_EXAMPLES = """
vitcost completion bash >> ~/.bashrc
vitcost completion zsh >> ~/.zshrc
vitcost completion fish > ~/.config/fish/completions/vitcost.fish
"""


@answers(
    "completion",
    examples=_EXAMPLES,
    params=[click.Argument(["shell"], type=Words(_SHELLS), metavar="bash|zsh|fish")],
)
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Completes names and flags in a shell."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell!r}; {', '.join(_SHELLS)}")
    script = kind(ctx.find_root().command, {}, "vitcost", "_VITCOST_COMPLETE")
    write(script.source_template % script.source_vars(), None)
