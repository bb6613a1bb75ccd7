// SPDX-License-Identifier: LGPL-2.1-or-later
// What the map is coloured by. A way has categories ({ name, color }, in the order of legends and mixes) and
// a function from a run (owner + 1, row of places) to the number of its category.

import { css } from './dom.js';
import { mix } from './color.js';
import { seconds, shortWord } from './units.js';

const TOP = 11;
const NOTHING = '#8d8476';

export function coloring(ground, way) {
  return { kind: byKind, mobility: byMobility, age: byAge, process: byProcess }[way](ground, ground.store);
}

function byKind(ground, store) {
  const categories = store.doc.words.map((kind, i) => ({ name: shortWord(kind.word), color: store.color(i) }));
  return { categories, of: (owner) => store.owner_word[owner - 1] };
}

// Free pages of a block are paler than those in use.
function byMobility(ground, store) {
  const { mobilities } = store.doc.map, { place_mobility: of } = store;
  const colors = mobilities.map((name) => (store.doc.mobility[name] ?? [NOTHING, NOTHING])[store.dark ? 1 : 0]);
  const pairs = [...mobilities.map((name, i) => [name, colors[i]]), ['unknown', NOTHING]];
  const categories = pairs.flatMap(([name, color]) => [
    { name, color }, { name: `${name}, free`, color: mix(color, css('panel'), 0.72) }]);
  const unknown = pairs.length - 1;
  return { categories, of: (owner, place) => 2 * (of[place] ? of[place] - 1 : unknown) + (store.isFree(owner - 1) ? 1 : 0) };
}

function byAge(ground, store) {
  const { steps, colors } = store.doc.ages, { place_age: of } = store;
  const categories = steps.map((step, i) => ({ name: i + 1 < steps.length ? `${seconds(step)} – ${seconds(steps[i + 1])}` : `${seconds(step)} or older`, color: colors[i] }));
  return withFree(store, categories, 'not recorded', (owner, place) => of[place] - 1);
}

function byProcess(ground, store) {
  const names = ground.processes().filter(([name]) => name).slice(0, TOP).map(([name]) => name);
  const categories = names.map((name, i) => ({ name, color: store.doc.many[i] }));
  const place = new Map(names.map((name, i) => [name, i]));
  categories.push({ name: 'other processes', color: mix(NOTHING, css('panel'), 0.1) });
  const number = (name) => place.get(name) ?? names.length;
  const recorded = store.doc.map.processes.map(number), owners = store.doc.processes.map(number);
  return withFree(store, categories, 'no process known', (owner, at) => {
    const known = store.place_process[at], own = store.owner_process[owner - 1];
    return known ? recorded[known - 1] : own ? owners[own - 1] : -1;
  });
}

function withFree(store, categories, unknown, of) {
  const free = store.doc.words.find((kind) => kind.free);
  const color = free ? free[store.dark ? 'dark' : 'light'] : css('faint');
  const all = [...categories, { name: unknown, color: mix(NOTHING, css('panel'), 0.6) }, { name: 'free', color }];
  return {
    categories: all,
    of: (owner, place) => {
      if (store.isFree(owner - 1)) return all.length - 1;
      const number = of(owner, place);
      return number < 0 ? all.length - 2 : number;
    },
  };
}
