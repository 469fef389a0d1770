/** What went wrong, in the visitor's words, and a way on. */

import { WoollyError, type ErrorCode } from 'woolly-llm';
import { button, byId, setText } from './dom';

/** What the page can do about an error. */
export interface WaysOn {
  /** Loads the model again (a download goes on where it stopped), then answers what is unanswered. */
  reload(): void;
  /** The same without keeping the file. */
  reloadWithoutStoring(): void;
  /** The same with half the context. */
  reloadSmaller(): void;
  /** The context that would be, or null if it is small already. */
  smallerContext(): number | null;
  chooseModel(): void;
  newChat(): void;
  openSettings(): void;
}

interface Way {
  label: string;
  go(): void;
}

interface Explanation {
  text: string;
  way: Way;
}

export class ErrorBanner {
  readonly #area = byId('error', HTMLElement);
  readonly #text = byId('error-text', HTMLElement);
  readonly #action = button('error-action');
  readonly #ways: WaysOn;
  #way: Way | null = null;

  constructor(ways: WaysOn) {
    this.#ways = ways;
    this.#action.addEventListener('click', () => this.#go());
    button('error-close').addEventListener('click', () => {
      this.clear();
      byId('prompt', HTMLTextAreaElement).focus();
    });
  }

  show(error: unknown): void {
    const { text, way } = explain(error, this.#ways);
    this.#way = way;
    setText(this.#text, text);
    setText(this.#action, way.label);
    this.#area.hidden = false;
  }

  clear(): void {
    this.#area.hidden = true;
    this.#way = null;
  }

  #go(): void {
    const way = this.#way;
    this.clear();
    way?.go();
  }
}

const code = (error: unknown): ErrorCode | null => (error instanceof WoollyError ? error.code : null);

export const isAborted = (error: unknown): boolean =>
  code(error) === 'aborted' || (error instanceof DOMException && error.name === 'AbortError');

function explain(error: unknown, ways: WaysOn): Explanation {
  const detail = error instanceof Error ? error.message : String(error);
  const again = (label: string): Way => ({ label, go: () => ways.reload() });
  const another: Way = { label: 'Choose another model', go: () => ways.chooseModel() };
  switch (code(error)) {
    case 'network':
      return { text: `The connection failed. What has arrived is kept. (${detail})`, way: again('Go on') };
    case 'bad_hash':
      return { text: `The file arrived damaged. (${detail})`, way: again('Fetch it again') };
    case 'quota':
      return {
        text: `There is no room to store the model on this device. (${detail})`,
        way: { label: 'Load without storing', go: () => ways.reloadWithoutStoring() },
      };
    case 'out_of_memory':
      return { text: `There is not enough memory. (${detail})`, way: smaller(ways) ?? another };
    case 'worker':
    case 'unloaded':
      return { text: `The engine stopped. (${detail})`, way: again('Start it again') };
    case 'context_full':
      return {
        text: `The conversation no longer fits into the model’s context. (${detail})`,
        way: { label: 'New chat', go: () => ways.newChat() },
      };
    case 'bad_argument':
      return { text: `A setting does not work: ${detail}`, way: { label: 'Settings', go: () => ways.openSettings() } };
    case 'not_found':
      return { text: `There is no such model. (${detail})`, way: another };
    case 'not_gguf':
      return { text: `This is not a GGUF file. (${detail})`, way: another };
    case 'bad_model':
    case 'unsupported':
    case 'unsupported_architecture':
      return { text: `This model does not run here. (${detail})`, way: another };
    default:
      return { text: `Something went wrong: ${detail}`, way: again('Try again') };
  }
}

function smaller(ways: WaysOn): Way | null {
  const context = ways.smallerContext();
  return context === null ? null : { label: `Try a context of ${context} tokens`, go: () => ways.reloadSmaller() };
}
