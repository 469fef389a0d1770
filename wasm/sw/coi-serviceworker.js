/*
 * Threads need a cross-origin isolated page, and that needs two headers. Where the server cannot set them (GitHub Pages and
 * other static hosts), this script adds them: put it beside the page, not on another host, and load it first in its <head>:
 *
 *   <script src="coi-serviceworker.js"></script>
 *
 * The first visit reloads the page once, when the service worker is in charge. `data-coep="credentialless"` lets the page
 * embed files of other hosts that do not allow it by a header of their own; Safari does not know that and gets `require-corp`.
 *
 * The same file is both: the script of the page, and the service worker.
 */
'use strict';

if (typeof document === 'undefined') serviceWorker();
else page();

function serviceWorker() {
  const policy = new URL(self.location.href).searchParams.get('coep') || 'require-corp';
  self.addEventListener('install', () => self.skipWaiting());
  self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
  self.addEventListener('fetch', (event) => {
    const { request } = event;
    // The browser itself asks for this kind only from its cache; passing it on would fail.
    if (request.cache === 'only-if-cached' && request.mode !== 'same-origin') return;
    // Other hosts' answers are passed on as they are: ranges of a model are no business of this script.
    if (new URL(request.url).origin !== self.location.origin) return;
    event.respondWith(fetch(request).then((response) => isolated(response, policy)));
  });
}

function isolated(response, policy) {
  // Neither can be made anew: what is opaque, and what has no body by its status.
  if (response.status === 0 || response.type === 'opaqueredirect') return response;
  const headers = new Headers(response.headers);
  headers.set('Cross-Origin-Opener-Policy', 'same-origin');
  headers.set('Cross-Origin-Embedder-Policy', policy);
  headers.set('Cross-Origin-Resource-Policy', 'same-origin');
  const { status, statusText } = response;
  const body = [101, 204, 205, 304].includes(status) ? null : response.body;
  return new Response(body, { status, statusText, headers });
}

function page() {
  const RELOADED = 'coi-reloaded';
  if (window.crossOriginIsolated) {
    sessionStorage.removeItem(RELOADED);
    return;
  }
  if (!window.isSecureContext || !navigator.serviceWorker) return;
  const script = document.currentScript;
  const wanted = script.dataset.coep || 'require-corp';
  const agent = navigator.userAgent;
  const knows = wanted !== 'credentialless' || !/safari/i.test(agent) || /chrom|android/i.test(agent);
  const url = new URL(script.src);
  url.searchParams.set('coep', knows ? wanted : 'require-corp');

  // Once only: a page that is not isolated after that never will be.
  const reload = () => {
    if (sessionStorage.getItem(RELOADED)) return;
    sessionStorage.setItem(RELOADED, 'yes');
    window.location.reload();
  };
  navigator.serviceWorker.addEventListener('controllerchange', reload);
  navigator.serviceWorker
    .register(url.href)
    .then(() => {
      // A forced reload goes past the service worker that is already there.
      if (navigator.serviceWorker.controller === null) navigator.serviceWorker.ready.then(reload);
    })
    .catch((error) => console.warn('coi-serviceworker.js: no service worker, so no threads:', error));
}
