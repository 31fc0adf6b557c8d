"""``python -m vitcost``, and the ``vitcost`` command."""

import gc
import sys

__all__ = ["main"]


def main() -> None:
    """Runs the command line and exits with its code."""
    # a start makes many objects and drops few: looking for cycles so often is a tenth of its time
    gc.set_threshold(50_000)
    from vitcost.outside.users_code import end, keep_answers_apart

    keep_answers_apart()
    try:
        from vitcost.cli import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        # as a shell reports a process that was ended by this signal
        code = 130
    # the interpreter looks for cycles once more as it ends, through all that it then throws away
    gc.freeze()
    end(code)


if __name__ == "__main__":
    main()
