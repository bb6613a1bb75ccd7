# SPDX-License-Identifier: LGPL-2.1-or-later
"""Layers: each part of the kernel says what it knows of its pages. See :mod:`pageowner.layers.base`."""

from pageowner.layers.base import Band, Claims, Layer, Needs, Selection

__all__ = ["Band", "Claims", "Layer", "Needs", "Selection"]
