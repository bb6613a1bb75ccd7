# SPDX-License-Identifier: LGPL-2.1-or-later
"""The ways in which a user can name one page. (Imports nothing: the command line parses with it.)"""

from __future__ import annotations

from dataclasses import dataclass

FORMS = "a PFN (107187 or 0x1a2b3), phys:0x…, virt:0x… (kernel address), PID:0x… (user address), page:0x…"


@dataclass(frozen=True)
class PageName:
    """``kind``: pfn, phys, virt, user or page; ``number``: the PFN or address; ``pid``: of a user address."""

    kind: str
    number: int
    pid: int = 0


def parse_page(text: str) -> PageName:
    """The page that *text* names.

    :raises ValueError: when it is in none of the :data:`FORMS`; the message lists them.
    """
    kind, colon, rest = text.rpartition(":")
    number = _number(rest)
    if number is None or (colon and not kind):
        raise ValueError(f"'{text}' names no page; write {FORMS}")
    if not colon:
        return PageName("pfn", number)
    if kind in ("phys", "virt", "page"):
        return PageName(kind, number)
    pid = _number(kind) if kind.isascii() and kind.isdecimal() else None
    if pid is None:
        raise ValueError(f"'{text}' names no page; write {FORMS}")
    return PageName("user", number, pid)


def _number(text: str) -> int | None:
    """An unsigned 64-bit number, decimal or 0x hexadecimal; None if it is not one."""
    digits, base = (text[2:], 16) if text[:2].lower() == "0x" else (text, 10)
    allowed = "0123456789abcdefABCDEF"[: 10 if base == 10 else 22]
    if not digits or len(digits) > 20 or any(c not in allowed for c in digits):
        return None
    value = int(digits, base)
    return value if value < 1 << 64 else None
