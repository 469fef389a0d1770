/** Files that are dropped anywhere on the page. */

import { byId } from './dom';

export function watchDrops(dropped: (file: File) => void): void {
  const hint = byId('drop-hint', HTMLElement);
  addEventListener('dragover', (event) => {
    if (!event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    hint.hidden = false;
  });
  addEventListener('dragleave', (event) => {
    // Between two elements of the page, there is another that the pointer went to.
    if (!event.relatedTarget) hint.hidden = true;
  });
  addEventListener('drop', (event) => {
    hint.hidden = true;
    const file = event.dataTransfer?.files[0];
    if (!file) return;
    event.preventDefault();
    dropped(file);
  });
}
