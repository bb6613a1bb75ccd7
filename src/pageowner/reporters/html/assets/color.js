// SPDX-License-Identifier: LGPL-2.1-or-later
// Colours that were decided in palette.py, and what can be done with them.

export function bytesOf(color) {
  const value = parseInt(color.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

// One pixel as ImageData has it in a Uint32Array on every machine that browsers run on.
export function pixel(color) {
  const [r, g, b] = bytesOf(color);
  return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
}

export function mix(color, other, share) {
  const a = bytesOf(color), b = bytesOf(other);
  return `#${a.map((part, i) => Math.round(part + (b[i] - part) * share).toString(16).padStart(2, '0')).join('')}`;
}

// Black or white: what can be read on `color`.
export function inkOn(color) {
  const [r, g, b] = bytesOf(color);
  return 0.299 * r + 0.587 * g + 0.114 * b > 140 ? '#14171b' : '#ffffff';
}
