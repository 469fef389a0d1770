/** What the page remembers. Without storage (a private window, a full disk) it forgets, and works all the same. */

const PREFIX = 'woolly.';

export function save(key: string, value: unknown): void {
  try {
    localStorage.setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // Full or forbidden. What was there before would be worse than nothing.
    forget(key);
  }
}

/** What was saved, unless `isSound` doubts it: another version of the page, or a person, may have written it. */
export function recall<T>(key: string, isSound: (value: unknown) => value is T): T | null {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(PREFIX + key) ?? 'null');
    return isSound(value) ? value : null;
  } catch {
    return null;
  }
}

function forget(key: string): void {
  try {
    localStorage.removeItem(PREFIX + key);
  } catch {
    // Forbidden, so nothing is there.
  }
}

export const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
