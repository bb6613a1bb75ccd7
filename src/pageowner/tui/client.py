# SPDX-License-Identifier: LGPL-2.1-or-later
"""The screen's side of the scanning child: starts it, asks it, starts another when it is gone."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection

from pageowner.errors import SourceError
from pageowner.tui.protocol import Answer, Opened, Request, Setup

# -P: a file in the working directory is not to be taken for one of our modules.
_CODE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from pageowner.tui.child import main; main(int(sys.argv[1]))"
)
_SECONDS_TO_LEAVE = 3.0


class Client:
    """One child. ``start`` first; then ``ask`` from any thread, one request at a time."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._link: Connection | None = None
        self.closed = False
        """Whether nobody is to ask any more."""
        self.cpu_of_dead = 0.0
        """CPU seconds of children that are gone, as far as they told."""
        self._cpu = 0.0

    @property
    def pid(self) -> int | None:
        """The child's process id; None when there is none."""
        return None if self._process is None else self._process.pid

    def start(self) -> Opened:
        """Open the source in a new child; a password may be asked for.

        :raises SourceError: one line, why it cannot be opened.
        """
        return self._start(replace(self._setup, ask=True))

    def ask(self, request: Request) -> Answer:
        """The answer; it blocks until it is there. A child that is gone is an error line, and so is one
        that cannot be started again."""
        with self._lock:
            if self.closed:
                return Answer(error="closed")
            try:
                if self._link is None:
                    self._start(self._setup)
                return self._exchange(request)
            except SourceError as error:
                return Answer(error=str(error))

    def close(self) -> None:
        """End the child; whoever waits for its answer gets an error."""
        self.closed = True
        process = self._process
        if process is None:
            return
        process.terminate()  # a guest that it has stopped runs again: sources.qemu sees to that
        try:
            process.wait(_SECONDS_TO_LEAVE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self, setup: Setup) -> Opened:
        ours, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            command = [sys.executable, "-P", "-c", _CODE, str(number), json.dumps(sys.path)]
            quiet = None if setup.ask else subprocess.DEVNULL
            self._process = subprocess.Popen(
                command, pass_fds=[number], stdin=quiet, stdout=subprocess.DEVNULL, stderr=quiet
            )
        self._link = Connection(ours.detach())
        answer = self._exchange(setup)
        if answer.error is not None:
            self._drop()
            raise SourceError(answer.error)
        opened: Opened = answer.value
        return opened

    def _exchange(self, message: Request | Setup) -> Answer:
        assert self._link is not None
        try:
            self._link.send(message)
            answer: Answer = self._link.recv()
        except (EOFError, OSError):
            raise SourceError(self._obituary()) from None
        self._cpu = answer.cpu
        return answer

    def _obituary(self) -> str:
        status = self._drop()
        if status is not None and status < 0:
            with suppress(ValueError):
                name = signal.Signals(-status).name
                return f"the scanning process was ended by {name}; if memory is short, that is why"
        return f"the scanning process has ended (status {status})"

    def _drop(self) -> int | None:
        """Forget a child that is of no use any more; its exit status."""
        process, link = self._process, self._link
        self._process = self._link = None
        self.cpu_of_dead, self._cpu = self.cpu_of_dead + self._cpu, 0.0
        if link is not None:
            link.close()
        if process is None:
            return None
        try:
            return process.wait(_SECONDS_TO_LEAVE)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
