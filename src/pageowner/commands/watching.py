# SPDX-License-Identifier: LGPL-2.1-or-later
"""A progress bar on a terminal's standard error, and Ctrl-C that keeps what has been read."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

from pageowner.kernel.watch import LOOKING, Watch

if TYPE_CHECKING:
    from rich.progress import Progress

# What is done sooner than this shows no bar.
PATIENCE = 0.7


class Watching(Watch):
    """Shows progress; the first Ctrl-C while pages are read ends the reading, any other one the command."""

    def __init__(self, keeps: bool) -> None:
        """*keeps*: what was read before Ctrl-C is of use to the user."""
        self._keeps = keeps
        self._reading = self._stopped = self._swallowed = False
        self._bar: Progress | None = None
        self._shows = sys.stderr is not None and sys.stderr.isatty()
        self._since = time.monotonic()
        self._stage = ""

    def at(self, stage: str, done: int, total: int) -> None:
        if self._shows and time.monotonic() - self._since > PATIENCE:
            self._show(stage, done, max(done, total))

    def stops(self) -> bool:
        # Asked before the first page, too: from then on there is something to keep.
        if not self._reading:
            self._reading = True
            self.listen()
        if self._swallowed:
            raise KeyboardInterrupt
        return self._stopped

    @property
    def interrupted(self) -> bool:
        """Whether the user has asked to stop: exit status 130."""
        return self._stopped

    def listen(self) -> None:
        """Take Ctrl-C over; anew when pages are read, for what a library may have done meanwhile."""
        with suppress(ValueError):  # not the main thread: whoever called us has to deal with signals
            signal.signal(signal.SIGINT, self.on_interrupt)

    def on_interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        """What Ctrl-C does."""
        if not (self._keeps and self._reading) or self._stopped:
            raise KeyboardInterrupt
        self._stopped = True

    def on_unraisable(self, unraisable: sys.UnraisableHookArgs) -> None:
        """A Ctrl-C that came while a library was calling back into Python ends the command a little later."""
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            self._swallowed = True
        else:
            sys.__unraisablehook__(unraisable)

    def _show(self, stage: str, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = _bar()
            self._bar.start()
        if stage != self._stage:
            for task in self._bar.task_ids:
                self._bar.remove_task(task)
            self._bar.add_task(stage, total=total, completed=done)
            self._stage = stage
        self._bar.update(self._bar.task_ids[-1], completed=done, total=total)

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._shows = False


def _import_polars() -> None:
    """Now, while Ctrl-C waits: on its import polars takes the signal over, and would end us by it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        import polars  # noqa: F401
    finally:
        with suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def watching(keeps: bool) -> Iterator[Watching]:
    """A watch for the kernels that the block opens; *keeps* as above."""
    watch, before = Watching(keeps), signal.getsignal(signal.SIGINT)
    hook, sys.unraisablehook = sys.unraisablehook, watch.on_unraisable
    token = LOOKING.set(watch)
    _import_polars()
    watch.listen()
    try:
        yield watch
    finally:
        sys.unraisablehook = hook
        watch.end()
        LOOKING.reset(token)
        with suppress(ValueError):
            signal.signal(signal.SIGINT, before)


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("reading {task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)
