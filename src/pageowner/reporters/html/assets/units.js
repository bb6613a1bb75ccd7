// SPDX-License-Identifier: LGPL-2.1-or-later
// Numbers for people, the same as in the terminal (reporters/sizes.py).

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
const PAGE_BYTES = 4096;

export function size(pages) {
  let value = pages * PAGE_BYTES, unit = 0;
  while (Math.abs(value) >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${rounded(value, unit && Math.abs(value) < 100 ? 1 : 0)} ${UNITS[unit]}`;
}

// Halves go to the even digit, as Python has it.
function rounded(value, digits) {
  const times = value * 10 ** digits;
  const whole = Math.abs(times % 1) === 0.5 ? 2 * Math.round(times / 2) : Math.round(times);
  return (whole / 10 ** digits).toFixed(digits);
}

export function signed(pages) {
  return `${pages > 0 ? '+' : pages < 0 ? '−' : '±'}${size(Math.abs(pages))}`;
}

export function grouped(n) {
  return String(n).replace(/\B(?=(\d{3})+$)/g, ',');
}

export function percent(part, whole) {
  const value = whole ? (100 * part) / whole : 0;
  if (value > 0 && value < 0.01) return '<0.01 %';
  return `${value.toFixed(value >= 99.95 || value === 0 ? 0 : value < 0.1 ? 2 : 1)} %`;
}

// A kind without the ending that they all have.
export function shortWord(word) {
  return word.replace(/_PAGE$/, '');
}

export function hex(pfn) {
  return `0x${pfn.toString(16)}`;
}

export function seconds(s) {
  for (const [unit, length] of [['d', 86400], ['h', 3600], ['min', 60]]) {
    if (s >= length) return `${s / length} ${unit}`;
  }
  return `${s} s`;
}
