/** Reads an answer to screen readers while it is written: by sentences, since single tokens would be a stutter. */

import { byId, make } from './dom';

/** The end of a sentence or line with what follows it. */
const END = /(?<!\d)[.!?:]\s|[。！？\n]/g;

/** Marks that a voice would spell. */
const MARKS = /[*`#]+/g;

export class Announcer {
  readonly #region = byId('announcer', HTMLElement);
  #said = 0;

  start(): void {
    this.#said = 0;
    this.#region.replaceChildren();
  }

  /** Says the sentences that are complete and were not said. */
  follow(answer: string): void {
    const rest = answer.slice(this.#said);
    const last = [...rest.matchAll(END)].at(-1);
    if (last) this.#say(rest.slice(0, last.index + 1));
  }

  finish(answer: string): void {
    this.#say(answer.slice(this.#said));
  }

  #say(text: string): void {
    this.#said += text.length;
    const words = text.replace(MARKS, '').trim();
    if (words) this.#region.append(make('p', {}, words));
  }
}
