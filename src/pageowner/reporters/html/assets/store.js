// SPDX-License-Identifier: LGPL-2.1-or-later
// What all views share: the tables, the theme, and the selection. A selection is a mask over the rows of usage
// (pages by owner, stack and zone): every view shows how much of each of its things is selected.

import { commandLine, flagOf, quoted, sqlText } from './shell.js';

export class Store {
  constructor(doc) {
    this.doc = doc;
    Object.assign(this, doc.columns);
    this.views = [];
    this.selection = null;
    this.dark = false;
    this.total = this.usage_pages.reduce((sum, n) => sum + n, 0);
    this.stack_start = new Float64Array(this.stack_depth.length + 1);
    this.stack_depth.forEach((depth, i) => { this.stack_start[i + 1] = this.stack_start[i] + depth; });
    this.owner_pages = new Float64Array(doc.owners.length);
    this.usage_owner.forEach((owner, row) => { this.owner_pages[owner] += this.usage_pages[row]; });
    // Rows are sorted by owner.
    this.owner_row = new Float64Array(doc.owners.length + 1).fill(this.usage_owner.length);
    for (let row = this.usage_owner.length - 1; row >= 0; row--) this.owner_row[this.usage_owner[row]] = row;
    for (let i = doc.owners.length - 1; i >= 0; i--) {
      if (this.owner_row[i] > this.owner_row[i + 1]) this.owner_row[i] = this.owner_row[i + 1];
    }
  }

  // Numbers of the functions of stack `number` (row + 1), innermost first.
  frames(number) {
    return this.stack_frames.subarray(this.stack_start[number - 1], this.stack_start[number]);
  }

  word(number) {
    return this.doc.words[number].word;
  }

  ownerName(owner) {
    const word = this.doc.words[this.owner_word[owner]].word, name = this.doc.owners[owner];
    return name && name !== word ? `${word} ${name}` : word;
  }

  color(number) {
    return this.doc.words[number][this.dark ? 'dark' : 'light'];
  }

  isFree(owner) {
    return this.doc.words[this.owner_word[owner]].free;
  }

  // Call sites of a stack without the allocator, "a < b < c".
  shortStack(number, most = 4) {
    if (!number) return '(not recorded)';
    const frames = this.frames(number), tip = this.stack_tip[number - 1];
    const from = tip < frames.length ? tip : 0;
    const names = Array.from(frames.subarray(from, from + most), (f) => this.doc.functions[f]);
    return names.join(' < ');
  }

  // With the filters that the page was made with, but for those that this selection narrows down.
  command(...parts) {
    const given = parts.filter(Boolean).map((part) => part.split(/[ =]/, 1)[0].replace(/^'/, ''));
    const only = this.doc.only.filter((option) => !given.includes(option.split('=', 1)[0])).map(quoted);
    return commandLine(...parts, ...only, this.doc.source);
  }

  select(selection) {
    const same = selection && this.selection && selection.id === this.selection.id && !selection.pfn;
    this.selection = same ? null : selection;
    if (this.selection) this.measure(this.selection);
    for (const view of this.views) view.selected();
  }

  measure(selection) {
    selection.pages = 0;
    selection.owners = new Float64Array(this.owner_pages.length);
    selection.words = new Float64Array(this.doc.words.length);
    selection.mask.forEach((hit, row) => {
      if (!hit) return;
      const pages = this.usage_pages[row], owner = this.usage_owner[row];
      selection.pages += pages;
      selection.owners[owner] += pages;
      selection.words[this.owner_word[owner]] += pages;
    });
  }

  mask(test) {
    const mask = new Uint8Array(this.usage_owner.length);
    for (let row = 0; row < mask.length; row++) mask[row] = test(row) ? 1 : 0;
    return mask;
  }

  byWord(number) {
    const word = this.word(number);
    return {
      id: `kind ${word}`,
      label: word,
      mask: this.mask((row) => this.owner_word[this.usage_owner[row]] === number),
      commands: [this.command('summary', flagOf('--kind', word))],
    };
  }

  byOwner(owner, pfn) {
    const word = this.word(this.owner_word[owner]), name = this.doc.owners[owner];
    const only = this.owner_folded[owner] ? '' : flagOf('--owner', name);
    const commands = [this.command('summary', flagOf('--kind', word), only)];
    if (pfn !== undefined) commands.unshift(commandLine('explain', `0x${pfn.toString(16)}`, this.doc.source));
    return { id: `owner ${owner}`, label: this.ownerName(owner), pfn, mask: this.mask((row) => this.usage_owner[row] === owner), commands };
  }

  // All stacks with the function, as --function matches: with or without a module behind its name.
  byFunction(number) {
    const name = this.doc.functions[number].split(' [')[0];
    const wanted = new Set();
    this.doc.functions.forEach((text, i) => { if (text.split(' [')[0] === name) wanted.add(i); });
    const hit = new Uint8Array(this.stack_depth.length + 1);
    for (let s = 1; s < hit.length; s++) hit[s] = this.frames(s).some((f) => wanted.has(f)) ? 1 : 0;
    return {
      id: `function ${name}`,
      label: `stacks with ${name}`,
      mask: this.mask((row) => hit[this.usage_stack[row]] && !this.isFree(this.usage_owner[row])),
      commands: [this.command('summary', flagOf('--function', name))],
    };
  }

  byStack(owner, number) {
    const word = this.word(this.owner_word[owner]), name = this.doc.owners[owner];
    const key = number ? BigInt.asIntN(64, (BigInt(this.stack_high[number - 1]) << 32n) | BigInt(this.stack_low[number - 1])) : 0n;
    const query = 'select u.*, o.word, o.owner from usage u join owners o on u.id = o.id '
      + `where u.stack = ${key} and o.word = ${sqlText(word)}`
      + (this.owner_folded[owner] ? '' : ` and o.owner = ${sqlText(name)}`);
    return {
      id: `stack ${owner} ${number}`,
      label: `${this.ownerName(owner)} · ${this.shortStack(number)}`,
      mask: this.mask((row) => this.usage_owner[row] === owner && this.usage_stack[row] === number),
      commands: [commandLine('sql', `'${query.replace(/'/g, "'\\''")}'`, this.doc.source)],
    };
  }
}
