/* The official WeCom plugin's webhook on Node's HTTP server, with streams that are being answered.
 *
 *     node serve.mjs STREAMS.json
 *
 * STREAMS.json: {modules, port, path, bot_id, token, aes_key, ids: [...], body}. Stream i shows its
 * number (see text() in traffic.py) and the body. The streams lie in the plugin's own memory:
 * it has no store to ask. Its log lines go nowhere. */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

const run = JSON.parse(readFileSync(process.argv[2], "utf8"));
const webhook = (name) => import(
  pathToFileURL(`${run.modules}/@wecom/wecom-openclaw-plugin/dist/src/webhook/${name}.js`).href);
const [{ handleWecomWebhookRequest }, { registerWecomWebhookTarget }, { monitorState }] =
  await Promise.all(["handler", "target", "state"].map(webhook));

registerWecomWebhookTarget({
  account: { accountId: "default", botId: run.bot_id, token: run.token, encodingAESKey: run.aes_key, receiveId: "", config: {} },
  config: {},
  runtime: { log() {}, error() {} },
  core: {},
  statusSink() {},
}, [run.path]);

run.ids.forEach((streamId, i) => {
  const now = Date.now();
  monitorState.streamStore.streams.set(streamId, {
    streamId, createdAt: now, updatedAt: now, started: true, finished: false,
    content: `${String(i).padStart(6, "0")} ${run.body}`,
  });
});

console.log = () => {};
createServer(async (req, res) => {
  if (!(await handleWecomWebhookRequest(req, res)))
    res.writeHead(404).end();
}).listen(run.port, "127.0.0.1", () => console.error("ready"));
