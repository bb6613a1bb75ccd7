# SPDX-License-Identifier: LGPL-2.1-or-later
"""Colours of kinds, the same in the browser and in the terminal.

Kinds come in families; a family has a hue after the set by Okabe and Ito, which colour-blind people tell
apart, and its kinds differ by lightness. Free memory is close to the background: what is taken stands out.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """Kinds that belong together: a ``letter`` for terminals without colour, the ``light`` and ``dark`` hue
    (``#rrggbb``) of each theme, and the words, the commonest first."""

    name: str
    letter: str
    light: str
    dark: str
    words: tuple[str, ...]


def _family(name: str, letter: str, light: str, dark: str, words: str) -> Family:
    return Family(name, letter, light, dark, tuple(f"{word}_PAGE" for word in words.split()))


FAMILIES = (
    _family("processes", "p", "#0072b2", "#4a9fd8", "ANON HUGETLB SWAPCACHE KSM SECRETMEM HUGE_ZERO ZERO"),
    _family("page cache", "c", "#009e73", "#2bb68c", "FILE SHMEM BDEV"),
    _family("slab", "s", "#e69f00", "#e3a92d", "SLAB LARGE_KMALLOC"),
    _family("kernel", "k", "#c2669a", "#d488b3", "PAGE_TABLE VMALLOC KERNEL_STACK PERCPU BPF MODULE"),
    _family(
        "buffers", "b", "#cdbd1f", "#d6c84a",
        "SOCKET DMA RING_BUFFER PIPE PAGE_POOL ZSMALLOC IO_URING PERF BLK_MQ AIO_RING DEVICE",
    ),
    _family("boot", "B", "#8d8476", "#847c70", "RESERVED KERNEL_IMAGE MEMMAP PAGE_EXT STACKDEPOT OFFLINE"),
    _family(
        "stack only", "?", "#d55e00", "#e5763a",
        "ALLOC UNOWNED EARLY UNKNOWN NO_STACK OTHER GUARD",
    ),
    _family("free", ".", "#e4e6ea", "#2a2e35", "FREE PCP_FREE"),
)  # fmt: skip
"""In the order of legends and bars."""
_OTHER = FAMILIES[-2]  # layers of one's own
_STEPS = (0.0, 0.30, -0.28, 0.52, -0.46, 0.16, 0.42, -0.14, -0.38, 0.60, 0.24)

MOBILITY = {
    "Unmovable": ("#d55e00", "#e5763a"),
    "Movable": ("#0072b2", "#4a9fd8"),
    "Reclaimable": ("#e69f00", "#e3a92d"),
    "HighAtomic": ("#c2669a", "#d488b3"),
    "CMA": ("#009e73", "#2bb68c"),
    "Isolate": ("#8d8476", "#847c70"),
}
"""Light and dark, by the kernel's names of migrate types."""
AGES = ("#fde725", "#b5de2b", "#6ece58", "#35b779", "#1f9e89", "#26828e", "#31688e", "#3e4989", "#482878")
"""New to old, for both themes; in lightness, too, so that grey prints and colour-blind people tell them."""
MANY = (
    "#0072b2", "#e69f00", "#009e73", "#c2669a", "#56b4e9", "#d55e00",
    "#7a6fd0", "#a3a500", "#3d8f8f", "#b5651d", "#5b8c2a", "#9a5b9a",
)  # fmt: skip
"""For what has no order and no families: processes, modules, zones."""


def family_of(word: str) -> Family:
    """The family of kind *word*; layers of one's own are in the last but one."""
    return next((family for family in FAMILIES if word in family.words), _OTHER)


def colors_of(word: str) -> tuple[str, str]:
    """The kind's colour in the light and in the dark theme."""
    family = family_of(word)
    place = family.words.index(word) if word in family.words else sum(word.encode())
    step = _STEPS[place % len(_STEPS)]
    if family.name == "free":
        step = 0.0 if place == 0 else -0.12
    return _lighter(family.light, step), _lighter(family.dark, step)


def rgb(color: str) -> tuple[int, int, int]:
    """The three bytes of ``#rrggbb``."""
    value = int(color[1:], 16)
    return value >> 16, value >> 8 & 255, value & 255


def order_of(word: str) -> tuple[int, int]:
    """Sorts kinds as legends have them: by family, then by place in it."""
    family = family_of(word)
    place = family.words.index(word) if word in family.words else len(family.words)
    return FAMILIES.index(family), place


def _lighter(color: str, step: float) -> str:
    """*color* moved towards white (*step* > 0) or black by that share."""
    goal = 255 if step > 0 else 0
    mixed = [round(part + (goal - part) * abs(step)) for part in rgb(color)]
    return "#" + "".join(f"{part:02x}" for part in mixed)
