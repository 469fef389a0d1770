/** Helpers for the page's elements. */

/** The element of index.html with that id, which is of that class. */
export function byId<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page lacks ${type.name} #${id}`);
  return found;
}

export const button = (id: string) => byId(id, HTMLButtonElement);
export const input = (id: string) => byId(id, HTMLInputElement);

/** A new element with these children. Text becomes text nodes, never markup. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** A function that asks for `paint` before the next frame; asking again until then changes nothing. */
export function onFrame(paint: () => void): () => void {
  let asked = false;
  const frame = () => {
    asked = false;
    paint();
  };
  return () => {
    if (!asked) requestAnimationFrame(frame);
    asked = true;
  };
}

/** Milliseconds of a frame that work may take. */
const BUDGET = 6;

/** Does `work` for each item, as many a frame as leave the page responsive. */
export async function spread<T>(items: readonly T[], work: (item: T) => void): Promise<void> {
  let start = performance.now();
  for (const item of items) {
    if (performance.now() - start > BUDGET) {
      await new Promise(requestAnimationFrame);
      start = performance.now();
    }
    work(item);
  }
}

/** Sets the text, if it is another: a live region would speak up again. */
export function setText(node: Node, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}
