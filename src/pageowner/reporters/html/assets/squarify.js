// SPDX-License-Identifier: LGPL-2.1-or-later
// Rectangles as square as can be, of given areas, within a rectangle (Bruls, Huizing, van Wijk 2000).

// `items`: largest first, each with `value` > 0. Gives [item, x, y, width, height] for each.
export function squarify(items, x, y, width, height) {
  const out = [], total = items.reduce((sum, item) => sum + item.value, 0);
  if (!total || width <= 0 || height <= 0) return out;
  const scale = (width * height) / total;
  let at = 0;
  while (at < items.length) {
    const side = Math.min(width, height);
    let sum = 0, end = at, worst = Infinity;
    while (end < items.length) {
      const next = sum + items[end].value * scale;
      const ratio = worstRatio(items[at].value * scale, items[end].value * scale, next, side);
      if (ratio > worst) break;
      worst = ratio;
      sum = next;
      end++;
    }
    const thick = sum / side;
    let along = 0;
    for (; at < end; at++) {
      const long = (items[at].value * scale) / thick;
      out.push(width <= height ? [items[at], x + along, y, long, thick] : [items[at], x, y + along, thick, long]);
      along += long;
    }
    if (width <= height) {
      y += thick;
      height -= thick;
    } else {
      x += thick;
      width -= thick;
    }
  }
  return out;
}

function worstRatio(most, least, sum, side) {
  const square = sum * sum, edge = side * side;
  return Math.max((edge * most) / square, square / (edge * least));
}
