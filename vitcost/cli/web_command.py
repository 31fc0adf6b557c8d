"""``vitcost web``."""

from tempfile import TemporaryDirectory

import click

from vitcost.cli.command import Flag, answers, options
from vitcost.cli.flag_values import SWITCH
from vitcost.cli.output import tell, write
from vitcost.page import printable
from vitcost.units import binary_bytes
from vitcost.web import PYODIDE, web

__all__ = ["command"]

_EXAMPLES = f"""
vitcost web site
vitcost web --open
vitcost web site --pyodide node_modules/pyodide
vitcost web site --pyodide https://cdn.jsdelivr.net/pyodide/v{PYODIDE}/full/
"""


_FLAGS: tuple[Flag, ...] = (
    (
        "--pyodide",
        f"a release of Pyodide; a folder is copied  [default: {PYODIDE} of its makers]",
        {"metavar": "FOLDER|URL"},
    ),
    ("--open opened", "serve it on this machine, and open it", SWITCH),
)


@answers(
    "web",
    examples=_EXAMPLES,
    own_file=True,
    judges=False,
    params=[
        click.Argument(["folder"], required=False),
        *options(_FLAGS),
    ],
)
def command(folder: str | None, pyodide: str | None, opened: bool) -> None:
    """The interactive page, as a folder of static files.

    Any web server serves FOLDER, GitHub Pages too. The page asks this version of the library, in
    the browser's own Python: nothing is sent anywhere. Without FOLDER --open has one for the while.
    """
    if folder is None and not opened:
        raise click.UsageError("give the FOLDER that is written, or --open")
    with TemporaryDirectory() as other:
        site = web(folder or other, pyodide=pyodide or "")
        size = binary_bytes(site.own_bytes)
        later = binary_bytes(site.digest_bytes)
        write(
            f"{printable(folder or 'page')}: {len(site.files)} files, {size} beside Python's own "
            f"and {later} of digests, which are fetched when they are asked for\n",
            None,
        )
        if opened:
            from vitcost.web.served import served

            served(site.folder, lambda address: tell(f"{address} (Ctrl-C ends it)"))
