/** Requests in OpenAI's and llama-server's words, turned into what the bindings take; and answers in OpenAI's shapes. */

import { badArgument, WoollyError } from './errors.js';
import type { Generated } from './host.js';
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionRequest,
  Completion,
  CompletionRequest,
  GenerationOptions,
  SamplerOptions,
  TemplateRequest,
} from './types.js';

/** What the bindings' `generate` takes: JSON, twice. */
export interface Sampling {
  params: string;
  until: string;
}

type Kind = 'number' | 'count' | 'last_n' | 'texts' | 'mirostat' | 'top_k';

/** Fields of the sampler: their names in the bindings, and what they hold. */
const SAMPLER: Record<Exclude<keyof SamplerOptions, 'seed' | 'logit_bias' | 'ignore_eos'>, [string, Kind]> = {
  temperature: ['temp', 'number'],
  dynatemp_range: ['dynatemp_range', 'number'],
  dynatemp_exponent: ['dynatemp_exponent', 'number'],
  top_k: ['top_k', 'top_k'],
  top_p: ['top_p', 'number'],
  min_p: ['min_p', 'number'],
  typical_p: ['typ_p', 'number'],
  top_n_sigma: ['top_n_sigma', 'number'],
  xtc_probability: ['xtc_probability', 'number'],
  xtc_threshold: ['xtc_threshold', 'number'],
  repeat_last_n: ['penalty_last_n', 'last_n'],
  repeat_penalty: ['penalty_repeat', 'number'],
  frequency_penalty: ['penalty_freq', 'number'],
  presence_penalty: ['penalty_present', 'number'],
  dry_multiplier: ['dry_multiplier', 'number'],
  dry_base: ['dry_base', 'number'],
  dry_allowed_length: ['dry_allowed_length', 'count'],
  dry_penalty_last_n: ['dry_penalty_last_n', 'last_n'],
  dry_sequence_breakers: ['dry_sequence_breakers', 'texts'],
  mirostat: ['mirostat', 'mirostat'],
  mirostat_tau: ['mirostat_tau', 'number'],
  mirostat_eta: ['mirostat_eta', 'number'],
  min_keep: ['min_keep', 'count'],
  samplers: ['samplers', 'texts'],
};

const GENERATION = ['seed', 'logit_bias', 'ignore_eos', 'max_tokens', 'max_completion_tokens', 'stop', 'cache_prompt'];
const REQUEST = [...Object.keys(SAMPLER), ...GENERATION, 'model', 'stream', 'stream_options'];
const CHAT = [...REQUEST, 'messages', 'tools', 'chat_template_kwargs', 'chat_template'];
const COMPLETION = [...REQUEST, 'prompt'];

/** Fields of OpenAI's that have no meaning here, and do no harm. */
const MEANINGLESS = new Set([
  'metadata',
  'parallel_tool_calls',
  'prompt_cache_key',
  'prompt_cache_retention',
  'safety_identifier',
  'service_tier',
  'store',
  'user',
]);

/** Fields of OpenAI's for what the engine cannot do, with the values that ask for nothing. */
const UNSUPPORTED: Record<string, (value: any) => boolean> = {
  audio: () => false,
  best_of: (value) => value === 1,
  echo: (value) => value === false,
  function_call: (value) => value === 'auto' || value === 'none',
  functions: (value) => Array.isArray(value) && value.length === 0,
  logprobs: (value) => value === false || value === 0,
  modalities: (value) => Array.isArray(value) && value.every((modality) => modality === 'text'),
  n: (value) => value === 1,
  prediction: () => false,
  reasoning_effort: () => false,
  response_format: (value) => value?.type === 'text',
  suffix: (value) => value === '',
  tool_choice: (value) => value === 'auto' || value === 'none',
  top_logprobs: (value) => value === 0,
  verbosity: (value) => value === 'medium',
  web_search_options: () => false,
};

/** Checks a chat request's fields and returns the prompt as JSON for the bindings. */
export function chatPrompt(request: ChatCompletionRequest): string {
  checkFields(request, CHAT);
  return templateRequest(request);
}

/** What the bindings' `apply_chat_template` takes. */
export function templateRequest(request: TemplateRequest): string {
  const { messages, tools, chat_template, chat_template_kwargs } = request;
  const add_generation_prompt = flag('add_generation_prompt', request.add_generation_prompt, true);
  if (!Array.isArray(messages) || messages.length === 0) {
    throw badArgument('messages', messages, 'a list of at least one message');
  }
  messages.forEach(checkMessage);
  const fields = { tools, chat_template, kwargs: chat_template_kwargs };
  const given = Object.entries(fields).filter(([, value]) => value !== undefined && value !== null);
  return JSON.stringify({ messages, add_generation_prompt, ...Object.fromEntries(given) });
}

/** Checks a completion request's fields and returns the prompt. */
export function completionPrompt(request: CompletionRequest, vocabulary: number): string | Uint32Array {
  checkFields(request, COMPLETION);
  const { prompt } = request;
  return typeof prompt === 'string' ? prompt : tokenIds('prompt', prompt, vocabulary);
}

/** Token ids, each one checked: the bindings would wrap a wrong number around. */
export function tokenIds(name: string, ids: ArrayLike<number>, vocabulary: number): Uint32Array {
  const isList = Array.isArray(ids) || ids instanceof Uint32Array || ids instanceof Int32Array;
  if (!isList) throw badArgument(name, ids, 'a list of token ids');
  for (let index = 0; index < ids.length; index += 1) {
    const id = ids[index];
    if (Number.isInteger(id) && (id as number) >= 0 && (id as number) < vocabulary) continue;
    throw badArgument(`${name}[${index}]`, id, `a token id from 0 to ${vocabulary - 1}`);
  }
  return Uint32Array.from(ids);
}

/** How to sample and when to end. */
export function sampling(request: GenerationOptions, n_ctx: number): Sampling {
  const params: Record<string, unknown> = { seed: seedOf(request.seed) };
  for (const [name, [theirs, kind]] of Object.entries(SAMPLER)) {
    const value = request[name as keyof typeof SAMPLER] as unknown;
    if (value !== undefined && value !== null) params[theirs] = checked(name, value, kind, n_ctx);
  }
  const ignore_eos = flag('ignore_eos', request.ignore_eos, false);
  const logit_bias = biases(request.logit_bias);
  const until = { max_tokens: maxTokens(request), stop: stops(request.stop), ignore_eos };
  return { params: JSON.stringify({ ...params, ignore_eos, logit_bias }), until: JSON.stringify(until) };
}

/** A field that is true or false. */
export function flag(name: string, value: unknown, usual: boolean): boolean {
  if (value === undefined || value === null) return usual;
  if (typeof value !== 'boolean') throw badArgument(name, value, 'true or false');
  return value;
}

/** The parts of an answer that all of a request's chunks share. */
export interface Frame {
  id: string;
  created: number;
  model: string;
}

export function frame(prefix: 'chatcmpl' | 'cmpl', model: string): Frame {
  return { id: `${prefix}-${randomName()}`, created: Math.floor(Date.now() / 1000), model };
}

/** How a kind of request is answered: in whole, or in chunks. */
export interface Shape<Whole, Chunk> {
  whole(frame: Frame, generated: Generated): Whole;
  /** The chunk before the first text, where there is one. */
  first(frame: Frame): Chunk[];
  text(frame: Frame, text: string): Chunk;
  /** With `apart`, usage comes in a chunk of its own that has no choices, as OpenAI's `include_usage` has it. */
  last(frame: Frame, generated: Generated, apart: boolean): Chunk[];
}

export const CHAT_SHAPE: Shape<ChatCompletion, ChatCompletionChunk> = {
  whole: (frame, { text, finish, usage, timings }) => {
    const message = { role: 'assistant' as const, content: text };
    const choices: ChatCompletion['choices'] = [{ index: 0, message, finish_reason: finish, logprobs: null }];
    return { ...frame, object: 'chat.completion', choices, usage, timings };
  },
  first: (frame) => [chatChunk(frame, { role: 'assistant', content: '' })],
  text: (frame, content) => chatChunk(frame, { content }),
  last: (frame, { finish, usage, timings }, apart) => {
    const end = chatChunk(frame, {}, finish);
    return apart ? [end, { ...end, choices: [], usage, timings }] : [{ ...end, usage, timings }];
  },
};

export const COMPLETION_SHAPE: Shape<Completion, Completion> = {
  whole: (frame, { text, finish, usage, timings }) => ({ ...textChunk(frame, text, finish), usage, timings }),
  first: () => [],
  text: (frame, text) => textChunk(frame, text),
  last: (frame, { finish, usage, timings }, apart) => {
    const end = textChunk(frame, '', finish);
    return apart ? [end, { ...end, choices: [], usage, timings }] : [{ ...end, usage, timings }];
  },
};

type ChatChoice = ChatCompletionChunk['choices'][number];
type TextChoice = Completion['choices'][number];

function chatChunk(
  frame: Frame,
  delta: ChatChoice['delta'],
  finish_reason: ChatChoice['finish_reason'] = null,
): ChatCompletionChunk {
  return { ...frame, object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason, logprobs: null }] };
}

function textChunk(frame: Frame, text: string, finish_reason: TextChoice['finish_reason'] = null): Completion {
  return { ...frame, object: 'text_completion', choices: [{ index: 0, text, finish_reason, logprobs: null }] };
}

function checkFields(request: object, known: string[]): void {
  if (typeof request !== 'object' || request === null) throw badArgument('the request', request, 'an object');
  for (const [name, value] of Object.entries(request)) {
    if (value === undefined || value === null || known.includes(name) || MEANINGLESS.has(name)) continue;
    if (!Object.hasOwn(UNSUPPORTED, name)) {
      throw new WoollyError('bad_argument', `unknown field ${name}, expected one of ${known.join(', ')}`);
    }
    if (UNSUPPORTED[name]?.(value) === false) {
      throw new WoollyError('unsupported', `the engine does not do ${name}: ${JSON.stringify(value)}`);
    }
  }
}

function checkMessage(message: unknown, index: number): void {
  const { role, content } = (message ?? {}) as { role?: unknown; content?: unknown };
  if (typeof role !== 'string') throw badArgument(`messages[${index}].role`, role, 'a text such as user');
  if (content === undefined || content === null || typeof content === 'string') return;
  if (!Array.isArray(content)) throw badArgument(`messages[${index}].content`, content, 'a text or a list of parts');
  const other = content.find((part) => part?.type !== 'text' || typeof part.text !== 'string');
  if (other === undefined) return;
  throw new WoollyError('unsupported', `messages[${index}].content has a part of type ${other?.type}, expected text`);
}

function checked(name: string, value: unknown, kind: Kind, n_ctx: number): unknown {
  switch (kind) {
    case 'texts':
      if (Array.isArray(value) && value.every((text) => typeof text === 'string')) return value;
      throw badArgument(name, value, 'a list of texts');
    case 'number':
      if (typeof value === 'number' && Number.isFinite(value)) return value;
      throw badArgument(name, value, 'a number');
    case 'mirostat':
      if (value === 0 || value === 1 || value === 2) return value;
      throw badArgument(name, value, '0, 1 or 2');
    case 'count':
      return integer(name, value, 0);
    case 'top_k':
      // 0 and less keep all.
      return Math.max(0, integer(name, value, -Infinity));
    case 'last_n':
      // -1 is the whole context.
      return integer(name, value, -1) === -1 ? n_ctx : value;
  }
}

/** A whole number that is at least `least`. */
function integer(name: string, value: unknown, least: number): number {
  if (Number.isSafeInteger(value) && (value as number) >= least) return value as number;
  throw badArgument(name, value, least === -Infinity ? 'a whole number' : `a whole number from ${least} on`);
}

/** A seed is drawn where none is given, or -1. */
function seedOf(seed: unknown): number {
  if (seed === undefined || seed === null || seed === -1) return randomWord();
  return integer('seed', seed, 0);
}

function maxTokens({ max_tokens, max_completion_tokens }: GenerationOptions): number | undefined {
  const tokens = max_completion_tokens ?? max_tokens;
  if (tokens === undefined || tokens === null || tokens === -1) return undefined;
  return integer(max_completion_tokens == null ? 'max_tokens' : 'max_completion_tokens', tokens, 0);
}

function stops(stop: unknown): string[] {
  if (stop === undefined || stop === null) return [];
  const list = typeof stop === 'string' ? [stop] : stop;
  if (!Array.isArray(list) || list.some((text) => typeof text !== 'string' || text === '')) {
    throw badArgument('stop', stop, 'a text or a list of texts, none of them empty');
  }
  return list;
}

/** JSON has no infinity: what is beyond the range of 32-bit floats becomes one there. */
const BANNED = -Number.MAX_VALUE;

function biases(given: GenerationOptions['logit_bias']): [number, number][] {
  if (given === undefined || given === null) return [];
  if (typeof given !== 'object') throw badArgument('logit_bias', given, 'an object from token ids to numbers');
  const pairs: [unknown, unknown][] = Array.isArray(given)
    ? given
    : Object.entries(given).map(([id, bias]) => [id === '' ? NaN : Number(id), bias]);
  return pairs.map((pair) => {
    if (!Array.isArray(pair)) throw badArgument('logit_bias', pair, 'pairs of a token id and a number');
    const [id, bias] = pair;
    const token = integer('a token of logit_bias', id, 0);
    if (bias === false || bias === -Infinity) return [token, BANNED];
    if (typeof bias !== 'number' || !Number.isFinite(bias)) {
      throw badArgument(`logit_bias of token ${token}`, bias, 'a number or false');
    }
    return [token, bias];
  });
}

function randomWord(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] as number;
}

function randomName(): string {
  return Array.from({ length: 4 }, () => randomWord().toString(36).padStart(7, '0')).join('');
}
