import { Engine } from 'woolly-llm';

globalThis.start = async model => {
  const engine = await Engine.create({ model });
  const { choices } = await engine.completions.create({ prompt: 'Hello', max_tokens: 8, temperature: 0, ignore_eos: true });
  return { text: choices[0].text, backend: engine.backend };
};
