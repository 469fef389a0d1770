import { createReadStream, readFileSync } from 'node:fs';
import { defineConfig, type Plugin } from 'vite';

const SERVICE_WORKER = 'coi-serviceworker.js';

/** Puts the package's service worker beside the page: from a folder below, it would not rule the page. */
function serviceWorker(): Plugin {
  const source = new URL(import.meta.resolve(`woolly-llm/${SERVICE_WORKER}`));
  return {
    name: 'service-worker',
    configureServer(server) {
      server.middlewares.use(`/${SERVICE_WORKER}`, (_request, response) => {
        response.setHeader('Content-Type', 'text/javascript');
        createReadStream(source).pipe(response);
      });
    },
    generateBundle() {
      this.emitFile({ type: 'asset', fileName: SERVICE_WORKER, source: readFileSync(source) });
    },
  };
}

// What a page needs to be cross-origin isolated, and so to have threads.
const headers = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

export default defineConfig({
  base: './',
  plugins: [serviceWorker()],
  build: { target: 'es2022' },
  worker: { format: 'es' },
  // Pre-bundling would part the package's module from the worker and the .wasm files beside it.
  optimizeDeps: { exclude: ['woolly-llm'] },
  server: { headers },
  preview: { headers },
});
