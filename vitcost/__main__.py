"""``python -m vitcost``, and the ``vitcost`` command."""

import sys

__all__ = ["main"]


def main() -> None:
    """Runs the command line and exits with its code."""
    try:
        from vitcost.cli import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        # as a shell reports a process that was ended by this signal
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
