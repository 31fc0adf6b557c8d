"""``vitcost help``."""

import click

from vitcost.cli.command import answers
from vitcost.cli.flag_values import Words
from vitcost.cli.output import write
from vitcost.cli.topics import TOPICS, listed
from vitcost.errors import UnknownName

__all__ = ["command"]

_EXAMPLES = """
vitcost help memory
vitcost help fields
vitcost help fit
"""


@answers(
    "help",
    examples=_EXAMPLES,
    params=[click.Argument(["topic_name"], required=False, type=Words(TOPICS), metavar="[TOPIC]")],
)
@click.pass_context
def command(ctx: click.Context, topic_name: str | None) -> None:
    """The words of a page: fields, precision, memory, cards, units.

    A TOPIC is one of these, or a command, whose help it shows; without one they are listed.
    """
    group = ctx.find_root().command
    assert isinstance(group, click.Group)
    if topic_name is None:
        lines = listed((f"vitcost help {name}", text) for name, (text, _) in TOPICS.items())
        text = "\n".join(["Topics:", *lines, "", "Commands: `vitcost --help`"])
    elif topic_name in TOPICS:
        text = "\n".join(TOPICS[topic_name][1]())
    else:
        named = group.get_command(ctx, topic_name)
        if named is None:
            names = [*TOPICS, *group.list_commands(ctx)]
            raise UnknownName("topic", topic_name, names, f"topics: {', '.join(TOPICS)}")
        text = named.get_help(click.Context(named, info_name=topic_name, parent=ctx.parent))
    write(text + "\n", None)
