// SPDX-License-Identifier: LGPL-2.1-or-later
// The command that gives the rows of a selection, ready to be pasted into a shell.

const LONGEST = 500; // of a filter's value (commands/filters.py)

export function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replace(/'/g, "'\\''")}'`;
}

// A filter's value that matches `name`: characters that do no good in a shell or terminal match as any.
export function globOf(name) {
  const value = name.replace(/[^\x20-\x7e\u00a1-\u1fff\u3000-\ud7ff\uf900-\ufdff]/gu, '?');
  return value.length > LONGEST ? `${value.slice(0, LONGEST - 1)}*` : value;
}

export function flagOf(flag, name) {
  const value = globOf(name);
  return value.startsWith('-') ? quoted(`${flag}=${value}`) : `${flag} ${quoted(value)}`;
}

export function sqlText(text) {
  return `'${text.replace(/'/g, "''")}'`;
}

export function commandLine(...parts) {
  return ['pageowner', ...parts.filter(Boolean)].join(' ');
}
