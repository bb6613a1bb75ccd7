# SPDX-License-Identifier: LGPL-2.1-or-later
"""What page_owner_sort's options mean (tools/mm/page_owner_sort.c, Documentation/mm/page_owner.rst)."""

from __future__ import annotations

from dataclasses import dataclass

_KEYS = {
    "pid": ("p", "pid"),
    "tgid": ("tg", "tgid"),
    "comm": ("n", "name"),
    "stack": ("st", "stacktrace"),
    "txt": ("T", "txt"),
    "free_ts": ("ft", "free_ts"),
    "ts": ("at", "alloc_ts"),
    "ator": ("ator", "allocator"),
    "released": ("f", "free"),
    "module": ("mod", "module"),
}
_SORT = {word: key for key, words in _KEYS.items() if key != "released" for word in words}
_CULL = {word: key for key, words in _KEYS.items() if key not in ("txt", "free_ts", "ts") for word in words}

#: Letters that choose an order: the field, and whether the biggest come first.
LETTERS = {
    "a": ("ts", False),
    "m": ("pages", True),
    "n": ("comm", False),
    "p": ("pid", False),
    "P": ("tgid", False),
    "r": ("free_ts", False),
    "s": ("stack", False),
    "t": ("times", True),
    "M": ("module", False),
}


@dataclass(frozen=True)
class SortOptions:
    """``order``: (field, descending), first the most important. ``cull``: fields to group by; empty: by the
    whole text but PFN and time stamp. ``pids``, ``tgids``, ``names``, ``modules``: what to keep; None: all.
    ``held_only``: leave out blocks that were released since.
    """

    order: tuple[tuple[str, bool], ...] = (("times", True),)
    cull: frozenset[str] = frozenset()
    pids: tuple[int, ...] | None = None
    tgids: tuple[int, ...] | None = None
    names: tuple[str, ...] | None = None
    modules: tuple[str, ...] | None = None
    held_only: bool = False

    @property
    def lists(self) -> tuple[tuple[str, tuple[int, ...] | tuple[str, ...] | None], ...]:
        """(field, values to keep) of the lists."""
        return ("pid", self.pids), ("tgid", self.tgids), ("comm", self.names), ("module", self.modules)

    @property
    def keeps_ts(self) -> bool:
        """Whether the text keeps its time stamp: when sorting by it, every record is for itself."""
        return self.order[0][0] == "ts"


def parse_sort(text: str) -> tuple[tuple[str, bool], ...]:
    """``[+|-]key[,…]`` of ``--sort``. Raises ``ValueError`` with the key that there is not."""
    order = []
    for word in text.split(","):
        name = word[1:] if word[:1] in ("+", "-") else word
        order.append((_known(name, _SORT), word[:1] == "-"))
    return tuple(order)


def parse_cull(text: str) -> frozenset[str]:
    """``key[,…]`` of ``--cull``. Raises ``ValueError`` with the key that there is not."""
    return frozenset(_known(word, _CULL) for word in text.split(","))


def _known(word: str, words: dict[str, str]) -> str:
    if word not in words:
        raise ValueError(f"'{word}' is no key; the keys are {', '.join(words)}")
    return words[word]
