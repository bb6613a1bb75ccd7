# SPDX-License-Identifier: LGPL-2.1-or-later
"""Screenshots small enough to be kept in the repository: PNGs of 256 colours."""

from __future__ import annotations

import base64
import json
import struct
import zlib

import numpy as np
import numpy.typing as npt

from tests.pictures.browser import Page

_PIXELS = """(async (text) => {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes]));
  const canvas = new OffscreenCanvas(image.width, image.height), context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  const data = context.getImageData(0, 0, image.width, image.height).data;
  let out = '';
  for (let i = 0; i < data.length; i += 30000) out += String.fromCharCode(...data.subarray(i, i + 30000));
  return [image.width, image.height, btoa(out)];
})"""


def smaller(page: Page, png: bytes) -> bytes:
    """The picture *png* in the 256 colours that it has most of; *page* decodes it."""
    text = json.dumps(base64.b64encode(png).decode())
    width, height, raw = page.eval(f"{_PIXELS}({text})")
    pixels = np.frombuffer(base64.b64decode(raw), np.uint8).reshape(-1, 4)[:, :3]
    palette, numbers = _reduced(pixels)
    rows = np.zeros((height, width + 1), np.uint8)  # a filter byte, then the pixels
    rows[:, 1:] = numbers.reshape(height, width)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = [(b"IHDR", header), (b"PLTE", palette.tobytes()), (b"IDAT", zlib.compress(rows.tobytes(), 9))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in [*parts, (b"IEND", b"")])


def _reduced(pixels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """A palette, and for each pixel the nearest colour in it."""
    weights = np.array([1 << 16, 1 << 8, 1])
    values, inverse, counts = np.unique(
        pixels.astype(np.int64) @ weights, return_inverse=True, return_counts=True
    )
    colors = np.stack([values >> 16, values >> 8 & 255, values & 255], axis=1)
    kept = _palette(colors, counts)
    nearest = np.empty(len(colors), np.uint8)
    for start in range(0, len(colors), 1000):
        part = colors[start : start + 1000, None, :] - kept[None, :, :]
        nearest[start : start + 1000] = (part**2).sum(axis=2).argmin(axis=1)
    return kept.astype(np.uint8), nearest[inverse]


def _palette(colors: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The commonest colours, and those that are furthest from these: no small patch gets a wrong one."""
    kept = list(np.argsort(-counts, kind="stable")[:96])
    distance = np.full(len(colors), np.iinfo(np.int64).max)
    for number in kept:
        distance = np.minimum(distance, ((colors - colors[number]) ** 2).sum(axis=1))
    while len(kept) < 256 and distance.any():
        kept.append(int(distance.argmax()))
        distance = np.minimum(distance, ((colors - colors[kept[-1]]) ** 2).sum(axis=1))
    return colors[kept]


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
