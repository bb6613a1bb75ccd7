# SPDX-License-Identifier: LGPL-2.1-or-later
"""The error policy: every way in which a command can end is decided here and nowhere else.

Errors are one line on standard error, never a traceback; a closed pipe is no error.
``PAGEOWNER_DEBUG=1`` lets the traceback out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from pageowner.errors import PageownerError
from pageowner.escape import one_line

INTERRUPTED = 130


def guard(command: Callable[[], int]) -> int:
    """Call ``command`` and turn whatever it raises into a line and an exit status."""
    try:
        status = _status_of(command)
        if sys.stdout:  # None where the caller closed it
            sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return 0
    except Exception as error:
        # The last resort. Anything that is not foreseen below is a defect of ours, but a user
        # with a broken machine in front of them gets a line that says so, not a traceback.
        if os.environ.get("PAGEOWNER_DEBUG"):
            raise
        _settle_stdout()
        _say(f"error: {explain(error)}")
        return error.exit_code if isinstance(error, PageownerError) else 1


def explain(error: Exception) -> str:
    """The text of the error line, without ``error:``."""
    if isinstance(error, PageownerError):
        return str(error)
    if _is_fault(error):
        return f"unreadable memory at {getattr(error, 'address', 0):#x} ({error})"
    if isinstance(error, OSError):
        return _of_oserror(error)
    if isinstance(error, MemoryError):
        return "out of memory"
    kind = type(error).__name__
    if kind in ("LookupError", "ObjectNotFoundError"):  # a probe that found nothing
        return f"the target lacks what this needs, or its types are damaged ({error})"
    return f"internal error ({kind}: {error}); please report it, with what PAGEOWNER_DEBUG=1 shows"


def _status_of(command: Callable[[], int]) -> int:
    try:
        return command()
    except SystemExit as leave:  # argparse, after --help
        return leave.code if isinstance(leave.code, int) else 0


def _is_fault(error: Exception) -> bool:
    # Not imported here: where drgn was never imported, its errors cannot come up.
    drgn = sys.modules.get("drgn")
    return drgn is not None and isinstance(error, drgn.FaultError)


def _of_oserror(error: OSError) -> str:
    text = error.strerror or str(error)
    return f"{error.filename}: {text}" if error.filename else text


def _say(text: str) -> None:
    print(f"pageowner: {one_line(text)}", file=sys.stderr)


def _settle_stdout() -> None:
    """Flush what can be flushed: a full disk is not to be told of twice."""
    try:
        sys.stdout.flush()
    except (OSError, AttributeError):
        _silence_stdout()


def _silence_stdout() -> None:
    """Let the interpreter's last flush go nowhere, so that it cannot complain."""
    if sys.stdout is None:
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
