/** Threads need cross-origin isolation, which takes headers that static hosts cannot set; a service worker can. */

import { make } from './dom';

/** Loads the package's script beside the page; it starts the service worker and loads the page again, once. */
export function isolate(): void {
  if (!crossOriginIsolated) document.head.append(make('script', { src: 'coi-serviceworker.js' }));
}
