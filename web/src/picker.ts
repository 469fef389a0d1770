/** Where the visitor says which model: from the list, by address, or as a file. The field touched last counts. */

import { CATALOGUE, source, type Listed } from './catalogue';
import { byId, input, make, setText } from './dom';
import { bytes } from './format';
import type { Choice } from './loader';
import { recallChoice, saveChoice, type Remembered } from './state';

export class Picker {
  readonly #select = byId('model-select', HTMLSelectElement);
  readonly #url = input('model-url');
  readonly #file = input('model-file');
  readonly #note = byId('model-note', HTMLElement);
  /** A dropped file: a file input cannot be given one. */
  #dropped: File | null = null;
  #listed: Listed[] = [...CATALOGUE];
  #touched = false;
  readonly #changed: () => void;

  constructor(changed: () => void) {
    this.#changed = changed;
    this.#select.append(make('option', { value: '' }, 'the address or file below'), group('Catalogue', CATALOGUE));
    this.#select.addEventListener('change', () => this.#took('listed', this.#select.value));
    this.#url.addEventListener('input', () => this.#took('url', this.#url.value.trim()));
    this.#file.addEventListener('change', () => this.#took('file', this.#file.files?.[0]?.name ?? ''));
    this.#restore(recallChoice());
  }

  /** Puts the models of the page's own server first; the first of them is what a new visitor gets. */
  addLocal(local: readonly Listed[]): void {
    if (local.length === 0) return;
    this.#listed = [...local, ...CATALOGUE];
    this.#select.querySelector('optgroup')!.before(group('On this server', local));
    if (!this.#touched) this.#restore(recallChoice() ?? { kind: 'listed', value: local[0]!.model });
  }

  choice(): Choice | null {
    const file = this.#dropped ?? this.#file.files?.[0];
    if (file) return { name: file.name, source: file };
    const url = this.#url.value.trim();
    if (url) return this.#byAddress(url);
    const listed = this.#listed.find((entry) => entry.model === this.#select.value);
    return listed ? { ...listed, source: source(listed.model) } : null;
  }

  /** Takes a file that was dropped on the page. */
  drop(file: File): void {
    this.#took('file', file.name);
    this.#dropped = file;
    setText(byId('model-file-hint', HTMLElement), `Dropped: ${file.name}`);
    this.#changed();
  }

  /** Takes a stored model, by what the engine calls it. */
  use(model: string): void {
    const listed = this.#find(model);
    if (listed) this.#select.value = listed.model;
    else this.#url.value = model;
    this.#took(listed ? 'listed' : 'url', listed?.model ?? model);
  }

  /** What a stored model is called here. */
  nameOf(model: string): string {
    return this.#find(model)?.name ?? decodeURIComponent(model.split('/').at(-1) ?? model);
  }

  focus(): void {
    this.#select.focus();
  }

  #byAddress(url: string): Choice {
    const listed = this.#find(url);
    if (listed) return { ...listed, source: url };
    return { name: this.nameOf(url), source: url.startsWith('hf:') ? url : absolute(url) };
  }

  #find(model: string): Listed | undefined {
    return this.#listed.find((entry) => entry.model === model || source(entry.model) === model);
  }

  /** Empties the other fields, so that it is plain which one counts. */
  #took(kind: Remembered['kind'], value: string): void {
    this.#touched = true;
    this.#dropped = null;
    if (kind !== 'listed') this.#select.value = '';
    if (kind !== 'url') this.#url.value = '';
    if (kind !== 'file') this.#file.value = '';
    saveChoice({ kind, value });
    this.#describe(null);
    if (value || kind !== 'file') this.#changed();
  }

  #restore(last: Remembered | null): void {
    const known = last?.kind === 'listed' && this.#listed.some((entry) => entry.model === last.value);
    this.#select.value = known ? last.value : this.#listed[0]!.model;
    if (last?.kind === 'url' && last.value) {
      this.#select.value = '';
      this.#url.value = last.value;
    }
    this.#describe(last?.kind === 'file' ? last.value : null);
  }

  #describe(lastFile: string | null): void {
    setText(this.#note, this.#listed.find((entry) => entry.model === this.#select.value)?.note ?? '');
    const hint = lastFile ? `Last time: ${lastFile}. Choose it again to go on.` : FILE_HINT;
    setText(byId('model-file-hint', HTMLElement), hint);
  }
}

const FILE_HINT = 'or drop it anywhere here';

function group(label: string, models: readonly Listed[]): HTMLOptGroupElement {
  const options = models.map((entry) => make('option', { value: entry.model }, `${entry.name} (${bytes(entry.size)})`));
  return make('optgroup', { label }, ...options);
}

/** What is no address at all is left for the engine to refuse. */
function absolute(url: string): string {
  return URL.canParse(url, document.baseURI) ? new URL(url, document.baseURI).href : url;
}
