// SPDX-License-Identifier: LGPL-2.1-or-later
// The treemap: kinds, in them their owners, in these the stacks that allocated the pages.

import { squarify } from './squarify.js';
import { checkbox, clipped, css, el, fit, font, hideTip, section, showTip } from './dom.js';
import { inkOn, mix } from './color.js';
import { grouped, percent, size } from './units.js';

const HEAD = 17;
const MOST = 1500; // cells of one level; the rest is one cell

export class Treemap {
  constructor(store) {
    this.store = store;
    this.free = false;
    const free = store.doc.summary.kinds.filter(({ word }) => store.doc.words.find((kind) => kind.word === word).free);
    const hidden = checkbox(`free memory (${size(free.reduce((sum, kind) => sum + kind.pages, 0))})`, false, (on) => { this.free = on; this.open(this.root()); });
    this.crumbs = el('div', { class: 'crumbs' });
    this.body = section('treemap', 'Treemap', this.crumbs, free.length ? hidden.label : '', el('span', { class: 'right' }, 'click selects, double click or title opens'));
    this.canvas = el('canvas', { class: 'pointer', role: 'img', 'aria-label': 'Treemap of memory by kind, owner and stack' });
    this.canvas.addEventListener('mousemove', (event) => this.hover(event));
    this.canvas.addEventListener('mouseleave', hideTip);
    this.canvas.addEventListener('click', (event) => this.click(event));
    this.canvas.addEventListener('dblclick', (event) => { if (!this.opened) this.open(this.under(event)?.inner ?? this.at); });
    this.body.append(this.canvas);
    this.at = this.root();
    this.opened = false; // by the first of two clicks
  }

  root() {
    return { level: 'all', name: 'all memory', parent: null };
  }

  // What is in a cell, largest first; `value` in pages.
  within(cell) {
    if (cell.kids) return cell.kids;
    const made = { all: () => this.kinds(), kind: () => this.owners(cell.word), owner: () => this.stacks(cell.owner), stack: () => [] }[cell.level]();
    made.sort((a, b) => b.value - a.value);
    for (const kid of made) kid.parent = cell;
    cell.kids = made;
    return made;
  }

  kinds() {
    const { store } = this, sums = new Float64Array(store.doc.words.length);
    store.owner_pages.forEach((pages, owner) => { sums[store.owner_word[owner]] += pages; });
    return store.doc.words.map((kind, word) => ({ level: 'kind', name: kind.word, word, value: sums[word], free: kind.free }))
      .filter((cell) => cell.value && (this.free || !cell.free));
  }

  owners(word) {
    const { store } = this, found = [];
    store.owner_word.forEach((number, owner) => {
      if (number === word && store.owner_pages[owner]) found.push({ level: 'owner', name: store.doc.owners[owner] || store.word(word), owner, word, value: store.owner_pages[owner] });
    });
    if (found.length <= MOST) return found;
    found.sort((a, b) => b.value - a.value);
    const rest = found.slice(MOST);
    return [...found.slice(0, MOST), { level: 'rest', name: `${grouped(rest.length)} smaller`, word, kids: [], value: rest.reduce((sum, cell) => sum + cell.value, 0) }];
  }

  stacks(owner) {
    const { store } = this, sums = new Map();
    for (let row = store.owner_row[owner]; row < store.owner_row[owner + 1]; row++) {
      sums.set(store.usage_stack[row], (sums.get(store.usage_stack[row]) ?? 0) + store.usage_pages[row]);
    }
    return [...sums].map(([stack, value]) => ({ level: 'stack', name: store.shortStack(stack, 6), stack, owner, word: store.owner_word[owner], value }));
  }

  picked(cell) {
    const { selection } = this.store;
    if (!selection) return 1;
    if (cell.level === 'kind' || cell.level === 'rest') return selection.words[cell.word] / cell.value;
    if (cell.level === 'owner') return selection.owners[cell.owner] / cell.value;
    let sum = 0;
    for (let row = this.store.owner_row[cell.owner]; row < this.store.owner_row[cell.owner + 1]; row++) {
      if (this.store.usage_stack[row] === cell.stack && selection.mask[row]) sum += this.store.usage_pages[row];
    }
    return sum / cell.value;
  }

  selected() {
    this.draw();
  }

  open(cell) {
    if (!cell || cell.level === 'stack' || cell.level === 'rest') return;
    this.at = cell;
    this.draw();
  }

  draw() {
    const width = this.canvas.parentElement.clientWidth - 32, height = this.height(width);
    if (width <= 0) return;
    this.context = fit(this.canvas, width, height);
    this.context.textBaseline = 'middle';
    this.ink = { panel: css('panel'), ink: css('ink'), select: css('select') };
    this.cells = [];
    for (const [cell, x, y, w, h] of squarify(this.within(this.at), 0, 0, width, height)) this.outer(cell, x, y, w, h);
    this.canvas.dataset.at = this.at.name;
    this.canvas.dataset.cells = this.cells.length;
    this.drawCrumbs();
  }

  // A picture on its own takes the window.
  height(width) {
    const beside = Math.round(Math.min(520, Math.max(300, width * 0.36)));
    return this.store.doc.views.length > 1 ? beside : Math.max(beside, window.innerHeight - 200);
  }

  outer(cell, x, y, w, h) {
    const kids = w > 34 && h > 34 && cell.level !== 'stack' ? this.within(cell) : [];
    const many = kids.length > 1 || (kids.length === 1 && cell.level === 'kind');
    this.cells.push({ cell, x, y, w, h, head: many ? HEAD : h });
    if (!many) return this.fill(cell, x, y, w - 1, h - 1);
    const color = this.shade(cell);
    this.context.fillStyle = color;
    this.context.fillRect(x, y, w - 1, h - 1);
    this.text(`${cell.name} ${size(cell.value)}`, x + 5, y + HEAD / 2, w - 10, inkOn(color), 600);
    for (const [kid, kx, ky, kw, kh] of squarify(kids, x + 1, y + HEAD, w - 3, h - HEAD - 2)) {
      this.cells.push({ cell, inner: kid, x: kx, y: ky, w: kw, h: kh });
      if (kw > 0.5 && kh > 0.5) this.fill(kid, kx, ky, kw - (kw > 3 ? 1 : 0), kh - (kh > 3 ? 1 : 0), 0.14);
    }
    if (this.store.selection && this.picked(cell) === 1) this.outline(x, y, w - 1, h - 1);
  }

  shade(cell, lighter = 0) {
    const base = this.store.color(cell.word), color = lighter ? mix(base, this.ink.panel, lighter) : base;
    return this.picked(cell) > 0 ? color : mix(base, this.ink.panel, 0.76);
  }

  fill(cell, x, y, w, h, lighter = 0) {
    const color = this.shade(cell, lighter);
    this.context.fillStyle = color;
    this.context.fillRect(x, y, w, h);
    if (this.store.selection && this.picked(cell) > 0 && !(cell.parent.value && this.picked(cell.parent) === 1)) this.outline(x, y, w, h);
    if (w < 36 || h < 13) return;
    const ink = inkOn(color), two = h > 30;
    this.text(this.short(cell.name, w - 8), x + 4, y + (two ? 10 : Math.min(h / 2, 10)), w - 8, ink);
    if (two && this.fits(size(cell.value), w - 6)) this.text(size(cell.value), x + 4, y + 24, w - 6, ink);
  }

  outline(x, y, w, h) {
    if (w < 4 || h < 4) return;
    this.context.strokeStyle = this.ink.select;
    this.context.lineWidth = 1.5;
    this.context.strokeRect(x + 0.75, y + 0.75, w - 1.5, h - 1.5);
  }

  fits(words, room) {
    this.context.font = font(11);
    return this.context.measureText(words).width <= room;
  }

  // A process by its name first, where there is little room.
  short(name, room) {
    return this.fits(name, room) ? name : name.replace(/^pid (-?\d+) \(([^()]*)\)/, '$2 $1');
  }

  text(words, x, y, room, ink, weight = 400) {
    this.context.font = font(11, weight);
    this.context.fillStyle = ink;
    this.context.fillText(clipped(this.context, words, room), x, y);
  }

  drawCrumbs() {
    const path = [];
    for (let cell = this.at; cell; cell = cell.parent) path.unshift(cell);
    this.crumbs.replaceChildren(...path.flatMap((cell, i) => [
      i ? el('span', { class: 'dim' }, '›') : undefined,
      el('button', { type: 'button', title: cell.name, onclick: () => this.open(cell) }, cell.name),
    ]).filter(Boolean));
  }

  under(event) {
    const { offsetX: x, offsetY: y } = event;
    const hit = (box) => x >= box.x && x < box.x + box.w && y >= box.y && y < box.y + box.h;
    return this.cells.findLast(hit);
  }

  hover(event) {
    const box = this.under(event);
    if (!box) return hideTip();
    const cell = box.inner ?? box.cell, { store } = this;
    showTip(event, [
      cell.level === 'stack' ? store.ownerName(cell.owner) : cell.level === 'owner' ? store.ownerName(cell.owner) : cell.name,
      `${size(cell.value)} · ${grouped(cell.value)} pages · ${percent(cell.value, store.total)} of all`,
      ...(cell.level === 'stack' && cell.stack ? Array.from(store.frames(cell.stack), (f) => `  ${store.doc.functions[f]}`).slice(0, 16) : []),
    ]);
  }

  click(event) {
    const box = this.under(event), { store } = this;
    if (!box || event.detail > 1) return;
    this.opened = !box.inner && box.head === HEAD;
    if (this.opened) return this.open(box.cell);
    const cell = box.inner ?? box.cell;
    if (cell.level === 'kind' || cell.level === 'rest') store.select(store.byWord(cell.word));
    else if (cell.level === 'owner') store.select(store.byOwner(cell.owner));
    else store.select(store.byStack(cell.owner, cell.stack));
  }
}
