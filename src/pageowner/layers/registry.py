# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which layers there are: the built-in ones, and those that others bring.

The built-in layers have no private door: they are listed here by the same dotted names that an
entry point of the group ``pageowner.layers`` would give.
"""

from __future__ import annotations

import importlib
import importlib.metadata

from pageowner.errors import PageownerError
from pageowner.layers.base import Band, Layer
from pageowner.layers.line import parse_line

BUILT_IN = (
    "pageowner.layers.buddy:FreePages",
    "pageowner.layers.pcp:PcpFreePages",
    "pageowner.layers.slab:Slab",
    "pageowner.layers.hugetlb:Hugetlb",
    "pageowner.layers.zsmalloc:Zsmalloc",
    "pageowner.layers.typed:Offline",
    "pageowner.layers.typed:Guard",
    "pageowner.layers.page_table:PageTable",
    "pageowner.layers.stacks:KernelStack",
    "pageowner.layers.percpu:PerCpuPages",
    "pageowner.layers.image:ZeroPage",
    "pageowner.layers.image:HugeZeroPage",
    "pageowner.layers.image:KernelImage",
    "pageowner.layers.module:Module",
    "pageowner.layers.bpf:Bpf",
    "pageowner.layers.memmap:Memmap",
    "pageowner.layers.memmap:PageExtTable",
    "pageowner.layers.memmap:StackDepotPages",
    "pageowner.layers.vmalloc:Vmalloc",
    "pageowner.layers.io_uring:IoUring",
    "pageowner.layers.dma:Dma",
    "pageowner.layers.blk_mq:BlkMq",
    "pageowner.layers.perf:Perf",
    "pageowner.layers.trace:RingBuffer",
    "pageowner.layers.page_pool:PagePool",
    "pageowner.layers.ksm:Ksm",
    "pageowner.layers.swap_cache:SwapCache",
    "pageowner.layers.anon:Anon",
    "pageowner.layers.special_files:AioRing",
    "pageowner.layers.special_files:SecretMem",
    "pageowner.layers.file:Shmem",
    "pageowner.layers.file:Bdev",
    "pageowner.layers.file:File",
    "pageowner.layers.pipe:Pipe",
    "pageowner.layers.socket:Socket",
    "pageowner.layers.reserved:Reserved",
    "pageowner.layers.typed:Device",
    "pageowner.layers.stack_only:LargeKmalloc",
    "pageowner.layers.stack_only:Early",
    "pageowner.layers.stack_only:NoStack",
    "pageowner.layers.stack_only:Alloc",
    "pageowner.layers.stack_only:Unowned",
)
ENTRY_POINTS = "pageowner.layers"


class LayerError(PageownerError):
    """A layer that was brought along cannot be used."""


def layer_classes(extra: tuple[type[Layer], ...] = ()) -> list[type[Layer]]:
    """All layers, strongest first: by band, then *before*, then the order in which they are listed.

    :raises LayerError: when one cannot be loaded, or two use the same word.
    """
    classes = [_load(name) for name in BUILT_IN]
    classes += [_installed(point) for point in importlib.metadata.entry_points(group=ENTRY_POINTS)]
    classes += [check_layer(cls) for cls in extra]
    words = [cls.word for cls in classes]
    double = {word for word in words if words.count(word) > 1}
    if double:
        raise LayerError(f"two layers use the word {min(double)}")
    return [cls for band in Band for cls in _ordered([c for c in classes if c.band == band])]


def _load(name: str) -> type[Layer]:
    module, _, attribute = name.partition(":")
    return check_layer(getattr(importlib.import_module(module), attribute))


def _installed(point: importlib.metadata.EntryPoint) -> type[Layer]:
    """The layer that an installed package brings."""
    try:
        return check_layer(point.load())
    except LayerError as error:
        raise LayerError(f"entry point {point.name} ({point.value}): {error}") from error
    except Exception as error:  # a layer may be anybody's code: one line says which package is to blame
        text = str(error).partition("\n")[0]
        raise LayerError(
            f"entry point {point.name} ({point.value}): {type(error).__name__}: {text}; "
            "update or remove its package"
        ) from error


def check_layer(cls: object) -> type[Layer]:
    """*cls* itself, when it is fit to be a layer.

    :raises LayerError: when it is not, with the reason in one line.
    """
    if not (isinstance(cls, type) and issubclass(cls, Layer)):
        raise LayerError(f"{cls!r} is not a subclass of pageowner.layers.Layer")
    for attribute in ("word", "band", "line"):
        if not hasattr(cls, attribute):
            raise LayerError(f"layer {cls.__name__} has no `{attribute}`")
    if not cls.line.startswith(cls.word):
        raise LayerError(f"layer {cls.__name__}: its line does not begin with its word {cls.word}")
    try:
        parse_line(cls.line)
    except ValueError as error:
        raise LayerError(f"layer {cls.__name__}: {error}") from error
    return cls


def _ordered(classes: list[type[Layer]]) -> list[type[Layer]]:
    """*classes* of one band with every layer ahead of those that its ``before`` names.

    :raises LayerError: when that cannot be.
    """
    left, done = list(classes), []
    while left:
        ready = next(
            (c for c in left if not any(c.word in other.before for other in left if other is not c)), None
        )
        if ready is None:
            raise LayerError("layers name each other in `before`: " + ", ".join(c.word for c in left))
        left.remove(ready)
        done.append(ready)
    return done
