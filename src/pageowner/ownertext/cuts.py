# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the parts of each record lie in a piece of text: header, owner lines, PFN line, and what follows.

Lines are found and told apart by numpy for the whole piece at once. Only records that look odd, because a
task's name has a newline in it or the text is damaged, are read one by one, with a regular expression.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.ownertext.carried import carried

I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
_U64 = np.uint64
_PAD = bytes(64)

RECORDED, UNRECORDED, FREED = 0, 1, 2
"""What a record is about: an allocation, a block without record (``Page of order``), or a last free."""

_OWNER = r"(?:[A-Z][A-Z0-9_]*_PAGE(?: [^\n]*)?|MAPPED [^\n]*)\n"
_OWNERS = rf"^(?:{_OWNER})+$"
_OWNERS_AND_PFN = rf"((?:{_OWNER})*)(PFN (?:0x[0-9a-f]+|[0-9]+) [^\n]*(?:\n|\Z))".encode()
_FORMS = (
    rb"Page allocated via order [0-9]+, mask 0x[0-9a-f]+\([^)\n]*\)"
    rb"(?:, pid -?[0-9]+(?:, tgid -?[0-9]+ \(.{0,64}?\))?, ts [0-9]+ ns(?:, free_ts [0-9]+ ns)?)?\n",
    rb"Page of order [0-9]+, allocation not recorded\n",
    rb"Page last freed via order [^\n]*\n",
)
_ODD = re.compile(b"(" + b"|".join(_FORMS) + b")" + _OWNERS_AND_PFN, re.DOTALL)


@dataclass(frozen=True)
class Cuts:
    """``data`` and, for each of its n records, offsets int64[n]: the header is ``start:owner``, the owner
    lines ``owner:pfn`` (often none), the PFN line ``pfn:rest``, all else ``rest:end``, with the empty line.

    ``kind`` uint8[n]: RECORDED, UNRECORDED or FREED; ``ok`` bool[n]: the parts are what they should be.
    What precedes the first record is ``data[:first]``.
    """

    data: bytes
    kind: npt.NDArray[np.uint8]
    start: I64
    owner: I64
    pfn: I64
    rest: I64
    end: I64
    ok: Bools

    def __len__(self) -> int:
        return len(self.start)

    @property
    def first(self) -> int:
        """Where the first record begins; the length of the data if there is none."""
        return int(self.start[0]) if len(self.start) else len(self.data)

    def pieces(self, start: I64, end: I64) -> pl.Series:
        """``data[start:end]`` for each pair, as a Binary series of the same length."""
        frame = pl.DataFrame({"at": start, "n": end - start}, schema={"at": pl.Int64, "n": pl.Int64})
        whole = pl.lit(pl.Series([self.data], dtype=pl.Binary)).first()
        return frame.select(whole.bin.slice("at", "n").alias("piece")).to_series()


def cut(data: bytes) -> Cuts:
    """Find the records of *data* and their parts."""
    lines = _Lines(data)
    header, kind = lines.headers()
    start = lines.start[header]
    end = np.append(start[1:], len(data))
    owner = lines.start[header + 1]
    at, count = _pfn_lines(lines, header)
    pfn, rest = lines.start[at], lines.start[at + (count > 0)]
    none = count == 0
    pfn, rest = np.where(none, owner, pfn), np.where(none, owner, rest)
    ok = (count == 1) & _plain(lines, kind, owner)
    cuts = Cuts(data, kind, start, owner, pfn, rest, end, ok)
    ok[:] &= ~_odd_owners(cuts) & ~_short_header(cuts)
    for row in np.flatnonzero(~ok).tolist():
        _cut_one(cuts, row)
    return cuts


class _Lines:
    """``start`` int64[lines + 1] of each line, the last one being the end of the data."""

    def __init__(self, data: bytes) -> None:
        padded = data + _PAD
        self.bytes: npt.NDArray[np.uint8] = np.frombuffer(padded, np.uint8)
        self.words: npt.NDArray[np.uint64] = np.ndarray((len(data) + 56,), "<u8", padded, 0, (1,))
        starts = np.flatnonzero(self.bytes[: len(data)] == 0x0A) + 1
        end = [] if (len(starts) and starts[-1] == len(data)) or not data else [len(data)]
        self.start: I64 = np.concatenate([[0], starts, end]).astype(np.int64, copy=False)
        self.word = self.words[self.start[:-1]]

    def headers(self) -> tuple[I64, npt.NDArray[np.uint8]]:
        """Line numbers of the headers, and the kind of each."""
        kinds = (b"Page allocated via order ", b"Page of order ", b"Page last freed via order ")
        found = [self._beginning(text) for text in kinds]
        lines = np.concatenate(found)
        kind = np.repeat(np.arange(3, dtype=np.uint8), [len(each) for each in found])
        order = np.argsort(lines, kind="stable")
        return lines[order], kind[order]

    def pfns(self) -> I64:
        """Line numbers of the lines that begin with ``PFN `` and a digit."""
        lines = np.flatnonzero((self.word & _U64(0xFFFFFFFF)) == _word(b"PFN "))
        return lines[_is_digit(self.bytes[self.start[lines] + 4])]

    def _beginning(self, text: bytes) -> I64:
        """Lines that begin with *text* and a digit."""
        lines = np.flatnonzero(self.word == _word(text[:8]))
        for at in range(8, len(text), 8):
            at = min(at, len(text) - 8)
            lines = lines[self.words[self.start[lines] + at] == _word(text[at : at + 8])]
        return lines[_is_digit(self.bytes[self.start[lines] + len(text)])]


def _word(text: bytes) -> np.uint64:
    return _U64(int.from_bytes(text, "little"))


def _is_digit(chars: npt.NDArray[np.uint8]) -> Bools:
    return np.asarray((chars >= 0x30) & (chars <= 0x39))


def _pfn_lines(lines: _Lines, header: I64) -> tuple[I64, I64]:
    """The first PFN line in each record (its header's where there is none), and how many there are."""
    pfns = lines.pfns()
    record = np.searchsorted(header, pfns, "right") - 1
    pfns, record = pfns[record >= 0], record[record >= 0]
    count = np.bincount(record, minlength=len(header)).astype(np.int64)
    first = header.copy()
    first[record[::-1]] = pfns[::-1]
    return first, count


def _plain(lines: _Lines, kind: npt.NDArray[np.uint8], end: I64) -> Bools:
    """Whether each header ends with its line: so that no task name can have broken it.

    A name has 15 bytes at most: not enough for a number, `` ns``, a newline and a PFN line.
    """
    tail = lines.words[np.maximum(end - 8, 0)]
    ns = (tail >> _U64(32)) == _word(b" ns\n")
    ns &= _is_digit(lines.bytes[np.maximum(end - 5, 0)])
    old = (tail >> _U64(48)) == _word(b")\n")
    return np.asarray((kind != RECORDED) | ns | old)


def _odd_owners(cuts: Cuts) -> Bools:
    """Records with lines before the PFN line that are no owner lines: they belong to a broken name."""
    odd = np.zeros(len(cuts), np.bool_)
    rows = np.flatnonzero(cuts.ok & (cuts.pfn > cuts.owner))
    if len(rows):
        texts = carried(cuts.pieces(cuts.owner[rows], cuts.pfn[rows]))
        odd[rows] = ~texts.str.contains(_OWNERS).to_numpy()
    return odd


def _short_header(cuts: Cuts) -> Bools:
    """Records whose header ends as 5.10's do, after the gfp mask, and yet names a task."""
    short = np.zeros(len(cuts), np.bool_)
    last = np.frombuffer(cuts.data, np.uint8)[cuts.owner - 2] if len(cuts) else np.empty(0, np.uint8)
    rows = np.flatnonzero((cuts.kind == RECORDED) & (last == ord(")")))
    if len(rows):
        headers = cuts.pieces(cuts.start[rows], cuts.owner[rows])
        short[rows] = headers.bin.contains(b", pid ").to_numpy()
    return short


def _cut_one(cuts: Cuts, row: int) -> None:
    """Read an odd record by itself; what cannot be read stays as it was cut, and not ok."""
    start = int(cuts.start[row])
    match = _ODD.match(cuts.data, start, int(cuts.end[row]))
    if match:
        cuts.owner[row], cuts.pfn[row], cuts.rest[row] = match.end(1), match.start(3), match.end(3)
        cuts.ok[row] = True
