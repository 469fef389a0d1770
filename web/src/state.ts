/** What is kept across reloads: settings, conversation, chosen model. */

import type { GenerationOptions } from 'woolly-llm';
import { isRecord, recall, save } from './storage';

/** The settings that are numbers, by their names in the package; the page's ids have `-` for `_`. */
export const NUMBERS = [
  'temperature',
  'top_p',
  'top_k',
  'min_p',
  'repeat_penalty',
  'seed',
  'max_tokens',
  'n_ctx',
] as const;

export type NumberName = (typeof NUMBERS)[number];

/** Settings; null is what suits the model. */
export interface Settings extends Record<NumberName, number | null> {
  system: string;
}

export interface ChatMessage {
  role: 'user' | 'assistant';
  content: string;
  /** What the page says below it. */
  note?: string;
}

/** The model that was chosen last. Of a file only the name can be kept. */
export interface Remembered {
  kind: 'listed' | 'url' | 'file';
  value: string;
}

/** llama.cpp's defaults, for the settings that a model gives no advice on. */
export const DEFAULTS: GenerationOptions = { temperature: 0.8, top_p: 0.95, top_k: 40, min_p: 0.05, repeat_penalty: 1 };

/** The context where the visitor sets none; less if the model was trained for less. */
export const USUAL_CONTEXT = 2048;

export const noSettings = (): Settings => ({
  system: '',
  temperature: null,
  top_p: null,
  top_k: null,
  min_p: null,
  repeat_penalty: null,
  seed: null,
  max_tokens: null,
  n_ctx: null,
});

export function recallSettings(): Settings {
  const settings = noSettings();
  const saved = recall('settings', isRecord) ?? {};
  for (const name of NUMBERS) {
    const value = saved[name];
    if (typeof value === 'number') settings[name] = value;
  }
  if (typeof saved.system === 'string') settings.system = saved.system;
  return settings;
}

export const saveSettings = (settings: Settings): void => save('settings', settings);

export const recallChat = (): ChatMessage[] => recall('chat', isChat) ?? [];
export const saveChat = (messages: readonly ChatMessage[]): void => save('chat', messages);

export const recallChoice = (): Remembered | null => recall('model', isRemembered);
export const saveChoice = (choice: Remembered): void => save('model', choice);

function isChat(value: unknown): value is ChatMessage[] {
  return Array.isArray(value) && value.every(isMessage);
}

function isMessage(value: unknown): value is ChatMessage {
  return isRecord(value) && (value.role === 'user' || value.role === 'assistant') && typeof value.content === 'string';
}

function isRemembered(value: unknown): value is Remembered {
  return (
    isRecord(value) && ['listed', 'url', 'file'].includes(value.kind as string) && typeof value.value === 'string'
  );
}
