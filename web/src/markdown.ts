/**
 * A little Markdown, as models write it: headings, lists, code, bold and italic.
 *
 * The text comes from a model and may hold anything, so it only ever becomes text nodes in elements named here. While
 * an answer grows, only its last blocks change: a MarkdownView keeps the elements of those that did not.
 */

import { make } from './dom';

type Block =
  | { kind: 'paragraph'; text: string }
  | { kind: 'heading'; level: number; text: string }
  | { kind: 'code'; language: string; text: string }
  | { kind: 'list'; items: Item[] }
  | { kind: 'rule' };

interface Item {
  indent: number;
  /** The number of an ordered list's item. */
  number: number | null;
  text: string;
}

export class MarkdownView {
  readonly #root: HTMLElement;
  #keys: string[] = [];

  constructor(root: HTMLElement) {
    this.#root = root;
  }

  /** Shows the text; what it has in common with the last one stays as it is. */
  show(text: string): void {
    const blocks = parse(text);
    const keys = blocks.map((block) => JSON.stringify(block));
    blocks.forEach((block, at) => {
      if (keys[at] === this.#keys[at]) return;
      const node = render(block);
      const old = this.#root.children[at];
      if (old) old.replaceWith(node);
      else this.#root.append(node);
    });
    while (this.#root.children.length > blocks.length) this.#root.lastChild?.remove();
    this.#keys = keys;
  }
}

const FENCE = /^ {0,3}(```+|~~~+)\s*([\w+#.-]*)/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const ITEM = /^(\s*)(?:[-*+]|(\d{1,9})[.)])\s+(.*)$/;

function parse(text: string): Block[] {
  const lines = text.split('\n');
  const blocks: Block[] = [];
  for (let at = 0; at < lines.length; ) {
    const line = lines[at]!;
    const fence = FENCE.exec(line);
    if (fence) {
      const end = fenceEnd(lines, at + 1, fence[1]!);
      blocks.push({ kind: 'code', language: fence[2]!, text: lines.slice(at + 1, end).join('\n') });
      at = end + 1;
      continue;
    }
    addLine(blocks, line, at > 0 && lines[at - 1]!.trim() === '');
    at += 1;
  }
  return blocks;
}

/** The line that closes the fence, or the end while there is none. */
function fenceEnd(lines: string[], from: number, fence: string): number {
  const end = lines.findIndex((line, at) => at >= from && line.trim().startsWith(fence));
  return end < 0 ? lines.length : end;
}

/** Adds a line outside of code; `apart` is whether an empty one stands before it. */
function addLine(blocks: Block[], line: string, apart: boolean): void {
  const last = blocks.at(-1);
  const heading = HEADING.exec(line);
  const item = ITEM.exec(line);
  if (line.trim() === '') return;
  if (RULE.test(line)) {
    blocks.push({ kind: 'rule' });
  } else if (heading) {
    blocks.push({ kind: 'heading', level: heading[1]!.length, text: heading[2]! });
  } else if (item) {
    addItem(blocks, { indent: item[1]!.length, number: item[2] ? Number(item[2]) : null, text: item[3]! });
  } else if (last?.kind === 'list' && (!apart || line.startsWith('  '))) {
    last.items.at(-1)!.text += `\n${line.trim()}`;
  } else if (last?.kind === 'paragraph' && !apart) {
    last.text += `\n${line.trim()}`;
  } else {
    blocks.push({ kind: 'paragraph', text: line.trim() });
  }
}

function addItem(blocks: Block[], item: Item): void {
  const last = blocks.at(-1);
  if (last?.kind === 'list' && belongs(item, last.items[0]!)) last.items.push(item);
  else blocks.push({ kind: 'list', items: [item] });
}

/** Whether an item goes on with the list that begins with `first`: further in, or of the same kind. */
function belongs(item: Item, first: Item): boolean {
  return item.indent > first.indent || (item.number === null) === (first.number === null);
}

function render(block: Block): HTMLElement {
  switch (block.kind) {
    case 'paragraph':
      return make('p', {}, ...inline(block.text));
    case 'heading':
      // A message's own heading is of level 2.
      return make(block.level < 3 ? 'h3' : 'h4', {}, ...inline(block.text));
    case 'code':
      return code(block.language, block.text);
    case 'list':
      return list(block.items);
    case 'rule':
      return make('hr');
  }
}

function code(language: string, text: string): HTMLElement {
  // Focusable, so that the keyboard can scroll it sideways.
  const label = language ? `Code, ${language}` : 'Code';
  return make('pre', { tabindex: '0', role: 'region', 'aria-label': label }, make('code', {}, text));
}

/** A list; items further in than the first make lists inside the item before them. */
function list(items: Item[]): HTMLElement {
  const first = items[0]!;
  const root = first.number === null ? make('ul') : make('ol', { start: String(first.number) });
  for (let at = 0; at < items.length; ) {
    const item = items[at]!;
    let end = at + 1;
    while (end < items.length && items[end]!.indent > first.indent) end += 1;
    const node = make('li', {}, ...inline(item.text));
    if (end > at + 1) node.append(list(items.slice(at + 1, end)));
    root.append(node);
    at = end;
  }
  return root;
}

const SPAN = /`([^`\n]+)`|\*\*([^\s*](?:[^*]*[^\s*])?)\*\*|\*([^\s*](?:[^*]*[^\s*])?)\*/g;

function inline(text: string): (Node | string)[] {
  const nodes: (Node | string)[] = [];
  let end = 0;
  for (const span of text.matchAll(SPAN)) {
    nodes.push(text.slice(end, span.index), emphasis(span));
    end = span.index + span[0].length;
  }
  nodes.push(text.slice(end));
  return nodes;
}

function emphasis([, code, bold, italic]: RegExpMatchArray): HTMLElement {
  if (code !== undefined) return make('code', {}, code);
  if (bold !== undefined) return make('strong', {}, ...inline(bold));
  return make('em', {}, ...inline(italic ?? ''));
}
