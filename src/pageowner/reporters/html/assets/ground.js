// SPDX-License-Identifier: LGPL-2.1-or-later
// Physical memory as it lies: runs of pages by owner and by place, and the stretches of blocks to draw.

import { ends, runAt } from './data.js';

const FAR = 64; // blocks: a longer hole is left out of the picture

export class Ground {
  constructor(store) {
    const { map } = store.doc;
    this.store = store;
    this.order = map.order;
    this.pages = 2 ** map.order;
    this.wide = 2 ** Math.ceil(map.order / 2);
    this.high = this.pages / this.wide;
    this.grain = map.grain;
    this.ownerEnds = ends(store.run_n);
    this.placeEnds = ends(store.place_n);
    this.blockers = new Map(Array.from(store.block_number, (block, i) => [block, store.block_in_the_way[i]]));
    this.listed = map.blockers;
    this.stretches = this.findStretches();
    this.processPages = null;
  }

  // Blocks of one zone without long holes between them: { zone, first, blocks, gap }, gap in pages.
  findStretches() {
    const { place_place: places } = this.store, out = [];
    let start = 0;
    for (let i = 0; i < places.length; i++) {
      const end = this.placeEnds[i], zone = places[i] - 1, { start: from, spanned } = this.store.doc.zones[zone] ?? {};
      // Holes at the edges have struct pages that name any zone: only the zone's own span counts.
      if (zone >= 0 && (!spanned || (end > from && start < from + spanned))) {
        const first = Math.floor(start / this.pages), last = Math.ceil(end / this.pages), before = out[out.length - 1];
        if (before && before.zone === zone && first - before.last <= FAR) before.last = last;
        else out.push({ zone, first, last, gap: before && before.zone === zone ? start - before.last * this.pages : 0 });
      }
      start = end;
    }
    for (const stretch of out) stretch.blocks = stretch.last - stretch.first;
    return out;
  }

  // Calls each(from, to, owner, place) for the runs between two PFNs: owner number + 1 (0: none), row of places.
  walk(from, to, each) {
    const { run_owner: owners } = this.store;
    let o = runAt(this.ownerEnds, from), p = runAt(this.placeEnds, from), at = from;
    while (at < to && o < owners.length) {
      const end = Math.min(to, this.ownerEnds[o], this.placeEnds[p] ?? Infinity);
      each(at, end, owners[o], p);
      at = end;
      if (this.ownerEnds[o] <= at) o++;
      if (this.placeEnds[p] <= at) p++;
    }
  }

  ownerAt(pfn) {
    const run = runAt(this.ownerEnds, pfn);
    return { owner: this.store.run_owner[run] ?? 0, from: run ? this.ownerEnds[run - 1] : 0, to: this.ownerEnds[run] };
  }

  placeAt(pfn) {
    return runAt(this.placeEnds, pfn);
  }

  // Runs of pages that spoil a block, as [first, behind the last].
  inTheWay(block) {
    const { way_pfn: from, way_n: n } = this.store, start = block * this.pages, found = [];
    for (let i = runAt(from, start - 1); i < from.length && from[i] < start + this.pages; i++) found.push([from[i], from[i] + n[i]]);
    return found;
  }

  // Pages of every process, whichever of the two ways it is known by.
  processes() {
    if (this.processPages) return this.processPages;
    const { doc, owner_process: own, place_process: who, run_owner: owners } = this.store, sums = new Map();
    this.walk(0, this.ownerEnds[this.ownerEnds.length - 1] ?? 0, (from, to, owner, place) => {
      if (!owner || this.store.isFree(owner - 1)) return;
      const name = who[place] ? doc.map.processes[who[place] - 1] : own[owner - 1] ? doc.processes[own[owner - 1] - 1] : '';
      sums.set(name, (sums.get(name) ?? 0) + to - from);
    });
    this.processPages = [...sums].sort((a, b) => b[1] - a[1]);
    return this.processPages;
  }
}
