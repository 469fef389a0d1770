/** The conversation: sends, streams, stops, tries again. */

import type { ChatCompletionChunk, Engine, Message } from 'woolly-llm';
import { Announcer } from './announcer';
import type { Advice } from './catalogue';
import { byId, setText, spread } from './dom';
import { isAborted } from './errors';
import { count, rate } from './format';
import { MessageView, parts } from './message';
import { requestOptions } from './settings';
import { recallChat, saveChat, type ChatMessage, type Settings } from './state';

export interface ChatHost {
  engine(): Engine | null;
  settings(): Settings;
  advice(): Advice | undefined;
  /** Something that the page's buttons depend on is another. */
  changed(): void;
  failed(error: unknown): void;
}

export class Chat {
  /** Whether an answer is awaited: being written, or to be written once the model is there. */
  waiting = false;
  readonly #host: ChatHost;
  readonly #list = byId('messages', HTMLElement);
  readonly #scroller = byId('main', HTMLElement);
  readonly #rate = byId('tokens-per-second', HTMLElement);
  readonly #announcer = new Announcer();
  readonly #messages: ChatMessage[] = recallChat();
  #controller: AbortController | null = null;
  /** Whether the end is in view, and so to be kept there. A visitor who scrolled up reads. */
  #following = true;
  /** Whether the last message is an answer that an error ended. */
  #cutOff = false;

  constructor(host: ChatHost) {
    this.#host = host;
    addEventListener('pagehide', () => saveChat(this.#messages));
    this.#scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    void spread(this.#messages, (message) => this.#list.append(new MessageView(message).node));
  }

  get isEmpty(): boolean {
    return this.#messages.length === 0;
  }

  /** Whether there is a question to answer, or to answer again. */
  get canRetry(): boolean {
    return !this.waiting && !this.isEmpty;
  }

  send(text: string): void {
    this.#add({ role: 'user', content: text });
    this.#toEnd();
    this.#ask();
  }

  /** Forgets the last answer and asks for another. */
  retry(): void {
    if (this.#messages.at(-1)?.role === 'assistant') this.#drop();
    if (this.canRetry) this.#ask();
  }

  /** Ends the answer, or the wait for a model that could give it. */
  stop(): void {
    if (this.#controller) this.#controller.abort();
    else this.#end();
  }

  /** Ends the answer that is being written; one that waits for a model goes on waiting. */
  interrupt(): void {
    this.#controller?.abort();
  }

  clear(): void {
    this.stop();
    this.#messages.length = 0;
    this.#cutOff = false;
    this.#list.replaceChildren();
    setText(this.#rate, '');
    saveChat(this.#messages);
    this.#host.changed();
  }

  /** Has the last question, if it lacks a whole answer, answered by the engine that comes next. */
  awaitEngine(): void {
    if (this.#cutOff) this.#drop();
    this.#cutOff = false;
    if (this.#messages.at(-1)?.role === 'user') this.waiting = true;
  }

  /** Writes the answer that is awaited, now that there is an engine. */
  engineCame(): void {
    this.#toEnd();
    if (this.waiting && !this.#controller) this.#ask();
  }

  #ask(): void {
    this.waiting = true;
    this.#cutOff = false;
    const engine = this.#host.engine();
    if (!engine) setText(this.#rate, 'Waiting for the model…');
    else void this.#answer(engine);
    this.#host.changed();
  }

  async #answer(engine: Engine): Promise<void> {
    const controller = (this.#controller = new AbortController());
    const turn = new Turn(this.#rate);
    const request = { ...this.#request(), stream: true } as const;
    const { message, view } = this.#begin();
    try {
      const chunks = await engine.chat.completions.create(request, { signal: controller.signal });
      for await (const chunk of chunks) {
        turn.take(chunk);
        message.content = turn.content;
        view.update(message);
      }
    } catch (error) {
      if (!controller.signal.aborted && !isAborted(error)) this.#host.failed(error);
    }
    if (this.#messages.includes(message)) this.#finish(message, view, turn, controller.signal.aborted);
    this.#end();
  }

  #begin(): { message: ChatMessage; view: MessageView } {
    const message: ChatMessage = { role: 'assistant', content: '' };
    const view = this.#add(message, () => {
      if (this.#following) this.#toEnd();
      if (this.#controller) this.#announcer.follow(parts(message.content).answer);
    });
    view.busy = true;
    this.#announcer.start();
    return { message, view };
  }

  #finish(message: ChatMessage, view: MessageView, turn: Turn, stopped: boolean): void {
    view.busy = false;
    message.note = turn.note(stopped);
    this.#cutOff = message.content !== '' && !stopped && !turn.complete;
    view.update(message);
    turn.showRate();
    this.#announcer.finish(parts(message.content).answer);
    if (message.content === '') this.#drop();
    saveChat(this.#messages);
  }

  #end(): void {
    if (!this.#controller) setText(this.#rate, '');
    this.#controller = null;
    this.waiting = false;
    this.#host.changed();
  }

  #request() {
    const advice = this.#host.advice();
    const settings = this.#host.settings();
    const system = settings.system || advice?.system;
    const messages: Message[] = this.#messages.map(({ role, content }) => ({ role, content }));
    if (system !== undefined) messages.unshift({ role: 'system', content: system });
    return { messages, ...requestOptions(settings, advice), chat_template_kwargs: advice?.variables };
  }

  #add(message: ChatMessage, painted?: () => void): MessageView {
    const view = new MessageView(message, painted);
    this.#messages.push(message);
    this.#list.append(view.node);
    saveChat(this.#messages);
    return view;
  }

  #drop(): void {
    this.#messages.pop();
    this.#list.lastElementChild?.remove();
  }

  #scrolled(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#following = scrollHeight - scrollTop - clientHeight < 80;
  }

  #toEnd(): void {
    this.#following = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }
}

/** One answer as it comes in, and how fast. */
class Turn {
  content = '';
  readonly #rate: HTMLElement;
  #tokens = 0;
  #first = 0;
  #shown = 0;
  #last: ChatCompletionChunk | null = null;

  constructor(rate: HTMLElement) {
    this.#rate = rate;
    setText(rate, 'Reading the prompt…');
  }

  /** Whether the model ended it. */
  get complete(): boolean {
    return this.#last?.timings !== undefined;
  }

  take(chunk: ChatCompletionChunk): void {
    const text = chunk.choices[0]?.delta.content ?? '';
    this.#last = chunk;
    if (text === '') return;
    this.content += text;
    this.#tokens += 1;
    const now = performance.now();
    this.#first ||= now;
    // Five times a second: faster, nobody could read it.
    if (now - this.#shown < 200 || this.#tokens < 3) return;
    this.#shown = now;
    setText(this.#rate, rate(((this.#tokens - 1) / (now - this.#first)) * 1000));
  }

  /** The rate as the engine measured it, in the end. */
  showRate(): void {
    const timings = this.#last?.timings;
    if (timings) setText(this.#rate, rate(timings.predicted_per_second));
    else if (this.#tokens < 3) setText(this.#rate, '');
  }

  note(stopped: boolean): string {
    const timings = this.#last?.timings;
    const parts = timings
      ? [`${count(timings.predicted_n)} tokens, ${rate(timings.predicted_per_second)}`, prompt(timings)]
      : [];
    if (stopped) parts.push('stopped');
    else if (!timings) parts.push('cut off');
    else if (this.#last?.choices[0]?.finish_reason === 'length') parts.push('ended at the limit of tokens');
    return parts.join(' · ');
  }
}

function prompt({ prompt_n, prompt_per_second, cache_n }: NonNullable<ChatCompletionChunk['timings']>): string {
  const kept = cache_n > 0 ? `, ${count(cache_n)} kept` : '';
  return `prompt ${count(prompt_n)} tokens${kept}, ${rate(prompt_per_second)}`;
}
