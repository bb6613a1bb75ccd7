// SPDX-License-Identifier: LGPL-2.1-or-later
// Elements. Text goes in as text nodes and nothing else: names come from users.

export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'data') Object.assign(element.dataset, value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null).map((child) => (
    typeof child === 'object' ? child : document.createTextNode(String(child)))));
  return element;
}

export function swatch(color) {
  const mark = el('i', { class: 'swatch' });
  mark.style.background = color;
  return mark;
}

export function option(value, text) {
  return el('option', { value }, text ?? value);
}

export function choice(label, values, onchange) {
  const select = el('select', { onchange: () => onchange(select.value) }, ...values.map(([value, text]) => option(value, text)));
  return { label: el('label', {}, label, select), select };
}

export function checkbox(text, checked, onchange) {
  const input = el('input', { type: 'checkbox', onchange: () => onchange(input.checked) });
  input.checked = checked;
  return { label: el('label', {}, input, text), input };
}

export function section(id, title, ...tools) {
  const body = el('section', { id }, el('div', { class: 'head' }, el('h2', {}, title), ...tools));
  document.getElementById('main').append(body);
  return body;
}

export function legend(entries) {
  return entries.map(([name, color]) => el('span', {}, swatch(color), name));
}

// A canvas of so many CSS pixels, sharp on every screen.
export function fit(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const wide = Math.round(width * ratio), high = Math.round(height * ratio);
  if (canvas.width !== wide) canvas.width = wide;
  if (canvas.height !== high) canvas.height = high;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext('2d');
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

export function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

const MONO = 'ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace';

export function font(pixels, weight = 400) {
  return `${weight} ${pixels}px ${MONO}`;
}

// As much of `text` as fits, of a font whose characters are all alike wide.
export function clipped(context, text, width) {
  const each = context.measureText('0').width, room = Math.floor(width / each);
  if (text.length <= room) return text;
  return room < 3 ? '' : `${text.slice(0, room - 1)}…`;
}

const tip = document.getElementById('tip');

export function showTip(event, lines) {
  tip.replaceChildren(...lines.filter(Boolean).map((line) => el('div', {}, line)));
  tip.hidden = false;
  const { innerWidth, innerHeight } = window, box = tip.getBoundingClientRect();
  const x = event.clientX + 14, y = event.clientY + 16;
  tip.style.left = `${Math.max(4, Math.min(x, innerWidth - box.width - 8))}px`;
  tip.style.top = `${y + box.height > innerHeight - 4 ? Math.max(4, event.clientY - box.height - 10) : y}px`;
}

export function hideTip() {
  tip.hidden = true;
}
