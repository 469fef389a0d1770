async function main(model) {
  const { Engine } = await import('woolly-llm');
  const engine = await Engine.create({ model });
  const { choices } = await engine.completions.create({ prompt: 'Hello', max_tokens: 8, temperature: 0, ignore_eos: true });
  console.log(JSON.stringify({ text: choices[0].text, backend: engine.backend }));
  await engine.unload();
}

main(process.argv[2]);
