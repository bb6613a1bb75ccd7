# SPDX-License-Identifier: LGPL-2.1-or-later
"""A profile for ``pprof``: gzipped protocol buffer, message ``perftools.profiles.Profile`` (profile.proto).

The wire format is written by hand: five kinds of message, of which all fields are numbers, texts or messages.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from typing import BinaryIO

import polars as pl

from pageowner.analyses.kinds import PAGE_BYTES

# Field numbers of profile.proto.
_SAMPLE_TYPE, _SAMPLE, _LOCATION, _FUNCTION, _STRINGS, _DEFAULT = 1, 2, 4, 5, 6, 14
_LABELS = ("word", "owner", "node", "zone", "order")


def write_pprof(weighted: pl.DataFrame, out: BinaryIO) -> None:
    """Write *weighted* (:func:`pageowner.analyses.flame.weighted_stacks`) to *out*.

    A sample per row: values ``pages`` (count) and ``space`` (bytes), labels kind (``word``), ``owner``,
    ``node``, ``zone`` and ``order``.
    """
    profile = _Profile()
    samples = [profile.sample(row) for row in weighted.iter_rows(named=True)]
    types = [profile.value_type("pages", "count"), profile.value_type("space", "bytes")]
    parts = [_message(_SAMPLE_TYPE, kind) for kind in types]
    parts += [_message(_SAMPLE, sample) for sample in samples]
    for number in profile.functions.values():
        parts.append(_message(_LOCATION, _number(1, number) + _message(4, _number(1, number))))
    for name, number in profile.functions.items():
        parts.append(_message(_FUNCTION, _number(1, number) + _number(2, profile.text(name))))
    parts.append(_number(_DEFAULT, profile.text("space")))
    parts += [_message(_STRINGS, text.encode("utf-8", "replace")) for text in profile.strings]
    # No time in the header: the same source gives the same bytes.
    out.write(gzip.compress(b"".join(parts), mtime=0))


class _Profile:
    """The tables that samples refer to: each text once, each function once."""

    def __init__(self) -> None:
        self.strings: dict[str, int] = {"": 0}
        self.functions: dict[str, int] = {}

    def text(self, text: str) -> int:
        return self.strings.setdefault(text, len(self.strings))

    def value_type(self, name: str, unit: str) -> bytes:
        return _number(1, self.text(name)) + _number(2, self.text(unit))

    def sample(self, row: dict[str, object]) -> bytes:
        functions, pages = row["functions"], row["pages"]
        assert isinstance(functions, list) and isinstance(pages, int)
        places = [self.functions.setdefault(name, len(self.functions) + 1) for name in functions]
        labels = b"".join(self._label(name, row[name]) for name in _LABELS if row[name] is not None)
        return _packed(1, places) + _packed(2, [pages, pages * PAGE_BYTES]) + labels

    def _label(self, name: str, value: object) -> bytes:
        told = _number(3, value) if isinstance(value, int) else _number(2, self.text(str(value)))
        return _message(3, _number(1, self.text(name)) + told)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers as two's complement
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _packed(field: int, values: Iterable[int]) -> bytes:
    return _message(field, b"".join(_varint(value) for value in values))
