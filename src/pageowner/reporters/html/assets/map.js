// SPDX-License-Identifier: LGPL-2.1-or-later
// The map of physical memory: nodes, zones, pageblocks, pages. Scrolls as a page does; zooms in steps.

import { checkbox, choice, clipped, css, el, fit, font, hideTip, legend, section, showTip } from './dom.js';
import { Ground } from './ground.js';
import { coloring } from './groundcolor.js';
import { Painter } from './groundpaint.js';
import { commandLine } from './shell.js';
import { grouped, hex, percent, seconds, size } from './units.js';

const STEPS = [1, 2, 3, 4, 6, 8, 11, 16, 32, 64, 128, 256]; // pixels of a block's height
const TITLE = 20;
const ROOM = 470;
const SHOWN = 8;

function said({ word, owner, why, pages }) {
  return `${pages} ${word}${owner && owner !== word ? ` ${owner}` : ''}${why && why !== 'kind' ? ` (${why})` : ''}`;
}

export class MemoryMap {
  constructor(store) {
    this.store = store;
    this.ground = new Ground(store);
    this.by = store.doc.by;
    this.marks = true;
    const { map } = store.doc, ways = [['kind', 'kind']];
    if (map.mobilities.length) ways.push(['mobility', 'mobility']);
    if (map.ages.length) ways.push(['age', 'age']);
    ways.push(['process', 'process']);
    if (!ways.some(([way]) => way === this.by)) this.by = 'kind';
    const color = choice('colour', ways, (way) => { this.by = way; this.draw(); });
    color.select.value = this.by;
    const marks = checkbox('blockers', true, (on) => { this.marks = on; this.draw(); });
    const button = (text, title, onclick) => el('button', { type: 'button', title, onclick }, text);
    this.goto = el('input', { type: 'search', placeholder: 'go to PFN 0x…', 'aria-label': 'go to PFN', onchange: () => this.show(Number(this.goto.value)) });
    this.goto.style.width = '130px';
    this.about = el('span', { class: 'right' });
    this.body = section('map', 'Physical map', color.label, marks.label, button('−', 'smaller', () => this.step(-1)), button('+', 'larger', () => this.step(1)),
      button('all', 'all of memory', () => this.fitAll()), this.goto, this.about);
    this.canvas = el('canvas', { role: 'img', 'aria-label': 'Map of physical memory' });
    this.spacer = el('div');
    this.scroll = el('div', { id: 'ground-scroll' }, this.canvas, this.spacer);
    this.legend = el('div', { class: 'legend' });
    this.body.append(this.scroll, this.legend, this.blockerTable());
    this.listen();
    this.level = null;
  }

  listen() {
    const { canvas, scroll } = this;
    scroll.addEventListener('scroll', () => requestAnimationFrame(() => this.paint()), { passive: true });
    canvas.addEventListener('mousemove', (event) => this.hover(event));
    canvas.addEventListener('mouseleave', hideTip);
    canvas.addEventListener('click', (event) => this.click(event));
    canvas.addEventListener('wheel', (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      this.step(event.deltaY < 0 ? 1 : -1, event);
    }, { passive: false });
  }

  // Sizes at a zoom step: of a block in pixels of the screen, and where every stretch lies.
  layout(level) {
    const ratio = window.devicePixelRatio || 1, { ground } = this;
    const step = Math.max(1, Math.round(STEPS[level] * ratio));
    const side = Math.floor(step / ground.high); // of a page; 0: no room for pages
    const high = side ? side * ground.high : step, wide = Math.max(1, side ? side * ground.wide : Math.round((step * ground.wide) / ground.high));
    const gap = side ? 2 : step >= 6 ? 1 : 0;
    const width = Math.floor(this.wideIn * ratio), title = Math.round(TITLE * ratio);
    const across = Math.max(1, Math.floor((width + gap) / (wide + gap)));
    let y = 0;
    const places = ground.stretches.map((stretch) => {
      const rows = Math.ceil(stretch.blocks / across), top = y;
      y += title + rows * (high + gap) + Math.round(6 * ratio);
      return { ...stretch, top, body: top + title, rows, end: y };
    });
    return { level, ratio, side, high, wide, gap, width, title, across, places, total: y };
  }

  // A picture on its own takes the window.
  room() {
    return this.store.doc.views.length > 1 ? ROOM : Math.max(ROOM, window.innerHeight - 460);
  }

  fitAll() {
    const room = this.room() * (window.devicePixelRatio || 1);
    let level = STEPS.length - 1;
    while (level > 0 && this.layout(level).total > room) level--;
    this.level = level;
    this.scroll.scrollTop = 0;
    this.draw();
  }

  // One step in or out; the page at `event`, or in the middle, stays where it is.
  step(by, event) {
    const level = Math.max(0, Math.min(STEPS.length - 1, this.level + by));
    if (level === this.level) return;
    const y = event ? event.offsetY : this.scroll.clientHeight / 2;
    const spot = this.spotAt((event ? event.offsetX : 10) * this.at.ratio, (y + this.scroll.scrollTop) * this.at.ratio, true);
    this.level = level;
    this.draw();
    if (spot) this.scrollTo(spot.pfn, y);
  }

  show(pfn) {
    if (!Number.isFinite(pfn) || pfn < 0) return;
    const enough = STEPS.findIndex((step) => step >= this.ground.high * 4);
    this.level = Math.max(this.level, enough);
    this.mark = pfn;
    this.draw();
    this.scrollTo(pfn, this.scroll.clientHeight / 2);
    this.scroll.scrollIntoView({ block: 'nearest' });
  }

  scrollTo(pfn, y) {
    const box = this.boxOf(Math.floor(pfn / this.ground.pages));
    if (box) this.scroll.scrollTop = (box.y + this.at.high / 2) / this.at.ratio - y;
    this.paint();
  }

  boxOf(block) {
    const { places, across, wide, high, gap } = this.at;
    const place = places.find((one) => block >= one.first && block < one.last);
    if (!place) return null;
    const n = block - place.first;
    return { place, x: (n % across) * (wide + gap), y: place.body + Math.floor(n / across) * (high + gap) };
  }

  draw() {
    this.wideIn = this.body.clientWidth - 34;
    if (this.wideIn <= 0) return;
    if (this.level === null) return this.fitAll();
    this.at = this.layout(this.level);
    const height = Math.max(60, Math.min(Math.ceil(this.at.total / this.at.ratio), this.room() + 30));
    this.scroll.style.height = `${height + 2}px`;
    this.spacer.style.height = `${Math.max(0, Math.ceil(this.at.total / this.at.ratio) - height)}px`;
    this.viewHeight = height;
    this.way = coloring(this.ground, this.by);
    this.paint();
    this.legend.replaceChildren(...legend(this.shown()), ...this.markLegend());
    const { side, ratio } = this.at, { grain } = this.ground;
    const each = side ? `a page is ${side / ratio} × ${side / ratio} pixels` : `a cell is a block of ${grouped(this.ground.pages)} pages, and shows their mix`;
    this.about.textContent = grain > 1 ? `${each}; in grains of ${grain} pages, each as most of them are` : each;
    this.canvas.dataset.level = this.level;
    this.canvas.dataset.side = side;
  }

  // Categories that there are, for the legend.
  shown() {
    const met = new Uint8Array(this.way.categories.length);
    this.ground.walk(0, this.ground.ownerEnds[this.ground.ownerEnds.length - 1] ?? 0, (from, to, owner, place) => {
      if (owner) met[this.way.of(owner, place)] = 1;
    });
    return this.way.categories.filter((_, i) => met[i]).map(({ name, color }) => [name, color]);
  }

  markLegend() {
    if (!this.marks || !this.ground.blockers.size) return [];
    return legend([[`few pages spoil the block (${grouped(this.ground.blockers.size)})`, css('hit')]]);
  }

  paint() {
    if (!this.at) return;
    const { ratio, width, title, places } = this.at, top = Math.round(this.scroll.scrollTop * ratio);
    const context = fit(this.canvas, width / ratio, this.viewHeight), high = this.canvas.height;
    const painter = new Painter(this.ground, this.way, this.store.selection);
    painter.marks = this.marks;
    painter.image(this.canvas.width, high);
    this.outlines = [];
    for (const place of places) {
      if (place.end > top && place.top < top + high) this.paintStretch(painter, place, top, high);
    }
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.putImageData(painter.data, 0, 0);
    this.drawMarks(context);
    context.font = font(11 * ratio, 600);
    context.textBaseline = 'middle';
    context.fillStyle = css('ink');
    for (const place of places) {
      if (place.end > top && place.top < top + high) context.fillText(clipped(context, this.titleOf(place), width - 8), 2, place.top - top + title / 2);
    }
  }

  paintStretch(painter, place, top, height) {
    const { side, high, wide, gap, across } = this.at, line = high + gap;
    const first = Math.max(0, Math.floor((top - place.body) / line)), last = Math.min(place.rows, Math.ceil((top + height - place.body) / line));
    const end = Math.min(place.blocks, last * across);
    for (let n = first * across; n < end; n++) {
      const block = place.first + n, x = (n % across) * (wide + gap), y = place.body + Math.floor(n / across) * line - top;
      if (side) painter.paged(block, place.zone, x, y, side);
      else painter.mixed(block, place.zone, x, y, wide, high);
      if (this.marks && this.ground.blockers.has(block)) this.outlines.push([x, y]);
    }
  }

  drawMarks(context) {
    const { side, high, wide, ratio } = this.at, top = Math.round(this.scroll.scrollTop * ratio);
    context.lineWidth = ratio * (side || high > 12 ? 1.5 : 1);
    context.strokeStyle = context.fillStyle = css('hit');
    for (const [x, y] of this.outlines) {
      if (high < 5 * ratio) context.fillRect(x, y, Math.max(1, wide / 3), Math.max(1, high / 3));
      else context.strokeRect(x + 0.5, y + 0.5, wide - 1, high - 1);
    }
    const spot = this.mark === undefined ? null : this.boxOf(Math.floor(this.mark / this.ground.pages));
    if (!spot || !side) return;
    const at = this.mark % this.ground.pages;
    context.strokeStyle = css('select');
    context.lineWidth = 2 * ratio;
    context.strokeRect(spot.x + (at % this.ground.wide) * side - 1, spot.y - top + Math.floor(at / this.ground.wide) * side - 1, side + 2, side + 2);
  }

  titleOf({ zone, first, last, gap }) {
    const { node, name, present, managed } = this.store.doc.zones[zone], { pages } = this.ground;
    const range = `${hex(first * pages)} – ${hex(last * pages - 1)}`;
    if (gap) return `  … after a hole of ${size(gap)}: ${range}`;
    return `node ${node}  ${name}  ${range}  ${present ? `${size(present)} present, ${size(managed)} managed` : ''}`;
  }

  // What lies at a point of the content, in pixels of the screen: { block, pfn, zone }; `near`: the row will do.
  spotAt(x, y, near = false) {
    const { places, side, high, wide, gap, across } = this.at, place = places.find((one) => y >= one.top && y < one.end);
    if (!place || (y < place.body && !near)) return null;
    const row = Math.max(0, Math.floor((y - place.body) / (high + gap))), col = Math.min(across - 1, Math.floor(x / (wide + gap)));
    const n = near ? Math.min(row * across + col, place.blocks - 1) : row * across + col;
    if (n >= place.blocks || row >= place.rows) return null;
    const block = place.first + n, { ground } = this;
    let pfn = block * ground.pages;
    if (side) {
      const px = Math.min(ground.wide - 1, Math.floor((x - col * (wide + gap)) / side)), py = Math.min(ground.high - 1, Math.floor((y - place.body - row * (high + gap)) / side));
      pfn += Math.max(0, py) * ground.wide + px;
    }
    return { block, pfn, zone: place.zone };
  }

  spot(event) {
    const { ratio } = this.at;
    return this.spotAt(event.offsetX * ratio, (event.offsetY + this.scroll.scrollTop) * ratio);
  }

  hover(event) {
    const spot = this.spot(event);
    if (!spot) return hideTip();
    showTip(event, [...(this.at.side ? this.pageLines(spot) : this.blockLines(spot)), ...this.placeLines(spot)]);
  }

  pageLines({ pfn }) {
    const { owner, from, to } = this.ground.ownerAt(pfn), { store } = this;
    const name = owner ? store.ownerName(owner - 1) : 'no struct page';
    return [`PFN ${hex(pfn)} (${pfn})`, name, to - from > 1 && `one of ${grouped(to - from)} pages from ${hex(from)}`];
  }

  blockLines({ block, zone }) {
    const painter = new Painter(this.ground, this.way, null), counts = Array.from(painter.mixOf(block, zone)), { pages } = this.ground;
    const parts = this.way.categories.map(({ name }, i) => [name, counts[i]]).filter(([, n]) => n).sort((a, b) => b[1] - a[1]);
    const lines = parts.slice(0, 5).map(([name, n]) => `${percent(n, pages)} ${name}`);
    return [`block ${block}: PFN ${hex(block * pages)} – ${hex((block + 1) * pages - 1)}`, ...lines];
  }

  placeLines({ block, pfn }) {
    const { store, ground } = this, at = ground.placeAt(pfn), { mobilities, processes, ages } = store.doc.map;
    const way = ground.blockers.get(block), mobility = mobilities[store.place_mobility[at] - 1];
    const age = this.at.side ? ages[store.place_age[at] - 1] : undefined, process = this.at.side && processes[store.place_process[at] - 1];
    return [
      [mobility, age !== undefined && `at least ${seconds(age)} old`].filter(Boolean).join(' · '),
      process && `allocated by ${process}`,
      way && `${way} of ${grouped(ground.pages)} pages spoil this block`,
    ];
  }

  click(event) {
    const spot = this.spot(event);
    if (!spot) return;
    if (!this.at.side) return this.show(spot.pfn);
    const { owner } = this.ground.ownerAt(spot.pfn);
    this.mark = spot.pfn;
    if (owner) this.store.select(this.store.byOwner(owner - 1, spot.pfn));
  }

  selected() {
    if (!this.store.selection) this.mark = undefined;
    this.paint();
  }

  blockerTable() {
    const rows = this.ground.listed.slice(0, SHOWN).map((block) => el('tr', { class: 'pick', onclick: () => this.show(block.owners[0].pfn) },
      el('td', { class: 'name' }, hex(block.pfn)), el('td', { class: 'n' }, block.in_the_way), el('td', { class: 'n' }, grouped(block.movable)),
      el('td', { class: 'n' }, grouped(block.free)), el('td', { class: 'owner' }, block.owners.map(said).join(', '))));
    if (!rows.length) return el('p', { class: 'dim' }, 'No block is spoilt by a few pages.');
    const title = el('h3', {}, 'Blocks with least in the way');
    title.style.marginTop = '12px';
    const titles = ['block at', 'in the way', 'movable', 'free', 'whose they are'];
    return el('div', {}, title, el('table', { id: 'blockers' },
      el('thead', {}, el('tr', {}, ...titles.map((name, i) => el('th', { class: i > 0 && i < 4 ? 'n' : '' }, name)))), el('tbody', {}, ...rows)),
    el('p', { class: 'dim mono' }, commandLine('blockers', this.store.doc.source)));
  }
}
