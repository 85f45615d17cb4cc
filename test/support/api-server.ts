import type { ApiHandler, Services } from "../../src/api/context.ts";
import { Router, type RouterOptions } from "../../src/api/router.ts";
import { WireClient } from "../../src/client/wire-client.ts";
import { systemClock } from "../../src/lib/clock.ts";
import type { Metadata, MetadataOptions } from "../../src/metadata/controller.ts";
import { ClientQuotas } from "../../src/quota/client-quotas.ts";
import { adminHandlers } from "./admin-handlers.ts";
import { openMetadata } from "./metadata.ts";
import { serve, type TestServer } from "./network.ts";

export interface ApiServer extends AsyncDisposable {
  readonly server: TestServer;
  readonly metadata: Metadata;
  readonly router: Router;
  readonly client: WireClient;
  readonly reports: { readonly apiName: string; readonly failed: boolean }[];
  readonly complaints: string[];
}

export interface ApiServerOptions {
  readonly metadata?: Partial<MetadataOptions>;
  readonly handlers?: ApiHandler<unknown, unknown>[];
  readonly topic?: { readonly autoCreate?: boolean; readonly deleteEnabled?: boolean };
  readonly partitions?: readonly { topic: string; index: number; bytes: number }[];
  /** Clients are told the port that is really bound. */
  readonly advertiseOwnPort?: boolean;
}

/** The admin handlers behind a real socket, and a client. */
export async function apiServer(options: ApiServerOptions = {}): Promise<ApiServer> {
  const port = options.advertiseOwnPort ? freePort() : 0;
  const metadata = await openMetadata({
    ...(port > 0 ? { broker: brokerAt(port) } : {}),
    ...options.metadata,
  });
  const reports: ApiServer["reports"] = [];
  const complaints: string[] = [];
  const windows = { count: 11, lengthMs: 1000 };
  const quotas = new ClientQuotas({
    clock: systemClock,
    windows,
    controllerWindows: windows,
    entitiesMax: 100,
  });
  metadata.subscribe(({ next }) => quotas.update(next.clientQuotas));
  // Only what these handlers use; the rest of the broker is not there.
  const services = {
    config: {
      dataDir: "/data",
      limits: { clientQuotasMax: 5 },
      group: { offsetsTopicNumPartitions: 50 },
      transaction: { stateLogNumPartitions: 30, stateLogSegmentBytes: 1_048_576 },
      shareGroup: { stateTopicNumPartitions: 20 },
      topic: { autoCreate: true, deleteEnabled: true, ...options.topic },
    },
    clock: systemClock,
    metadata,
    quotas,
    partitions: {
      all: () => options.partitions ?? [],
      get: (topic: string, index: number) =>
        options.partitions?.find((one) => one.topic === topic && one.index === index),
    },
  } as unknown as Services;
  const routerOptions: RouterOptions = {
    clock: systemClock,
    onRequest: (report) => reports.push(report),
    onBug: (apiName, error) => complaints.push(`${apiName}: ${error}`),
    onRefused: (message) => complaints.push(message),
  };
  const space = async () => ({ totalBytes: 1000, usableBytes: 400 });
  const handlers = options.handlers ?? adminHandlers(space);
  const router = new Router(handlers, services, routerOptions);
  const addresses = [{ host: "127.0.0.1", port, optional: false }];
  const server = serve(router, {}, { addresses });
  const client = await WireClient.connect({
    host: "127.0.0.1",
    port: server.port,
    clientId: "test",
  });
  return {
    server,
    metadata,
    router,
    client,
    reports,
    complaints,
    async [Symbol.asyncDispose]() {
      client.close();
      await server.listener.drain(1000);
    },
  };
}

function brokerAt(port: number): MetadataOptions["broker"] {
  return { id: 1, rack: null, endpoints: [{ listener: "PLAINTEXT", host: "127.0.0.1", port }] };
}

/** A port that was free a moment ago. */
function freePort(): number {
  const probe = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const { port } = probe;
  probe.stop(true);
  return port;
}
