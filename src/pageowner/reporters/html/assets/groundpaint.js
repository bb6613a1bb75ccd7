// SPDX-License-Identifier: LGPL-2.1-or-later
// Paints blocks of physical memory into an image: every page where it lies when there is room for it, else the
// mix of the block, category by category.

import { css } from './dom.js';
import { mix, pixel } from './color.js';

export class Painter {
  constructor(ground, way, selection) {
    const back = css('panel');
    this.ground = ground;
    this.way = way;
    this.hole = pixel(css('hole'));
    this.full = Uint32Array.from(way.categories, ({ color }) => pixel(color));
    this.pale = Uint32Array.from(way.categories, ({ color }) => pixel(mix(color, back, 0.82)));
    this.hit = pixel(css('hit'));
    this.selection = selection;
    this.counts = new Float64Array(way.categories.length * 2);
  }

  image(width, height) {
    this.width = width;
    this.height = height;
    this.data = new ImageData(width, height);
    this.words = new Uint32Array(this.data.data.buffer);
  }

  rect(x, y, wide, high, color) {
    const left = Math.max(0, x), right = Math.min(this.width, x + wide), end = Math.min(this.height, y + high);
    if (right <= left) return;
    for (let row = Math.max(0, y); row < end; row++) this.words.fill(color, row * this.width + left, row * this.width + right);
  }

  isPale(owner) {
    return this.selection !== null && !this.selection.owners[owner - 1];
  }

  // Pages of each category in a block, twice: those that are to stand out, and the others.
  mixOf(block, zone) {
    const { counts, way, ground } = this, half = way.categories.length, places = ground.store.place_place;
    counts.fill(0);
    ground.walk(block * ground.pages, (block + 1) * ground.pages, (from, to, owner, place) => {
      if (owner && places[place] === zone + 1) counts[way.of(owner, place) + (this.isPale(owner) ? half : 0)] += to - from;
    });
    return counts;
  }

  mixed(block, zone, x, y, wide, high) {
    const counts = this.mixOf(block, zone), half = this.way.categories.length, area = wide * high;
    let sum = 0, done = 0;
    this.rect(x, y, wide, high, this.hole);
    for (let at = 0; at < counts.length; at++) {
      if (!counts[at]) continue;
      sum += counts[at];
      const until = Math.round((sum / this.ground.pages) * area);
      this.stripe(x, y, wide, done, until, at < half ? this.full[at] : this.pale[at - half]);
      done = until;
    }
  }

  // Pixels `from` to `until` of a block, counted row by row.
  stripe(x, y, wide, from, until, color) {
    while (from < until) {
      const row = Math.floor(from / wide), end = Math.min(until, (row + 1) * wide), left = x + (from % wide);
      const line = y + row;
      if (line >= 0 && line < this.height) {
        const start = line * this.width, right = Math.min(left + end - from, this.width);
        if (left < right) this.words.fill(color, start + left, start + right);
      }
      from = end;
    }
  }

  paged(block, zone, x, y, side) {
    const { ground, way } = this, first = block * ground.pages, places = ground.store.place_place;
    const ways = this.marks && ground.blockers.has(block) ? ground.inTheWay(block) : [], gap = side >= 6 ? 1 : 0;
    this.rect(x, y, ground.wide * side, ground.high * side, this.hole);
    ground.walk(first, first + ground.pages, (from, to, owner, place) => {
      if (!owner || places[place] !== zone + 1) return;
      const number = way.of(owner, place), color = this.isPale(owner) ? this.pale[number] : this.full[number];
      for (let pfn = from; pfn < to; pfn++) {
        const marked = ways.some(([low, high]) => pfn >= low && pfn < high);
        const at = pfn - first, px = x + (at % ground.wide) * side, py = y + Math.floor(at / ground.wide) * side;
        this.rect(px, py, side - gap, side - gap, marked ? this.hit : color);
        if (marked && side > 3) this.rect(px + 1, py + 1, side - gap - 2, side - gap - 2, color);
      }
    });
  }
}
