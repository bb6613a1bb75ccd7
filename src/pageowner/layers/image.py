# SPDX-License-Identifier: LGPL-2.1-or-later
"""KERNEL_IMAGE_PAGE: the kernel itself; ZERO_PAGE and HUGE_ZERO_PAGE: the pages that read as zeros."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from pageowner.kernel.image import Image, read_image
from pageowner.kernel.kernel_map import virt_to_pfns
from pageowner.kernel.kexec import read_kexec_pages
from pageowner.kernel.memmap import Heads
from pageowner.kernel.page_flags import flag_mask
from pageowner.kernel.sections import read_sections
from pageowner.layers.base import Band, Bools, Claims, Layer, Needs, Selection

_HUGE_PAGES = 512


class KernelImage(Layer):
    """Pages of the image that were not freed after boot. The key is the part."""

    word = "KERNEL_IMAGE_PAGE"
    band = Band.WALKED
    line = "KERNEL_IMAGE_PAGE section:{owner}"

    @property
    def _image(self) -> Image:
        return self.kernel.memo(read_image)

    def domain(self, heads: Heads) -> Bools:
        # Init code and the gaps that alignment left are freed, and others' by now: they lost PG_reserved.
        reserved = (heads.flags & np.uint64(flag_mask(self.kernel, "PG_reserved"))) != 0
        reserved &= ~np.isin(heads.pfn, self.kernel.memo(read_kexec_pages))
        return np.asarray(reserved & (self._image.part(heads.pfn) >= 0) if reserved.any() else reserved)

    def select(self, heads: Heads, rows: npt.NDArray[np.intp]) -> Selection:
        return Selection(rows, self._image.part(heads.pfn[rows]).astype(np.uint64))

    def describe(self, keys: npt.NDArray[np.uint64]) -> pl.DataFrame:
        return pl.DataFrame({"owner": [self._image.name[key] for key in keys.tolist()]})


class ZeroPage(Layer):
    """The one page that all untouched private memory is mapped to."""

    word = "ZERO_PAGE"
    band = Band.WALKED
    line = "ZERO_PAGE"
    before = ("KERNEL_IMAGE_PAGE",)
    needs = Needs(globals=("zero_page_pfn|empty_zero_page",))

    def walk(self) -> Iterator[Claims]:
        yield _one(self._pfn(), 1)

    def _pfn(self) -> int:
        if "empty_zero_page" in self.kernel.symbols:
            address = np.array([self.kernel.symbols.lookup("empty_zero_page")], np.uint64)
            return int(virt_to_pfns(self.kernel, address)[0])
        return int(self.kernel.object("zero_page_pfn"))  # 7.2: the only name that is left


class HugeZeroPage(Layer):
    """The huge page of zeros; it comes with its first user and may go with its last."""

    word = "HUGE_ZERO_PAGE"
    band = Band.WALKED
    line = "HUGE_ZERO_PAGE refcount:{refcount}"
    needs = Needs(globals=("huge_zero_folio|huge_zero_page",))

    def walk(self) -> Iterator[Claims]:
        name = "huge_zero_folio" if "huge_zero_folio" in self.kernel.symbols else "huge_zero_page"
        page = int(self.kernel.object(name))
        if page:
            pfn = self.kernel.memo(read_sections).page_pfn(np.array([page], np.uint64))
            yield _one(int(pfn[0]), _HUGE_PAGES)


def _one(pfn: int, n: int) -> Claims:
    return Claims(np.array([pfn]), np.array([n]), np.zeros(1, np.uint64))
