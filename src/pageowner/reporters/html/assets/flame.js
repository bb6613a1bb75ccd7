// SPDX-License-Identifier: LGPL-2.1-or-later
// The flame graph: who asked for memory, by call stack, as wide as it has pages.

import { FlameTree, patternOf } from './flametree.js';
import { checkbox, choice, clipped, css, el, fit, font, hideTip, legend, section, showTip } from './dom.js';
import { inkOn, mix } from './color.js';
import { grouped, percent, shortWord, signed, size } from './units.js';

const ROW = 17;
const LEAST = 0.6; // of a pixel: narrower is not drawn

export class Flame {
  constructor(store) {
    this.store = store;
    this.by = store.doc.since ? 'growth' : 'kind';
    this.inverted = false;
    this.hits = null;
    this.input = el('input', { type: 'search', placeholder: 'search functions', 'aria-label': 'search functions', oninput: () => this.search(this.input.value) });
    this.found = el('span', { class: 'found', id: 'flame-found' });
    const ways = [['kind', 'kind'], ['module', 'module'], ['zone', 'zone']];
    if (store.doc.since) ways.unshift(['growth', 'growth']);
    const color = choice('colour', ways, (way) => { this.by = way; this.draw(); });
    const inverted = checkbox('inverted', false, (on) => this.invert(on));
    this.back = el('button', { type: 'button', onclick: () => this.zoom(this.tree.root) }, 'whole graph');
    const about = store.doc.since ? `against ${store.doc.since}` : 'memory in use by allocation stack';
    this.body = section('flame', 'Flame graph', color.label, inverted.label, this.input, this.back, this.found, el('span', { class: 'right' }, about));
    this.canvas = el('canvas', { class: 'pointer', role: 'img', 'aria-label': 'Flame graph of allocation stacks' });
    this.canvas.addEventListener('mousemove', (event) => this.hover(event));
    this.canvas.addEventListener('mouseleave', hideTip);
    this.canvas.addEventListener('click', (event) => this.click(event));
    this.legend = el('div', { class: 'legend' });
    this.body.append(this.canvas, this.legend);
    this.invert(false);
  }

  invert(on) {
    this.inverted = on;
    this.tree = new FlameTree(this.store, on);
    this.at = this.tree.root;
    this.modules = modulesOf(this.tree);
    this.pick();
    this.search(this.input.value);
  }

  pick() {
    const { selection } = this.store;
    this.picked = selection ? this.tree.picked(selection.mask) : null;
  }

  selected() {
    this.pick();
    this.draw();
  }

  search(text) {
    if (text) {
      const { hits, pages } = this.tree.search(patternOf(text));
      this.hits = hits;
      this.found.textContent = `${percent(pages, this.tree.pages[0])} matched`;
      Object.assign(this.found.dataset, { pages, share: pages / this.tree.pages[0], nodes: hits.size });
    } else {
      this.hits = null;
      this.found.textContent = '';
    }
    this.draw();
  }

  zoom(node) {
    this.at = node;
    this.draw();
  }

  draw() {
    const { tree, at } = this, width = this.canvas.parentElement.clientWidth - 32;
    if (width <= 0) return;
    this.rows = at.depth + tree.depthBelow(at) + 1;
    this.context = fit(this.canvas, width, this.rows * ROW);
    this.context.font = font(11);
    this.context.textBaseline = 'middle';
    this.ink = { ink: css('ink'), panel: css('panel'), hit: css('hit'), grow: css('grow'), shrink: css('shrink'), line: css('line') };
    this.scale = width / (tree.wide[at.index] || 1);
    this.boxes = Array.from({ length: this.rows }, () => []);
    for (let node = at.parent; node; node = node.parent) this.box(node, 0, width, 0.45);
    const left = [at];
    while (left.length) {
      const node = left.pop(), wide = tree.wide[node.index] * this.scale;
      if (wide < LEAST) continue;
      this.box(node, (node.x - at.x) * this.scale, wide, 1);
      left.push(...node.order);
    }
    this.back.disabled = at === tree.root;
    this.canvas.dataset.zoom = at.name;
    this.canvas.dataset.boxes = this.boxes.reduce((sum, row) => sum + row.length, 0);
    this.drawLegend();
  }

  // Flames grow up; the inverted graph hangs down from who asked the allocator.
  top(depth) {
    return (this.inverted ? depth : this.rows - 1 - depth) * ROW;
  }

  box(node, x, wide, alpha) {
    const { context, tree } = this, y = this.top(node.depth), index = node.index;
    const share = this.picked ? this.picked[index] / (tree.pages[index] || 1) : 1;
    const pale = this.hits ? (this.hits.has(index) ? 0 : 1) : 1 - Math.sqrt(Math.min(share, 1));
    const base = this.color(node), color = pale ? mix(base, this.ink.panel, 0.76 * pale) : base;
    context.globalAlpha = alpha;
    context.fillStyle = color;
    context.fillRect(x, y, Math.max(wide - (wide > 3 ? 1 : 0), LEAST), ROW - 1);
    if (this.hits?.has(index)) {
      context.fillStyle = this.ink.hit;
      context.fillRect(x, y + ROW - 4, Math.max(wide - 1, LEAST), 3);
    }
    if (wide > 26) {
      context.fillStyle = inkOn(color);
      context.fillText(clipped(context, node.name, wide - 7), x + 4, y + ROW / 2);
    }
    context.globalAlpha = 1;
    this.boxes[node.depth].push([x, x + wide, node]);
  }

  color(node) {
    const { store, tree } = this, index = node.index;
    if (node === tree.root) return this.ink.line;
    if (this.by === 'growth') return this.growthColor(tree.pages[index] - tree.old[index], tree.wide[index]);
    if (this.by === 'kind') return store.color(tree.mainWord[index]);
    if (this.by === 'zone') return store.doc.many[tree.mainZone[index] % store.doc.many.length];
    const module = moduleOf(node.name), place = this.modules.indexOf(module);
    if (!module) return mix(this.ink.line, this.ink.ink, 0.12);
    return store.doc.many[place % store.doc.many.length];
  }

  growthColor(change, whole) {
    const share = Math.min(1, Math.abs(change) / (whole || 1));
    return mix(this.ink.line, change > 0 ? this.ink.grow : this.ink.shrink, change ? 0.18 + 0.82 * Math.sqrt(share) : 0);
  }

  drawLegend() {
    this.legend.replaceChildren(...legend(this.legendOf()));
  }

  legendOf() {
    const { store, tree } = this;
    if (this.by === 'growth') return [['grew', this.ink.grow], ['shrank', this.ink.shrink], ['as it was', this.ink.line]];
    if (this.by === 'zone') return store.doc.zones.map((zone, i) => [`node ${zone.node} ${zone.name}`, store.doc.many[i % store.doc.many.length]]);
    if (this.by === 'module') {
      const named = this.modules.slice(0, 11).map((name, i) => [name, store.doc.many[i]]);
      return [['kernel', mix(this.ink.line, this.ink.ink, 0.12)], ...named];
    }
    const seen = new Set(this.boxes.flat().map(([, , node]) => tree.mainWord[node.index]));
    return [...seen].sort((a, b) => a - b).map((word) => [shortWord(store.word(word)), store.color(word)]);
  }

  under(event) {
    const row = Math.floor(event.offsetY / ROW), depth = this.inverted ? row : this.rows - 1 - row;
    return this.boxes[depth]?.find(([from, to]) => event.offsetX >= from && event.offsetX < to)?.[2];
  }

  hover(event) {
    const node = this.under(event);
    if (!node) return hideTip();
    const { tree, store } = this, pages = tree.pages[node.index], words = store.doc.words.length;
    const kinds = store.doc.words.map((kind, i) => [kind.word, tree.words[node.index * words + i]]).filter(([, n]) => n >= 1).sort((a, b) => b[1] - a[1]);
    showTip(event, [
      node.name,
      `${size(pages)} · ${grouped(pages)} pages · ${percent(pages, tree.pages[0])} of all in use`,
      this.store.before_stack && `was ${size(tree.old[node.index])}: ${signed(pages - tree.old[node.index])}`,
      kinds.slice(0, 4).map(([word, n]) => `${word} ${percent(n, pages)}`).join(' · '),
    ]);
  }

  // Zooms in, and selects: a function wherever it is called, or what stands in the place of a stack.
  click(event) {
    const node = this.under(event), { store } = this;
    if (!node) return;
    const same = node === this.at;
    this.zoom(node);
    if (node === this.tree.root) return store.select(null);
    if (same) return;
    const chosen = node.f !== undefined ? store.byFunction(node.f) : node.owner !== undefined ? store.byOwner(node.owner) : node.word !== undefined ? store.byWord(node.word) : null;
    if (chosen?.id !== store.selection?.id) store.select(chosen);
  }
}

function moduleOf(name) {
  return /\[([^\]]+)\]$/.exec(name)?.[1] ?? '';
}

// Modules, most pages first.
function modulesOf(tree) {
  const sums = new Map();
  for (const node of tree.nodes) {
    const module = moduleOf(node.name);
    if (module) sums.set(module, (sums.get(module) ?? 0) + tree.pages[node.index]);
  }
  return [...sums].sort((a, b) => b[1] - a[1]).map(([name]) => name);
}
