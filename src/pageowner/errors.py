# SPDX-License-Identifier: LGPL-2.1-or-later
"""The one error class that users see, and its children.

An error is one line that says what is wrong and what to do next; it is printed in one
place (``commands.main``), which also takes the exit status from it.
"""

from __future__ import annotations

# What drgn raises for types that contradict themselves: flipped bits of BTF can make up any type.
DAMAGED_TYPE = (TypeError, RecursionError)


class PageownerError(Exception):
    """Something a user can act on. ``exit_code`` is the status the command ends with."""

    exit_code: int = 1


class SourceError(PageownerError):
    """The source cannot be opened or is not what it seems."""


class SymbolsError(PageownerError):
    """The target's types or symbols cannot be had."""


class LayoutError(PageownerError):
    """The target lacks a structure, member or global that a reader needs."""
