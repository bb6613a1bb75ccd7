# SPDX-License-Identifier: LGPL-2.1-or-later
"""``explain`` for people, 80 columns wide: what the page is, where it is mapped, who allocated it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import BinaryIO

from pageowner.snapshot.explain import BUDDY_BLOCK, Explanation, Refs, physical
from pageowner.snapshot.explain_mapped import Place, Places
from pageowner.snapshot.explain_record import Event, Record

WIDTH = 80
_TITLE = 12


def write_explain_text(found: Explanation, out: BinaryIO) -> None:
    """Write *found* to *out*."""
    text = "\n".join([*_head(found), *_now(found), *_places(found.places), *record_lines(found.record)])
    out.write(text.encode("utf-8", "backslashreplace") + b"\n")


def _head(found: Explanation) -> Iterator[str]:
    yield f"PFN 0x{found.pfn:x} ({found.pfn}), phys:0x{physical(found.pfn):x}, page:0x{found.page:x}"
    yield from wrapped(found.owner.line, "", "  ")
    yield ""


def _now(found: Explanation) -> Iterator[str]:
    yield from row_lines("owner", found.owner.owner)
    for title, text in found.details:
        yield from row_lines(title, text)
    for claim in found.users:
        yield from row_lines("stale claim" if claim.stale else "used by", claim.line)
    yield from row_lines("page", _unit(found))
    where = found.where
    yield from row_lines(
        "place", f"node {where.node}, zone {where.zone}, pageblock {where.pageblock} of type {where.type}"
    )
    yield from row_lines("flags", found.flags)
    if found.unit.first != found.pfn and found.unit.kind != BUDDY_BLOCK:
        yield from row_lines("folio flags", found.folio_flags)
    charge = found.charge
    if charge is not None:
        extra = (", via objcg" if charge.via_objcg else "") + ("" if charge.online else ", offline")
        yield from row_lines("memcg", f"{charge.path} (inode {charge.inode}{extra})")
    yield from row_lines("references", _references(found.refs))


def _unit(found: Explanation) -> str:
    unit = found.unit
    torn = ", torn: its struct pages contradict each other" if unit.torn else ""
    if unit.pages == 1:
        return unit.kind + torn
    order = unit.pages.bit_length() - 1
    place = f"{found.pfn - unit.first} of {unit.pages}, {unit.kind}, order {order}"
    return f"{place}, from PFN 0x{unit.first:x}{torn}"


def _references(refs: Refs) -> str:
    # A lower bound: see pageowner.kernel.references.
    known = ", ".join(f"{what} {count}" for what, count in refs.known.items()) or "none known"
    total = sum(refs.known.values())
    if refs.unknown < 0:
        return f"refcount {refs.refcount} is too small: {total} known ({known})"
    rest = f"; {refs.unknown} of others: its owner, LRU batches, pins" if refs.unknown else ""
    return f"refcount {refs.refcount}, at least {total} accounted for: {known}{rest}"


def _places(places: Places) -> Iterator[str]:
    yield ""
    if not places.count:
        yield "not mapped by any process"
        return
    yield f"mapped at {places.count} address{'es' if places.count > 1 else ''}"
    for place in places.rows:
        yield from wrapped(_place(place), "  ", "      ")
    if places.count > len(places.rows):
        hint = "-n shows more" if places.rows else "too many to list"
        yield f"  … and {places.count - len(places.rows)} more ({hint})"


def _place(place: Place) -> str:
    marks = (" special" if place.special else "") + (" migrating" if place.migrating else "")
    return (
        f"{place.process} 0x{place.address:x} {place.permissions or '(no VMA)'} {place.name}".rstrip() + marks
    )


def record_lines(record: Record | None) -> Iterator[str]:
    """The allocation and the last free, behind an empty line."""
    yield ""
    if record is None:
        yield "allocation not recorded"
        return
    last = "" if record.allocated else " last (not now)"
    yield f"allocated{last}: order {record.order}, block from PFN 0x{record.first:x}"
    yield from _event(record.allocation, record.gfp)
    if record.migrated:
        yield f"  migrated since, reason {record.migrated}"
    if record.freed is not None:
        yield ""
        yield "last free" + (" (before this allocation)" if record.allocated else "")
        yield from _event(record.freed, "")


def _event(event: Event, gfp: str) -> Iterator[str]:
    who = [] if event.pid is None else [f"pid {event.pid}"]
    if event.tgid is not None:
        who.append(f"tgid {event.tgid}" + ("" if event.comm is None else f" ({event.comm})"))
    if event.ts is not None:
        who.append(f"{event.ts / 1e9:.6f} s after boot")
    if who:
        yield "  " + ", ".join(who)
    if gfp:
        yield from wrapped(gfp.replace("|", "| "), "  ", "    ", "| ")
    if event.note:
        yield f"  ({event.note}: no stack of its own)"
    yield from (f"    {frame}" for frame in event.stack)


def row_lines(title: str, text: str) -> list[str]:
    """*text* behind its *title*."""
    return wrapped(text, f"{title:<{_TITLE}} ", " " * (_TITLE + 1))


def wrapped(text: str, first: str, later: str, glue: str = "") -> list[str]:
    """*text* as lines of :data:`WIDTH`, that may be broken behind *glue*, too."""
    lines = textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=later,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return [line.replace(glue, "|") for line in lines] if glue else lines or [first.rstrip()]
