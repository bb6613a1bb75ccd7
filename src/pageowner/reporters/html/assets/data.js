// SPDX-License-Identifier: LGPL-2.1-or-later
// The page's data: a header of JSON and columns of numbers. See payload.py for the layout.

const KINDS = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array };

export async function decode(text) {
  const packed = Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate'));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const columns = {};
  for (const [name, [width, n, at]] of Object.entries(header.columns)) {
    columns[name] = column(bytes.subarray(4 + length + at), width, n);
  }
  return { ...header, columns };
}

function column(bytes, width, n) {
  if (width === 1) return bytes.slice(0, n);
  const out = new (KINDS[width] ?? Float64Array)(n);
  for (let plane = 0; plane < width; plane++) {
    const from = plane * n, weight = 2 ** (8 * plane);
    for (let i = 0; i < n; i++) out[i] += bytes[from + i] * weight;
  }
  return out;
}

// Where each run ends, of how long each is.
export function ends(lengths) {
  const out = new Float64Array(lengths.length);
  let at = 0;
  for (let i = 0; i < lengths.length; i++) out[i] = at += lengths[i];
  return out;
}

// The first run that ends behind position `at`.
export function runAt(upTo, at) {
  let low = 0, high = upTo.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (upTo[middle] > at) high = middle;
    else low = middle + 1;
  }
  return low;
}
