/** The store of the platform, and who may use a model's files. */
import { aborted } from '../errors.js';
import { openCacheApi } from './cache-api.js';
import { openOpfs } from './opfs.js';
import { messageOf } from './problems.js';
import type { PathFile, Store, StoreKind } from './store.js';

export interface Stores {
  open(): Promise<Store>;
  openPath(path: string): Promise<PathFile & { name: string }>;
}

export interface StoreChoice {
  kind: StoreKind | 'none';
  /** Why no better one was taken. */
  reasons: string[];
}

let stores: Stores | null = null;
let chosen: Promise<StoreChoice & { store: Store | null }> | null = null;

/** Replaces the browser's stores: Node's side does so before anything is loaded. */
export function setStores(platform: Stores): void {
  stores = platform;
  chosen = null;
}

/** What is kept is kept here. */
export async function storeKind(): Promise<StoreChoice> {
  const { kind, reasons } = await choose();
  return { kind, reasons };
}

/** Null where nothing can be kept. */
export async function theStore(): Promise<Store | null> {
  return (await choose()).store;
}

export function pathOpener(): Stores['openPath'] | null {
  return stores?.openPath ?? null;
}

/** Runs while no other tab is busy with this model, as far as the browser can tell. */
export async function exclusively<T>(key: string, signal: AbortSignal, run: () => Promise<T>): Promise<T> {
  const locks = typeof navigator === 'undefined' ? undefined : navigator.locks;
  if (!locks) return run();
  let began = false;
  const begin = () => {
    began = true;
    return run();
  };
  try {
    return await (locks.request(`woolly:${key}`, { signal }, begin) as Promise<T>);
  } catch (error) {
    if (!began && signal.aborted) throw aborted(signal);
    // Pages without an origin of their own have locks that always fail.
    if (!began) return run();
    throw error;
  }
}

function choose(): NonNullable<typeof chosen> {
  chosen ??= firstThatOpens(
    stores
      ? [['the cache folder', stores.open]]
      : [
          ['OPFS', openOpfs],
          ['Cache API', openCacheApi],
        ],
  );
  return chosen;
}

async function firstThatOpens(
  candidates: [name: string, open: () => Promise<Store>][],
): Promise<StoreChoice & { store: Store | null }> {
  const reasons: string[] = [];
  for (const [name, open] of candidates) {
    try {
      const store = await open();
      return { kind: store.kind, reasons, store };
    } catch (error) {
      reasons.push(`${name} cannot be used: ${messageOf(error)}`);
    }
  }
  return { kind: 'none', reasons, store: null };
}
