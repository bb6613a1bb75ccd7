# SPDX-License-Identifier: LGPL-2.1-or-later
"""BPF_PAGE: programs and maps of BPF, where they are too large for the slab (kernel/bpf/)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel.bpf import BpfObject, read_bpf
from pageowner.kernel.kernel_map import range_runs
from pageowner.kernel.runs import runs_of
from pageowner.kernel.sections import read_sections
from pageowner.kernel.vmap import VmapAreas, read_vmap_areas
from pageowner.layers.base import Band, Claims, Layer, Needs


class Bpf(Layer):
    """The key is the program, map, or pack of programs; or the vm_struct of an area that BPF asked for."""

    word = "BPF_PAGE"
    band = Band.WALKED
    line = "BPF_PAGE kind:{kind} id:{id} name:{name}"
    before = ("VMALLOC_PAGE",)
    needs = Needs(members=("struct bpf_prog.aux", "struct bpf_map.ops"))

    @property
    def _objects(self) -> list[BpfObject]:
        return self.kernel.memo(read_bpf)

    @property
    def _areas(self) -> VmapAreas:
        return self.kernel.memo(read_vmap_areas)

    def walk(self) -> Iterator[Claims]:
        sections = self.kernel.memo(read_sections)
        for thing in self._objects:
            for start, size in (*thing.ranges, *self._areas_of(thing)):
                yield _claims(*range_runs(self.kernel, start, size), thing.address)
            if len(thing.pages):
                yield _claims(*runs_of(sections.page_pfn(thing.pages)), thing.address)
        yield from self._by_caller()

    def _areas_of(self, thing: BpfObject) -> Iterator[tuple[int, int]]:
        """The vmalloc areas that the object's addresses lie in."""
        frame = self._areas.frame
        starts, ends = frame["start"].to_numpy(), frame["end"].to_numpy()
        for place in thing.places:
            at = int(np.searchsorted(starts, np.uint64(place), "right")) - 1
            if at >= 0 and place < int(ends[at]):
                yield int(starts[at]), int(ends[at]) - int(starts[at])

    def _by_caller(self) -> Iterator[Claims]:
        """Areas that BPF's own allocators asked for, whatever they hold."""
        frame = self._areas.frame
        for vm, start, end, caller in self._callers(frame):
            if caller.startswith(("bpf_", "__bpf_")):
                yield _claims(*range_runs(self.kernel, start, end - start), vm)

    @cached_property
    def _caller_of(self) -> dict[int, str]:
        return {vm: text for vm, _, _, text in self._callers(self._areas.frame)}

    def _callers(self, frame: pl.DataFrame) -> Iterator[tuple[int, int, int, str]]:
        texts = self.kernel.symbols.symbolize(frame["caller"].to_numpy())
        named = frame.select("vm", "start", "end").with_columns(pl.Series("text", texts, pl.String))
        yield from named.iter_rows()

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        known = {thing.address: thing for thing in self._objects}
        rows = []
        for key in keys.tolist():
            thing = known.get(key)
            if thing is None:
                rows.append(("area", 0, self._caller_of.get(key, "").partition("/")[0]))
            else:
                rows.append((thing.kind, thing.id, thing.name))
        schema = {"kind": pl.String, "id": pl.Int64, "name": pl.String}
        frame = pl.DataFrame(rows, schema=schema, orient="row")
        return frame.with_columns(pl.format("{} {} {}", "kind", "id", "name").alias("owner"))


def _claims(pfn: npt.NDArray[np.int64], n: npt.NDArray[np.int64], key: int) -> Claims:
    return Claims(pfn, n, np.full(len(pfn), key, np.uint64))
