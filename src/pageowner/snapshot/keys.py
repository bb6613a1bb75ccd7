# SPDX-License-Identifier: LGPL-2.1-or-later
"""Keys that join: numbers made of what an owner or a stack *is*, not of where it lies.

The same owner and the same stack have the same key on every host, after every reboot and, as far as
functions keep their names, under every kernel. A key is 63 bits of BLAKE2b, so that it fits a signed
integer of any database.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

NOTHING = 0
"""The key of "no owner" and "no stack"."""


def owner_key(word: str, owner: str) -> int:
    """The key of an owner: its kind and its name."""
    return int(owner_keys(word, [owner])[0])


def owner_keys(word: str, owners: Iterable[str]) -> npt.NDArray[np.uint64]:
    """The keys of many owners of one kind, uint64[n]."""
    return _keys(f"{word}\n{owner}" for owner in owners)


def stack_key(functions: Iterable[str]) -> int:
    """The key of a stack: its functions from the innermost on, without offsets; modules with their names."""
    joined = "\n".join(functions)
    return int(_keys([joined])[0]) if joined else NOTHING


def function(frame: str) -> str:
    """``name [module]`` of a frame's ``%pS`` text, ``?`` without a symbol: no offset, size, suffix."""
    place, _, module = frame.strip().partition(" ")
    if place.startswith("0x"):  # a module's init code, given back since: it lies elsewhere each time
        return "?"
    name = place.partition("+")[0].partition(".")[0].removesuffix("_noprof")  # 6.10: allocation profiling
    return f"{name} {module}" if module else name


def _keys(texts: Iterable[str]) -> npt.NDArray[np.uint64]:
    encoded = (text.encode("utf-8", "surrogateescape") for text in texts)
    digests = b"".join([hashlib.blake2b(text, digest_size=8).digest() for text in encoded])
    keys = np.frombuffer(digests, np.uint64) >> np.uint64(1)
    return np.where(keys == 0, np.uint64(1), keys)
