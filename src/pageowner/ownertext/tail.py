# SPDX-License-Identifier: LGPL-2.1-or-later
"""What follows the PFN line: stack, handle, migration, memory cgroup. Each distinct one is read once."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FRAMES = re.compile(rb"(?: [^\n]*\n)*(?: [^\n]*\Z)?")
_HANDLE = re.compile(rb"^handle: (-?[0-9]{1,10})$", re.MULTILINE)
_MIGRATED = re.compile(rb"^Page has been migrated, last migrate reason: (.*)$", re.MULTILINE)
_SLAB = re.compile(rb"^Slab cache page$", re.MULTILINE)
_CHARGED = re.compile(rb"^Charged (\(via objcg\) )?to (offline )?memcg (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Tail:
    """``frames``: the stack's lines; ``handle``: of the stack depot, where the text gives it (7.3);
    ``memcg``: name of the charged cgroup, with ``objcg`` and ``offline``; ``slab``: a line says slab page;
    ``text``: frames and lines up to the empty line, what page_owner_sort takes for the stack.
    """

    frames: bytes
    handle: int | None
    migrate_reason: bytes | None
    memcg: bytes | None
    objcg: bool
    offline: bool
    slab: bool
    text: bytes


def read_tail(raw: bytes) -> Tail:
    """The parts of *raw*: all of a record after its PFN line."""
    end = 0 if raw.startswith(b"\n") else raw.find(b"\n\n") + 1
    text = raw[:end] if end or raw.startswith(b"\n") else raw
    found = _FRAMES.match(text)
    frames = found.group() if found else b""
    lines = text[len(frames) :]
    handle, migrated, charged = _HANDLE.search(lines), _MIGRATED.search(lines), _CHARGED.search(lines)
    return Tail(
        frames=frames,
        handle=int(handle.group(1)) & 0xFFFFFFFF if handle else None,
        migrate_reason=migrated.group(1) if migrated else None,
        memcg=charged.group(3) if charged else None,
        objcg=bool(charged and charged.group(1)),
        offline=bool(charged and charged.group(2)),
        slab=_SLAB.search(lines) is not None,
        text=text,
    )
