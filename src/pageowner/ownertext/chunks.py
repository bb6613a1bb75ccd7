# SPDX-License-Identifier: LGPL-2.1-or-later
"""A page_owner text as a stream of pieces that hold whole records, whatever its size."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

# A record is a few hundred bytes. What is longer than this without a header is no page_owner text.
_LONGEST = 64 << 20
_TAIL = 1 << 16

START = re.compile(rb"^Page (?:allocated via|of|last freed via) order [0-9]", re.MULTILINE)
"""How the first line of a record begins: the kernel's, and ours where no allocation is recorded or for the
last free. No task name (15 bytes) is long enough to look like it, so no record can contain it."""


def chunks(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes of *blocks* again, cut so that each piece but the first begins with a record.

    Only a piece of more than 64 MiB without any header is cut elsewhere: it is not a page_owner text.
    """
    rest = b""
    for block in blocks:
        cut = _last_start(block)
        if cut is None:  # perhaps a header lies across the border
            block, rest = rest + block, b""
            cut = _last_start(block)
        if cut is None:
            cut = len(block) if len(block) >= _LONGEST else 0
        if cut:
            yield rest + block[:cut] if rest else block[:cut]
            rest = block[cut:]
        else:
            rest = block
    if rest:
        yield rest


def _last_start(data: bytes) -> int | None:
    """Where the last record of *data* begins; None if there is none but at the very beginning."""
    for low in (max(len(data) - _TAIL, 1), 1):
        found = [match.start() for match in START.finditer(data, low)]
        if found:
            return found[-1]
    return None
