"""``python -m vitcost``, and the ``vitcost`` command."""

import gc
import sys

__all__ = ["main"]


def main() -> None:
    """Runs the command line and exits with its code."""
    # a start makes many objects and frees few: frequent searches for cycles would take a tenth of
    # its time
    gc.set_threshold(50_000)
    from vitcost.outside.users_code import end, keep_answers_apart

    keep_answers_apart()
    try:
        from vitcost.cli import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        # the exit code that a shell gives to a process ended by this signal
        code = 130
    # when the interpreter ends, it would search all objects for cycles once more
    gc.freeze()
    end(code)


if __name__ == "__main__":
    main()
