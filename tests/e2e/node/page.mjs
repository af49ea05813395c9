// The npm `openai` package against a running gateway. Prints one JSON object with what it
// saw; what is right is decided by tests/e2e/test_openai_node.py.
import OpenAI from "openai";

const [baseURL, apiKey] = process.argv.slice(2);
const model = "openai/gpt-4o-mini";
const client = new OpenAI({ baseURL, apiKey });
const saying = (content) => [{ role: "user", content }];

async function chunksOf(request, sdk = client) {
  const chunks = [];
  let text = "";
  for await (const chunk of await sdk.chat.completions.create({ ...request, stream: true })) {
    chunks.push(chunk);
    text += chunk.choices[0]?.delta?.content ?? "";
  }
  return { chunks, text };
}

async function unguarded() {
  let text = "";
  const stream = await client.chat.completions.create({
    model: "lowrouter/auto",
    messages: saying("Count to 5 slowly"),
    stream: true,
  });
  for await (const chunk of stream) {
    // No `?.` on the choice: a chunk without choices must not come unasked.
    text += chunk.choices[0].delta.content ?? "";
  }
  return text;
}

async function refused(request, options = {}) {
  let sent = 0;
  const counting = (...args) => {
    sent += 1;
    return fetch(...args);
  };
  const sdk = new OpenAI({ baseURL, apiKey, fetch: counting, ...options });
  try {
    await sdk.chat.completions.create({ model, messages: saying("hi"), ...request });
    return { raised: null };
  } catch (error) {
    const { status, code, message } = error;
    return { raised: error.constructor.name, status, code, message, sent };
  }
}

const pinned = new OpenAI({
  baseURL,
  apiKey,
  defaultHeaders: { "X-LowRouter-Region": "us-east" },
});
const models = [];
for await (const each of client.models.list()) models.push(each.id);

console.log(
  JSON.stringify({
    unary: await client.chat.completions.create({
      model: "lowrouter/auto",
      messages: saying("In one sentence, what is a tree?"),
    }),
    unguarded: await unguarded(),
    streamed: await chunksOf({ model: "lowrouter/auto", messages: saying("Count to 3") }),
    usage: await chunksOf({
      model,
      messages: saying("Count to 3"),
      stream_options: { include_usage: true },
    }),
    byBody: await client.chat.completions.create({
      model,
      messages: saying("hi"),
      route: { region: "eu-west" },
    }),
    byHeader: await pinned.chat.completions.create({ model, messages: saying("hi") }),
    models,
    wrongKey: await refused({}, { apiKey: "sk-" + "wrong".repeat(10) }),
    unknownModel: await refused({ model: "openai/gpt-none" }),
    malformedRoute: await refused({ route: { regoin: "eu-west" } }),
    unknownRegion: await refused({ route: { region: "mars-north" } }),
  }),
);
