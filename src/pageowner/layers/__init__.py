# SPDX-License-Identifier: LGPL-2.1-or-later
"""Layers: each part of the kernel says what it knows of its pages. See :mod:`pageowner.layers.base`.

What is here is what a layer of one's own needs; docs/layers.md shows one.
"""

from pageowner.kernel.arrays import gather_arrays, gather_words
from pageowner.kernel.lists import hlist_entries, list_entries, list_structs
from pageowner.kernel.runs import runs_of
from pageowner.kernel.xarray import xarray_entries
from pageowner.layers.base import Band, Claims, Layer, Needs, Selection, untyped
from pageowner.layers.helpers import claims_of, page_to_pfns, virt_to_pfns

__all__ = [
    "Band",
    "Claims",
    "Layer",
    "Needs",
    "Selection",
    "claims_of",
    "gather_arrays",
    "gather_words",
    "hlist_entries",
    "list_entries",
    "list_structs",
    "page_to_pfns",
    "runs_of",
    "untyped",
    "virt_to_pfns",
    "xarray_entries",
]
