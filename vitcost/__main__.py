"""``python -m vitcost``, and the ``vitcost`` command."""

import sys

__all__ = ["main"]


def main() -> None:
    """Runs the command line and exits with its code."""
    try:
        _quiet_pipe()
        from vitcost.cli import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        # as a shell reports a process that was ended by this signal
        code = 130
    sys.exit(code)


def _quiet_pipe() -> None:
    """Ends silently, as other commands do, when the reader of the output has gone (`| head`)."""
    import signal

    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


if __name__ == "__main__":
    main()
