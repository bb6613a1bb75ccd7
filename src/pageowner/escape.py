# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names that users chose (comm, paths), made safe for a line of text and for a terminal."""

from __future__ import annotations


def escape(text: str | bytes, also: str = "") -> str:
    r"""``text`` with bytes below 0x20, 0x7f, ``\``, invalid UTF-8 and those in ``also`` as ``\ooo``.

    Strings are taken as the operating system's (invalid bytes as surrogates, PEP 383).
    """
    # Nearly all names are safe as they are.
    if isinstance(text, str) and text.isascii() and text.isprintable() and set(text).isdisjoint("\\" + also):
        return text
    raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    decoded = raw.decode("utf-8", "surrogateescape")
    return "".join(_character(c, also) for c in decoded)


def one_line(message: str) -> str:
    r"""An error message on one line: control characters as ``\ooo``, backslashes left alone."""
    return "".join(c if c == "\\" else _character(c, "") for c in message)


def _character(c: str, also: str) -> str:
    if c == "\\" or c in also or c < " " or c == "\x7f":
        return f"\\{ord(c):03o}"
    if "\udc80" <= c <= "\udcff":
        return f"\\{ord(c) - 0xDC00:03o}"
    return c
