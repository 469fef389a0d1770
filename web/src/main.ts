/** Ties the page together: each part knows itself, and this module what the one has to do with the other. */

import { ModelManager } from 'woolly-llm';
import { adviceFor, localModels } from './catalogue';
import { Chat } from './chat';
import { button, byId, make, setText } from './dom';
import { watchDrops } from './drop';
import { EngineCard } from './engine-card';
import { ErrorBanner } from './errors';
import { Estimate } from './estimate';
import { isolate } from './isolation';
import { Loader, type Choice } from './loader';
import { Picker } from './picker';
import { ProgressView } from './progress';
import { SettingsDialog } from './settings';
import { USUAL_CONTEXT } from './state';
import { StoredModels } from './stored';

/** A context below which a conversation makes no sense. */
const LEAST_CONTEXT = 512;

const IDEAS = [
  'Explain in three sentences how rainbows form.',
  'Write a short poem about a sheep who learns to read.',
  'What should I look at when I buy a used bicycle?',
];

const modelCard = byId('model-card', HTMLElement);
const prompt = byId('prompt', HTMLTextAreaElement);
const load = button('load');
const pause = button('pause');
const send = button('send');
const stop = button('stop');
const retry = button('retry');

const manager = new ModelManager();
const estimate = new Estimate(manager);
const progress = new ProgressView();
const settings = new SettingsDialog(settingsClosed);
const picker = new Picker(() => choiceChanged());
const stored = new StoredModels(manager, {
  use: (model) => picker.use(model),
  nameOf: (model) => picker.nameOf(model),
  failed,
});
const banner = new ErrorBanner({
  reload: () => reload(),
  reloadWithoutStoring: () => reload(false),
  reloadSmaller,
  smallerContext,
  chooseModel,
  newChat: () => chat.clear(),
  openSettings,
});
const loader: Loader = new Loader({ changed: loaderChanged, progress: (p) => progress.set(p), failed: loadFailed });
const chat: Chat = new Chat({
  engine: () => loader.engine,
  settings: () => settings.settings,
  advice: () => adviceFor(loader.choice?.name),
  changed: refresh,
  failed,
});
const card: EngineCard = new EngineCard({
  engine: () => loader.engine,
  changed: refresh,
  failed,
});

void start();

async function start(): Promise<void> {
  listen();
  refresh();
  isolate();
  picker.addLocal(await localModels());
  void stored.refresh();
  const choice = picker.choice();
  // Reading the header of a model elsewhere takes network traffic that nobody has asked for yet.
  if (isHere(choice)) choiceChanged();
  else estimate.showSize(choice);
}

function listen(): void {
  load.addEventListener('click', () => loadChosen());
  pause.addEventListener('click', () => (loader.status === 'loading' ? loader.pause() : resume()));
  button('change-model').addEventListener('click', () => toggleModelCard());
  button('new-chat').addEventListener('click', () => newChat());
  button('open-settings').addEventListener('click', openSettings);
  byId('composer', HTMLFormElement).addEventListener('submit', (event) => {
    event.preventDefault();
    sendPrompt();
  });
  prompt.addEventListener('input', refreshSend);
  prompt.addEventListener('keydown', promptKey);
  stop.addEventListener('click', () => chat.stop());
  retry.addEventListener('click', () => answerAgain());
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && chat.waiting && !byId('settings', HTMLDialogElement).open) chat.stop();
  });
  watchDrops((file) => dropped(file));
  byId('ideas', HTMLElement).append(...IDEAS.map(idea));
}

function idea(text: string): HTMLElement {
  const pick = make('button', { type: 'button' }, text);
  pick.addEventListener('click', () => {
    chat.send(text);
    stop.focus();
  });
  return make('li', {}, pick);
}

// The model.

function choiceChanged(): void {
  const choice = picker.choice();
  if (choice) void estimate.show(choice, settings.context);
  refresh();
}

function isHere(choice: Choice | null): boolean {
  return typeof choice?.source === 'string' && choice.source.startsWith(location.origin);
}

function loadChosen(): void {
  const choice = picker.choice();
  progress.finish();
  if (choice) loadModel(choice);
}

function loadModel(choice: Choice, cache = true): void {
  banner.clear();
  card.reset();
  chat.interrupt();
  progress.start();
  void loader.load(choice, { n_ctx: settings.context, cache });
}

function resume(): void {
  if (loader.choice) loadModel(loader.choice, loader.options?.cache);
}

/** Loads the same again, and answers the question that has no answer. */
function reload(cache = loader.options?.cache ?? true): void {
  if (!loader.choice) return;
  chat.awaitEngine();
  loadModel(loader.choice, cache);
}

function smallerContext(): number | null {
  const half = Math.floor((loader.options?.n_ctx ?? USUAL_CONTEXT) / 2);
  return half >= LEAST_CONTEXT ? half : null;
}

function reloadSmaller(): void {
  settings.context = smallerContext() ?? LEAST_CONTEXT;
  reload();
}

function loaderChanged(): void {
  const { status } = loader;
  if (status === 'paused') progress.pause();
  if (status === 'idle' || status === 'ready') progress.finish();
  if (status !== 'loading') void stored.refresh();
  const wasInCard = modelCard.contains(document.activeElement);
  if (status === 'ready') modelCard.hidden = true;
  refresh();
  if (wasInCard) focusAfter(status);
  if (status === 'ready') chat.engineCame();
}

/** The element that had the focus may be gone. */
function focusAfter(status: Loader['status']): void {
  if (status === 'ready') prompt.focus();
  else if (status === 'idle') load.focus();
  else pause.focus();
}

function chooseModel(): void {
  modelCard.hidden = false;
  refresh();
  picker.focus();
}

function toggleModelCard(): void {
  modelCard.hidden = !modelCard.hidden;
  refresh();
  if (modelCard.hidden) return;
  byId('main', HTMLElement).scrollTop = 0;
  picker.focus();
}

function dropped(file: File): void {
  if (loader.status === 'loading') return;
  modelCard.hidden = false;
  picker.drop(file);
  load.focus();
}

// The conversation.

function sendPrompt(): void {
  const text = prompt.value.trim();
  if (!text || !canSend()) return;
  const pressed = document.activeElement === send;
  banner.clear();
  prompt.value = '';
  chat.send(text);
  if (pressed) stop.focus();
}

function promptKey(event: KeyboardEvent): void {
  // Enter also ends the composition of a character, in Japanese for one.
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  sendPrompt();
}

function answerAgain(): void {
  banner.clear();
  chat.retry();
  stop.focus();
}

function newChat(): void {
  banner.clear();
  chat.clear();
  prompt.focus();
}

/** A question may be asked while the model still loads. */
function canSend(): boolean {
  return loader.status !== 'idle' && !chat.waiting && !card.busy;
}

// Settings.

function openSettings(): void {
  settings.open(adviceFor((loader.choice ?? picker.choice())?.name));
}

function settingsClosed(): void {
  const inUse = loader.status === 'ready' || loader.status === 'loading';
  if (inUse && loader.options?.n_ctx !== settings.context) resume();
  if (!modelCard.hidden) choiceChanged();
}

// All of it.

function loadFailed(error: unknown): void {
  modelCard.hidden = false;
  chat.stop();
  failed(error);
}

function failed(error: unknown): void {
  banner.show(error);
  refresh();
}

/** Makes buttons and areas say what can be done now. */
function refresh(): void {
  const { status } = loader;
  const free = status === 'ready' && !chat.waiting && !card.busy;
  byId('model-source', HTMLFieldSetElement).disabled = status === 'loading';
  load.disabled = status === 'loading' || card.busy || picker.choice() === null;
  pause.hidden = status !== 'loading' && status !== 'paused';
  setText(pause, status === 'paused' ? 'Resume' : 'Pause');
  button('change-model').setAttribute('aria-expanded', String(!modelCard.hidden));
  byId('welcome', HTMLElement).hidden = !free || !chat.isEmpty;
  prompt.placeholder = status === 'idle' ? 'Load a model first' : 'Write a message';
  card.show(loader.choice?.name ?? '', free);
  refreshComposer(free);
}

function refreshComposer(free: boolean): void {
  const stopHadFocus = document.activeElement === stop;
  send.hidden = chat.waiting;
  refreshSend();
  stop.hidden = !chat.waiting;
  retry.hidden = !free || !chat.canRetry;
  button('new-chat').disabled = chat.isEmpty;
  if (stopHadFocus && stop.hidden) prompt.focus();
}

function refreshSend(): void {
  send.disabled = !canSend() || prompt.value.trim() === '';
}
