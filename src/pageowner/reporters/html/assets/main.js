// SPDX-License-Identifier: LGPL-2.1-or-later
// Reads the data, makes the views, and shows what is selected in all of them.

import { Balance } from './balance.js';
import { Flame } from './flame.js';
import { MemoryMap } from './map.js';
import { Store } from './store.js';
import { Treemap } from './treemap.js';
import { decode } from './data.js';
import { el, hideTip } from './dom.js';
import { grouped, percent, size } from './units.js';

const VIEWS = { balance: ['Balance', Balance], flame: ['Flame graph', Flame], treemap: ['Treemap', Treemap], map: ['Physical map', MemoryMap] };
const root = document.documentElement, prefersDark = matchMedia('(prefers-color-scheme: dark)');

class SelectionBar {
  constructor(store) {
    this.store = store;
    this.body = document.getElementById('selection');
  }

  draw() {}

  selected() {
    const { selection } = this.store;
    this.body.hidden = !selection;
    if (!selection) return;
    const figures = el('span', { class: 'mono', data: { pages: selection.pages } },
      `${size(selection.pages)} · ${grouped(selection.pages)} pages · ${percent(selection.pages, this.store.total)}`);
    const clear = el('button', { type: 'button', onclick: () => this.store.select(null) }, 'clear (Esc)');
    this.body.replaceChildren(el('div', { class: 'what' }, el('b', {}, selection.label), figures, clear), ...selection.commands.map(commandRow));
  }
}

function commandRow(command) {
  const button = el('button', { type: 'button' }, 'copy'), code = el('code', {}, command);
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(command);
      button.textContent = 'copied';
    } catch {
      getSelection().selectAllChildren(code);
    }
  });
  return el('div', { class: 'command' }, code, button);
}

function setTheme(store, dark) {
  store.dark = dark;
  root.dataset.theme = dark ? 'dark' : 'light';
  for (const view of store.views) view.draw();
}

function keepTheme(store) {
  let chosen = null;
  document.getElementById('theme').addEventListener('click', () => {
    chosen = !store.dark;
    setTheme(store, chosen);
  });
  prefersDark.addEventListener('change', () => setTheme(store, chosen ?? prefersDark.matches));
  addEventListener('beforeprint', () => setTheme(store, false));
  addEventListener('afterprint', () => setTheme(store, chosen ?? prefersDark.matches));
  setTheme(store, prefersDark.matches);
}

function headline(doc) {
  const { host, release } = doc.about, title = [host !== '(none)' && host, release && `Linux ${release}`].filter(Boolean).join(' · ');
  document.title = `pageowner: ${title || doc.source}`;
  document.getElementById('machine').textContent = [title, size(doc.summary.totals.struct_pages), doc.source, ...doc.only, doc.since && `since ${doc.since}`].filter(Boolean).join(' · ');
}

function notices(doc) {
  const lines = [...doc.remarks];
  if (doc.lacking.includes('map')) lines.push('This source does not say where its pages are: there is no map. Record it anew, or take a core.');
  document.getElementById('notice').textContent = lines.join(' — ');
}

function start(doc) {
  const store = new Store(doc), nav = document.getElementById('views');
  headline(doc);
  notices(doc);
  root.dataset.theme = prefersDark.matches ? 'dark' : 'light';
  for (const name of doc.views) {
    const [title, View] = VIEWS[name];
    store.views.push(new View(store));
    if (doc.views.length > 1) nav.append(el('a', { href: `#${name}` }, title));
  }
  store.views.push(new SelectionBar(store));
  keepTheme(store);
  addEventListener('resize', () => store.views.forEach((view) => view.draw()));
  addEventListener('scroll', hideTip, { passive: true });
  addEventListener('keydown', (event) => { if (event.key === 'Escape') store.select(null); });
  root.dataset.ready = performance.now().toFixed(0);
}

decode(document.getElementById('data').textContent).then(start).catch((error) => {
  document.getElementById('notice').textContent = `This page cannot be shown: ${error.message}`;
  throw error;
});
