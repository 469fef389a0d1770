/** The dialog with the system prompt, the sampling settings and the size of the context. */

import type { GenerationOptions } from 'woolly-llm';
import type { Advice } from './catalogue';
import { button, byId, input } from './dom';
import { DEFAULTS, NUMBERS, noSettings, recallSettings, saveSettings } from './state';
import type { NumberName, Settings } from './state';

export class SettingsDialog {
  settings: Settings = recallSettings();
  readonly #dialog = byId('settings', HTMLDialogElement);
  readonly #system = byId('system-prompt', HTMLTextAreaElement);

  /** `closed` is called with the settings as they are then. */
  constructor(closed: () => void) {
    for (const name of NUMBERS) field(name).addEventListener('input', () => this.#read());
    this.#system.addEventListener('input', () => this.#read());
    button('reset-settings').addEventListener('click', () => this.#reset());
    button('close-settings').addEventListener('click', () => this.#close());
    this.#dialog.addEventListener('close', closed);
    this.#write();
  }

  /** Opens the dialog; empty fields say what suits the model. */
  open(advice: Advice | undefined): void {
    const suitable: GenerationOptions = { ...DEFAULTS, ...advice?.sampling };
    for (const name of SAMPLING) {
      if (name in suitable) field(name).placeholder = String(suitable[name]);
    }
    this.#dialog.showModal();
  }

  /** The size of the context; undefined for what is usual with the model. */
  get context(): number | undefined {
    return this.settings.n_ctx ?? undefined;
  }

  set context(n_ctx: number) {
    this.settings.n_ctx = n_ctx;
    saveSettings(this.settings);
    this.#write();
  }

  /** Fields with values that cannot be keep the setting as it was. */
  #read(): void {
    for (const name of NUMBERS) {
      const { value, validity } = field(name);
      if (validity.valid) this.settings[name] = value === '' ? null : Number(value);
    }
    this.settings.system = this.#system.value;
    saveSettings(this.settings);
  }

  #write(): void {
    for (const name of NUMBERS) field(name).value = this.settings[name]?.toString() ?? '';
    this.#system.value = this.settings.system;
  }

  #reset(): void {
    this.settings = noSettings();
    saveSettings(this.settings);
    this.#write();
  }

  #close(): void {
    const wrong = NUMBERS.map(field).find((element) => !element.reportValidity());
    if (!wrong) this.#dialog.close();
  }
}

/** Settings of requests; the context belongs to the engine. */
const SAMPLING = NUMBERS.filter((name) => name !== 'n_ctx');

/** What a request says, by the settings and, where they are silent, the model's advice. */
export function requestOptions(settings: Settings, advice: Advice | undefined): GenerationOptions {
  const options: GenerationOptions = { ...DEFAULTS, ...advice?.sampling };
  for (const name of SAMPLING) {
    const value = settings[name];
    if (value !== null) options[name] = value;
  }
  return options;
}

const field = (name: NumberName): HTMLInputElement => input(name.replaceAll('_', '-'));
