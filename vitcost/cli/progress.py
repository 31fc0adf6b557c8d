"""A progress bar on stderr, for work that takes longer than a second."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress_bar"]

PATIENCE_SECONDS = 1.0


@contextmanager
def progress_bar(label: str = "") -> Iterator[Callable[[int, int, str], None] | None]:
    """Yields ``step(done, total, label)``. The bar appears after a second, and only on a terminal;
    it shows ``label`` until the first step is done."""
    if not (sys.stderr and sys.stderr.isatty()):
        yield None
        return
    from threading import Timer

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(label, total=None)

    def step(done: int, total: int, label: str) -> None:
        bar.update(task, completed=done, total=total, description=label)

    timer = Timer(PATIENCE_SECONDS, bar.start)
    timer.daemon = True
    timer.start()
    try:
        yield step
    finally:
        timer.cancel()
        bar.stop()
