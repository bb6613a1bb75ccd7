# SPDX-License-Identifier: LGPL-2.1-or-later
"""Data for a page: a header of JSON and columns of numbers, deflated, in base64.

Layout before compression: the header's length (uint32, little endian), the header (UTF-8), the columns. A
column of *n* numbers of *width* bytes is *width* planes of *n* bytes, lowest bytes first: alike bytes lie
together, which deflate likes. ``header["columns"][name]`` is [width, n, offset of the first plane].
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

_WIDTHS = ((1, np.uint8), (2, np.uint16), (4, np.uint32), (8, np.uint64))


def pack(header: Mapping[str, Any], columns: Mapping[str, npt.ArrayLike]) -> str:
    """*header* and *columns* (whole numbers, 0 or more) as text that is safe in a script element.

    :raises ValueError: when a column has a number below 0.
    """
    places, planes, offset = {}, [], 0
    for name, column in columns.items():
        width, plane = _planes(np.asarray(column))
        places[name] = [width, len(plane) // width, offset]
        planes.append(plane)
        offset += len(plane)
    text = json.dumps({**header, "columns": places}, ensure_ascii=False, separators=(",", ":"))
    raw = text.encode("utf-8", "backslashreplace")
    packed = zlib.compress(b"".join([struct.pack("<I", len(raw)), raw, *planes]), 7)
    return base64.b64encode(packed).decode("ascii")


def packed_size(columns: Mapping[str, npt.ArrayLike]) -> int:
    """About how many bytes *columns* take in the page."""
    sizes = (len(zlib.compress(_planes(np.asarray(column))[1], 4)) for column in columns.values())
    return sum(sizes) * 4 // 3


def _planes(column: npt.NDArray[Any]) -> tuple[int, bytes]:
    if len(column) and int(column.min()) < 0:
        raise ValueError("a column for a page has a number below 0")
    most = int(column.max()) if len(column) else 0
    width, kind = next((width, kind) for width, kind in _WIDTHS if most < 1 << 8 * width)
    bytes_of = np.ascontiguousarray(column.astype(kind)).view(np.uint8)
    return width, bytes_of.reshape(len(column), width).T.tobytes()
