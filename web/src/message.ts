/** One message on the page. */

import { make, onFrame, setText } from './dom';
import { MarkdownView } from './markdown';
import type { ChatMessage } from './state';

export class MessageView {
  readonly node: HTMLElement;
  readonly #body = make('div', { class: 'body' });
  readonly #note = make('p', { class: 'note quiet numbers' });
  readonly #markdown = new MarkdownView(this.#body);
  readonly #paint: () => void;
  #thinking: HTMLElement | null = null;
  #message: ChatMessage;

  /** `painted` is called when the page shows what `update` asked for. */
  constructor(message: ChatMessage, painted: () => void = () => undefined) {
    this.#message = message;
    const name = make('h2', { class: 'unseen' }, message.role === 'user' ? 'You' : 'Model');
    const attributes = { 'data-role': message.role, class: `message ${message.role}` };
    this.node = make('article', attributes, name, this.#body, this.#note);
    this.#paint = onFrame(() => {
      this.#show();
      painted();
    });
    this.#show();
  }

  /** Shows the message as it is at the next frame. */
  update(message: ChatMessage): void {
    this.#message = message;
    this.#paint();
  }

  /** Whether the answer is still being written. */
  set busy(busy: boolean) {
    this.node.setAttribute('aria-busy', String(busy));
  }

  #show(): void {
    const { role, content, note } = this.#message;
    setText(this.#note, note ?? '');
    if (role === 'user') {
      setText(this.#body, content);
      return;
    }
    const { thinking, answer } = parts(content);
    if (thinking) this.#showThinking(thinking);
    this.#markdown.show(answer);
  }

  #showThinking(text: string): void {
    if (!this.#thinking) {
      this.#thinking = make('p');
      this.#body.before(make('details', { class: 'thinking' }, make('summary', {}, 'Thinking'), this.#thinking));
    }
    setText(this.#thinking, text);
  }
}

const OPEN = '<think>';
const CLOSE = '</think>';

/** Parts what a reasoning model thinks from what it says. */
export function parts(content: string): { thinking: string; answer: string } {
  const start = content.trimStart();
  if (!start.startsWith(OPEN)) return { thinking: '', answer: content };
  const end = start.indexOf(CLOSE);
  if (end < 0) return { thinking: start.slice(OPEN.length).trim(), answer: '' };
  return { thinking: start.slice(OPEN.length, end).trim(), answer: start.slice(end + CLOSE.length).trimStart() };
}
