import { WireClient } from "../src/client/wire-client.ts";
import { apiVersionsApi } from "../src/protocol/messages/18-api-versions.ts";

/**
 * A thread of its own, so that what the bench's clients cost their own event loop is not taken for
 * the broker's: asks for ApiVersions every 5 ms. Told a port, it begins; told "figures", it posts
 * the round trips, in ms, since the last time; told "stop", it ends.
 */

declare const self: Worker;

const request = { clientSoftwareName: "probe", clientSoftwareVersion: "1" };
let times: number[] = [];
let isOver = false;

async function run(port: number): Promise<void> {
  const client = await WireClient.connect({ host: "127.0.0.1", port, clientId: "probe" });
  while (!isOver) {
    const startMs = performance.now();
    await client.request(apiVersionsApi, 3, request);
    times.push(performance.now() - startMs);
    await Bun.sleep(5);
  }
  client.close();
  process.exit();
}

self.onmessage = ({ data }: MessageEvent<number | "figures" | "stop">): void => {
  if (typeof data === "number") {
    void run(data);
  } else if (data === "stop") {
    isOver = true;
  } else {
    self.postMessage(times);
    times = [];
  }
};
