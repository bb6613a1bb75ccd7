# SPDX-License-Identifier: LGPL-2.1-or-later
"""KERNEL_STACK_PAGE: stacks of threads in the kernel, and of interrupts (kernel/fork.c)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel.keyed import KeyedRows
from pageowner.kernel.stacks import KernelStacks, read_kernel_stacks
from pageowner.layers.base import Band, Claims, Layer, Needs


class KernelStack(Layer):
    """The key is the task, or for a stack that no task has, its ``vm_struct`` or per-CPU area."""

    word = "KERNEL_STACK_PAGE"
    band = Band.WALKED
    line = "KERNEL_STACK_PAGE pid:{pid} state:{state} name:{name}"
    before = ("VMALLOC_PAGE", "PERCPU_PAGE", "KERNEL_IMAGE_PAGE")
    needs = Needs(members=("struct task_struct.stack",), globals=("init_task",))

    @property
    def _stacks(self) -> KernelStacks:
        return self.kernel.memo(read_kernel_stacks)

    def walk(self) -> Iterator[Claims]:
        pfns = self._stacks.pfns
        key = np.repeat(self._stacks.frame["key"].to_numpy(), pfns.shape[1])
        flat = pfns.reshape(-1)
        good = flat >= 0
        yield Claims(flat[good], np.ones(int(good.sum()), np.int64), key[good])

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        return self._owners.of(keys).drop("key")

    @cached_property
    def _owners(self) -> KeyedRows:
        task = pl.format("pid {} ({})", "pid", "name")
        other = pl.format("{} {}", "state", "name")
        owner = pl.when(pl.col("pid") < 0).then(other).otherwise(task).alias("owner")
        return KeyedRows(self._stacks.frame.with_columns(owner), "key")

    def inspect(self, pfn: int) -> list[tuple[str, str]]:
        pfns = self._stacks.pfns
        at = np.argwhere(pfns == pfn)
        return [("stack", f"page {int(at[0, 1]) + 1} of {pfns.shape[1]}")] if len(at) else []
