// SPDX-License-Identifier: LGPL-2.1-or-later
// Stacks as a tree: every node a function with the pages of all stacks that run through it.

const NOTE = '(not recorded)';

export class FlameTree {
  // `inverted`: from who asked the allocator outwards, instead of from the outermost function inwards.
  constructor(store, inverted) {
    this.store = store;
    this.inverted = inverted;
    this.nodes = [];
    this.root = this.node(null, 'all but free memory', {});
    this.leaf = new Map();
    this.byRow = new Int32Array(store.usage_owner.length).fill(-1);
    store.usage_owner.forEach((owner, row) => {
      if (!store.isFree(owner)) this.byRow[row] = this.leafOf(store.usage_stack[row], store.owner_word[owner], owner).index;
    });
    this.fill();
    this.place();
  }

  node(parent, name, is) {
    const made = { parent, name, kids: new Map(), depth: parent ? parent.depth + 1 : 0, index: this.nodes.length, x: 0, ...is };
    this.nodes.push(made);
    if (parent) parent.kids.set(name, made);
    return made;
  }

  // Where pages of this stack are counted. Without a stack: kind and owner stand in its place.
  leafOf(stack, word, owner) {
    const differs = this.store.before_stack !== undefined;
    const key = stack ? `s${stack}` : differs || owner === undefined ? `w${word}` : `o${owner}`;
    if (this.leaf.has(key)) return this.leaf.get(key);
    let at = this.root;
    for (const [name, is] of stack ? this.frames(stack) : this.noFrames(word, key[0] === 'o' ? owner : undefined)) {
      at = at.kids.get(name) ?? this.node(at, name, is);
    }
    this.leaf.set(key, at);
    return at;
  }

  frames(stack) {
    const { store } = this, numbers = Array.from(store.frames(stack));
    const tip = store.stack_tip[stack - 1];
    if (!this.inverted) numbers.reverse();
    else if (tip < numbers.length) numbers.splice(0, tip);
    return numbers.map((f) => [store.doc.functions[f], { f }]);
  }

  noFrames(word, owner) {
    const path = [[NOTE, {}], [this.store.word(word), { word }]];
    return owner === undefined ? path : [...path, [this.store.doc.owners[owner] || this.store.word(word), { owner }]];
  }

  // Pages of every node, in all and by kind, zone and growth; leaves first, since parents were made before them.
  fill() {
    const { store, nodes } = this, words = store.doc.words.length, zones = store.doc.zones.length;
    if (store.before_stack) store.before_stack.forEach((stack, i) => this.leafOf(stack, store.before_word[i]));
    this.pages = new Float64Array(nodes.length);
    this.old = new Float64Array(nodes.length);
    this.words = new Float32Array(nodes.length * words);
    this.zones = new Float32Array(nodes.length * zones);
    this.byRow.forEach((leaf, row) => {
      if (leaf < 0) return;
      const n = store.usage_pages[row];
      this.pages[leaf] += n;
      this.words[leaf * words + store.owner_word[store.usage_owner[row]]] += n;
      this.zones[leaf * zones + store.usage_place[row]] += n;
    });
    if (store.before_stack) {
      store.before_stack.forEach((stack, i) => {
        const leaf = this.leafOf(stack, store.before_word[i]).index;
        this.old[leaf] += store.before_pages[i];
        this.words[leaf * words + store.before_word[i]] += store.before_pages[i] * 1e-3;
      });
    }
    // What was there before and is gone still has its width: growth and shrinkage are both to be seen.
    this.wide = this.pages.map((n, i) => Math.max(n, this.old[i]));
    for (let i = nodes.length - 1; i > 0; i--) {
      const up = nodes[i].parent.index;
      for (const sums of [this.pages, this.old, this.wide]) sums[up] += sums[i];
      for (let k = 0; k < words; k++) this.words[up * words + k] += this.words[i * words + k];
      for (let k = 0; k < zones; k++) this.zones[up * zones + k] += this.zones[i * zones + k];
    }
    this.mainWord = nodes.map((_, i) => largest(this.words, i * words, words));
    this.mainZone = nodes.map((_, i) => largest(this.zones, i * zones, zones));
  }

  // Left edges, in pages: the largest first, so that what matters is to the left.
  place() {
    for (const node of this.nodes) {
      node.order = [...node.kids.values()].sort((a, b) => this.wide[b.index] - this.wide[a.index] || (a.name < b.name ? -1 : 1));
      let x = node.x;
      for (const kid of node.order) {
        kid.x = x;
        x += this.wide[kid.index];
      }
    }
  }

  depthBelow(node) {
    let most = 0;
    const left = [node];
    while (left.length) {
      const at = left.pop();
      most = Math.max(most, at.depth - node.depth);
      left.push(...at.order);
    }
    return most;
  }

  // Selected pages of every node.
  picked(mask) {
    const sums = new Float64Array(this.nodes.length);
    this.byRow.forEach((leaf, row) => { if (leaf >= 0 && mask[row]) sums[leaf] += this.store.usage_pages[row]; });
    for (let i = this.nodes.length - 1; i > 0; i--) sums[this.nodes[i].parent.index] += sums[i];
    return sums;
  }

  // Nodes whose name matches, and the pages of all that are under any of them, counted once.
  search(pattern) {
    const hits = new Set();
    let pages = 0;
    const left = [[this.root, false]];
    while (left.length) {
      const [node, inside] = left.pop(), hit = node !== this.root && pattern.test(node.name);
      if (hit) hits.add(node.index);
      if (hit && !inside) pages += this.pages[node.index];
      for (const kid of node.order) left.push([kid, inside || hit]);
    }
    return { hits, pages };
  }
}

function largest(sums, from, n) {
  let best = 0;
  for (let k = 1; k < n; k++) if (sums[from + k] > sums[from + best]) best = k;
  return best;
}

// A search as people type it: a regular expression if it is one, else these very letters.
export function patternOf(text) {
  try {
    return new RegExp(text, 'i');
  } catch {
    return new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'), 'i');
  }
}
