import type { Logger } from "../../src/telemetry/logger.ts";

/** A logger that keeps nothing. */
export function silentLogger(): Logger {
  const none = () => undefined;
  const logger: Logger = {
    component: "test",
    debug: none,
    info: none,
    warn: none,
    error: none,
    enabled: () => false,
    child: () => logger,
  };
  return logger;
}
