/** What every entry exports. */

export { type ChatCompletions, type Completions, Engine } from './engine.js';
export { WoollyError } from './errors.js';
export { ModelManager } from './manager.js';
export type * from './types.js';
