# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names the pages of RAM disks (/dev/ram0 …), which the driver brd keeps in a tree of its own.

    pageowner report --layer examples/brd_layer.py
"""

import polars as pl

from pageowner.layers import Band, Layer, Needs, claims_of, list_structs, page_to_pfns, xarray_entries


class RamDisk(Layer):
    word = "RAMDISK_PAGE"
    band = Band.WALKED
    line = "RAMDISK_PAGE name:{owner}"
    needs = Needs(members=("struct brd_device.brd_pages",), globals=("brd_devices",))

    def walk(self):
        at = self.kernel.offset("struct brd_device", "brd_list")
        for device in list_structs(self.kernel, self.kernel.address("brd_devices"), at):
            tree = device + self.kernel.offset("struct brd_device", "brd_pages")
            _, pages = xarray_entries(self.kernel, tree)
            yield claims_of(device, page_to_pfns(self.kernel, pages))

    def describe(self, keys):
        number = self.kernel.dtype("struct brd_device", {"number": "brd_number"})
        rows, _ = self.kernel.gather(keys, number)
        return pl.DataFrame({"owner": [f"ram{n}" for n in rows["number"]]})
