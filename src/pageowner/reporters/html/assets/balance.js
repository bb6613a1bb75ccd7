// SPDX-License-Identifier: LGPL-2.1-or-later
// The balance sheet: a bar, a row per kind, and the kernel's own counters beside ours.

import { clipped, css, el, fit, font, hideTip, section, showTip, swatch } from './dom.js';
import { inkOn } from './color.js';
import { grouped, percent, shortWord, signed, size } from './units.js';

const HEIGHT = 38;

export class Balance {
  constructor(store) {
    this.store = store;
    const { summary } = store.doc, totals = summary.totals;
    this.number = new Map(store.doc.words.map((kind, i) => [kind.word, i]));
    this.kinds = [...summary.kinds].sort((a, b) => this.number.get(a.word) - this.number.get(b.word));
    this.all = totals.struct_pages;
    this.body = section('balance', 'Balance', el('span', { class: 'dim' }, sentence(totals)));
    this.canvas = el('canvas', { class: 'pointer', role: 'img', 'aria-label': 'Memory by kind' });
    this.canvas.addEventListener('mousemove', (event) => this.hover(event));
    this.canvas.addEventListener('mouseleave', hideTip);
    this.canvas.addEventListener('click', (event) => {
      const kind = this.at(event);
      if (kind) store.select(store.byWord(this.number.get(kind.word)));
    });
    const left = el('div', {}, this.kindTable(summary.kinds));
    const right = el('div', {}, counterTable(summary.counters), unseenTable(summary.unseen));
    this.body.append(this.canvas, el('div', { class: 'columns' }, left, right), coverage(store.doc));
  }

  kindTable(kinds) {
    const { before_word: words, before_pages: pages } = this.store;
    const old = words && kinds.map(({ word }) => pages.reduce((sum, n, i) => sum + (words[i] === this.number.get(word) ? n : 0), 0));
    this.rows = kinds.map(({ word, pages: n }, i) => this.kindRow(word, n, kinds[0].pages, old?.[i]));
    const head = ['kind', 'pages', 'size', '%', ...(old ? ['growth'] : []), ''];
    return el('table', { id: 'kinds' },
      el('thead', {}, el('tr', {}, ...head.map((name, i) => el('th', { class: i && name ? 'n' : '' }, name)))),
      el('tbody', {}, ...this.rows));
  }

  kindRow(word, pages, most, old) {
    const number = this.number.get(word), bar = el('span', { class: 'bar' });
    bar.style.width = `${(100 * pages) / most}%`;
    const free = this.store.doc.words[number].free, change = pages - old;
    const mark = swatch('');
    const grew = old === undefined ? undefined
      : el('td', { class: `n ${free ? '' : change > 0 ? 'grew' : change < 0 ? 'shrank' : ''}` }, free ? '' : change ? signed(change) : '0');
    const row = el('tr', { class: 'pick', data: { word, pages }, onclick: () => this.store.select(this.store.byWord(number)) },
      el('td', { class: 'name' }, mark, word), el('td', { class: 'n' }, grouped(pages)), el('td', { class: 'n' }, size(pages)),
      el('td', { class: 'n' }, percent(pages, this.all).replace(' %', '')), grew, el('td', { class: 'share' }, bar));
    return Object.assign(row, { paint: () => { mark.style.background = bar.style.background = this.store.color(number); } });
  }

  draw() {
    const width = this.canvas.parentElement.clientWidth - 32, context = fit(this.canvas, width, HEIGHT);
    this.segments = [];
    let x = 0;
    context.font = font(11);
    context.textBaseline = 'middle';
    for (const kind of this.kinds) {
      const wide = (width * kind.pages) / this.all, color = this.store.color(this.number.get(kind.word));
      const picked = this.store.selection ? this.store.selection.words[this.number.get(kind.word)] / kind.pages : 1;
      context.fillStyle = color;
      context.globalAlpha = 0.25;
      context.fillRect(x, 0, wide, HEIGHT);
      context.globalAlpha = 1;
      context.fillRect(x, HEIGHT * (1 - picked), wide, HEIGHT * picked);
      if (wide > 4) {
        context.fillStyle = css('panel');
        context.fillRect(x + wide - 1, 0, 1, HEIGHT);
      }
      const text = clipped(context, shortWord(kind.word), wide - 10);
      context.fillStyle = picked < 0.5 ? css('ink') : inkOn(color);
      if (text.length > 3) context.fillText(text, x + 5, HEIGHT / 2);
      this.segments.push([x, x + wide, kind]);
      x += wide;
    }
    this.rows.forEach((row) => row.paint());
  }

  at(event) {
    return this.segments.find(([from, to]) => event.offsetX >= from && event.offsetX < to)?.[2];
  }

  hover(event) {
    const kind = this.at(event);
    if (kind) showTip(event, [kind.word, `${size(kind.pages)} · ${grouped(kind.pages)} pages · ${percent(kind.pages, this.all)}`]);
  }

  selected() {
    const { selection } = this.store;
    for (const row of this.rows) row.classList.toggle('selected', Boolean(selection?.words[this.number.get(row.dataset.word)]));
    this.draw();
  }
}

function sentence(totals) {
  if (totals.present === undefined) return `${grouped(totals.struct_pages)} pages, ${size(totals.struct_pages)}`;
  const part = (name) => `${grouped(totals[name])} ${name}`;
  return `${grouped(totals.struct_pages)} struct pages = ${part('holes')} + ${part('present')}; present = ${part('reserved')} + ${part('managed')}`;
}

function counterTable(counters) {
  const rows = counters.map(({ name, kernel, ours, unexplained, formula }) => el('tr', { data: { counter: name, kernel, ours, unexplained } },
    el('td', { class: 'name' }, name), el('td', { class: 'n' }, grouped(kernel)), el('td', { class: 'n' }, grouped(ours)),
    el('td', { class: `n${unexplained ? ' off' : ''}` }, grouped(unexplained)), el('td', { class: 'dim' }, formula)));
  if (!rows.length) return el('p', { class: 'dim' }, 'The kernel’s own counters are not in this source.');
  const titles = ['kernel’s counter', 'kernel', 'ours', 'unexplained', 'formula'];
  return el('table', { id: 'counters' },
    el('thead', {}, el('tr', {}, ...titles.map((title, i) => el('th', { class: i > 0 && i < 4 ? 'n' : '' }, title)))), el('tbody', {}, ...rows));
}

function unseenTable(unseen) {
  if (!unseen.length) return undefined;
  const rows = unseen.slice(0, 8).map(({ owner, word, pages }) => el('tr', {},
    el('td', { class: 'owner' }, owner), el('td', { class: 'name dim' }, word), el('td', { class: 'n' }, size(pages))));
  const title = el('h3', {}, 'Most of what no line of /proc/meminfo counts');
  title.style.marginTop = '14px';
  return el('div', {}, title, el('table', { id: 'unseen' }, el('tbody', {}, ...rows)));
}

function coverage(doc) {
  const { scanned, unreadable, excluded, changed } = doc.summary.coverage;
  const lines = [`${grouped(scanned)} pages scanned`, `${grouped(unreadable)} unreadable`, `${grouped(excluded)} excluded from the dump`, `${grouped(changed)} changed while being read`];
  const failed = doc.summary.layers.filter((layer) => !layer.ok).map((layer) => layer.word);
  if (failed.length) lines.push(`not told apart here: ${failed.join(', ')}`);
  return el('p', { class: 'dim', id: 'coverage', data: doc.summary.coverage }, lines.join(' · '));
}
