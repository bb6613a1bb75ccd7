# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bytes that are no UTF-8, carried through polars strings, which must be UTF-8.

Names that users choose (comm, cgroups, files) are bytes. In our tables a byte that is not part of valid
UTF-8 stands as one character of Unicode's last private-use area, U+10FF80 … U+10FFFF; those characters
themselves, should a name really contain one, are carried byte by byte, too. So :func:`to_bytes` gives back
exactly what :func:`carry` was given.
"""

from __future__ import annotations

import re

import polars as pl

from pageowner.escape import escape

_BASE = 0x10FF00
_LEAD = b"\xf4\x8f"  # how the UTF-8 of every carrier begins
_CARRIED = re.compile(rb"\xf4\x8f[\xbe\xbf][\x80-\xbf]")


def carry(raw: bytes | str) -> str:
    """*raw* as a string that polars takes.

    :param raw: bytes, or a string with surrogate escapes (PEP 383).
    """
    data = raw.encode("utf-8", "surrogateescape") if isinstance(raw, str) else raw
    if data.isascii():
        return data.decode("ascii")
    text = data.decode("utf-8", "surrogateescape")
    return "".join(_carried(c) for c in text)


def _carried(c: str) -> str:
    if "\udc80" <= c <= "\udcff":
        return chr(_BASE + ord(c) - 0xDC00)
    if ord(c) >= _BASE + 0x80:
        return "".join(chr(_BASE + byte) for byte in c.encode())
    return c


def to_bytes(text: str) -> bytes:
    """The bytes that *text*, made of carried pieces, stands for."""
    return uncarried(text.encode())


def uncarried(data: bytes) -> bytes:
    """The bytes that *data*, text in UTF-8 made of carried pieces, stands for."""
    # One byte is sought much faster than two, and it is not in what is ASCII.
    if _LEAD[:1] not in data or _LEAD not in data:
        return data
    return _CARRIED.sub(lambda m: bytes([ord(m.group().decode()) - _BASE]), data)


def joined_bytes(texts: pl.Series, separator: str = "") -> bytes:
    """All of *texts*, one after the other: what goes to a file. No Python object per row."""
    if not len(texts):
        return b""
    whole = texts.str.join(separator).item()
    return to_bytes(whole)


def escape_carried(text: str, also: str = "") -> str:
    """*text* (carried) escaped as :func:`pageowner.escape.escape` does: for terminals and our own lines."""
    return escape(to_bytes(text), also)


def visible_lines(texts: pl.Series) -> pl.Series:
    """*texts* (carried), each of any number of lines, with what a terminal obeys in them as ``\\ooo``."""
    unique = texts.drop_nulls().unique()
    if not len(unique):
        return texts
    shown = ["\n".join(map(escape_carried, text.split("\n"))) for text in unique]
    return texts.replace_strict(unique, shown, default=None, return_dtype=pl.String)
