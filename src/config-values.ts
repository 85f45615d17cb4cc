/** A value as it stands in a file, a variable or a flag, before it is checked. */
export type RawValue = string | number | bigint | boolean | readonly RawValue[];

/** Where a socket listens: a host (IPv6 without brackets) and a port; 0 means any free one. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** One name of a setting in Kafka's own configuration. */
export interface KafkaName {
  readonly name: string;
  /** Multiplies the value into our unit: 3,600,000 for a name in hours. */
  readonly scale?: number;
}

/** One setting: everything the loader, `--help` and the documentation know about it. */
export interface Setting<T> {
  /** Key in the configuration file and for `-X`; derived from the path when not given. */
  readonly key?: string;
  /** Command-line flag as commander writes it, such as `--data-dir <dir>`. */
  readonly flag?: string;
  /** Further keys. */
  readonly names?: readonly string[];
  /** Environment variables beside the one that follows from the key. */
  readonly variables?: readonly string[];
  /** Never shown, and not taken from the command line. */
  readonly secret?: boolean;
  /** Kafka's names for it, the one that wins first. */
  readonly kafka?: readonly KafkaName[];
  readonly default: T;
  /** What the value stands for, in one sentence. */
  readonly doc: string;
  /** What is accepted, for messages: `an integer from 1 to 8`. */
  readonly accepts: string;
  /** The checked value, or undefined when `raw` is not acceptable. */
  readonly parse: (raw: RawValue) => T | undefined;
}

interface Common<T> {
  readonly key?: string;
  readonly names?: readonly string[];
  readonly variables?: readonly string[];
  readonly flag?: string;
  readonly kafka?: readonly (string | KafkaName)[];
  readonly default: T;
  readonly doc: string;
}

function setting<T>(
  { kafka, ...common }: Common<T>,
  accepts: string,
  parse: (raw: RawValue) => T | undefined,
): Setting<T> {
  const names = kafka?.map((name) => (typeof name === "string" ? { name } : name));
  return { ...common, ...(names && { kafka: names }), accepts, parse };
}

/** A whole number. Kafka's "no limit" (2^63 - 1) becomes the largest exact number. */
export function integer(
  options: Common<number> & { readonly min: number; readonly max?: number },
): Setting<number> {
  const { min, max = Number.MAX_SAFE_INTEGER, ...common } = options;
  const accepts =
    max === Number.MAX_SAFE_INTEGER
      ? `an integer of at least ${min}`
      : `an integer from ${min} to ${max}`;
  return setting(common, accepts, (raw) => {
    const value = toInteger(raw);
    return value !== undefined && value >= min && value <= max ? value : undefined;
  });
}

/** A count of bytes: an integer, or one with the suffix KiB, MiB or GiB. */
export function bytes(
  options: Common<number> & { readonly min: number; readonly max?: number },
): Setting<number> {
  const { min, max = Number.MAX_SAFE_INTEGER, ...common } = options;
  const range = max === Number.MAX_SAFE_INTEGER ? `at least ${min}` : `${min} to ${max}`;
  return setting(common, `a number of bytes, ${range} (suffixes KiB, MiB, GiB)`, (raw) => {
    const value = toBytes(raw);
    return value !== undefined && value >= min && value <= max ? value : undefined;
  });
}

export function boolean(options: Common<boolean>): Setting<boolean> {
  return setting(options, "true or false", toBoolean);
}

export function text(options: Common<string>): Setting<string> {
  return setting(options, "a text that is not empty", toText);
}

/** A text of a certain form. */
export function pattern(
  options: Common<string> & { readonly form: RegExp; readonly accepts: string },
): Setting<string> {
  const { form, accepts, ...common } = options;
  return setting(common, accepts, (raw) => {
    const written = toText(raw);
    return written !== undefined && form.test(written) ? written : undefined;
  });
}

/** A text that may be missing. */
export function optionalText(options: Common<string | null>): Setting<string | null> {
  return setting<string | null>(options, "a text that is not empty", toText);
}

/** One of a few words; `T` is their union. */
export function choice<const T extends string>(
  options: Common<NoInfer<T>> & { readonly values: readonly T[] },
): Setting<T> {
  const { values, ...common } = options;
  return setting<T>(common, `one of ${values.join(", ")}`, (raw) =>
    values.find((value) => value.toLowerCase() === String(raw).trim().toLowerCase()),
  );
}

/** One or more `HOST:PORT`, separated by commas. */
export function addresses(
  options: Common<readonly Address[]> & { readonly portDefault: number },
): Setting<readonly Address[]> {
  const { portDefault, ...common } = options;
  return setting(common, "HOST:PORT or [IPV6]:PORT, several separated by commas", (raw) => {
    const parts = (Array.isArray(raw) ? raw : [raw]).flatMap((part) => String(part).split(","));
    const found = parts.map((part) => parseAddress(part, portDefault));
    return found.every((address) => address !== undefined) && found.length > 0 ? found : undefined;
  });
}

/** One `HOST:PORT`. */
export function address(
  options: Common<Address> & { readonly portDefault: number },
): Setting<Address> {
  const { portDefault, ...common } = options;
  return setting(common, "HOST:PORT or [IPV6]:PORT", (raw) =>
    parseAddress(String(raw), portDefault),
  );
}

/**
 * `HOST:PORT`, `HOST`, `:PORT`, `[IPV6]:PORT`, `[IPV6]` or a URL-like `PLAINTEXT://…` of the same.
 * An empty host means every interface. Undefined for anything else.
 */
export function parseAddress(given: string, portDefault: number): Address | undefined {
  const bare = given.trim().replace(/^PLAINTEXT:\/\//i, "");
  const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([\w.-]*|\*))(?::(\d{1,5}))?$/.exec(bare);
  if (match === null || bare === "") return undefined;
  const [, six, name = "", digits] = match;
  const port = digits === undefined ? portDefault : Number(digits);
  if (port > 65_535) return undefined;
  const host = six ?? (name === "" || name === "*" ? "0.0.0.0" : name);
  return { host, port };
}

/** `HOST:PORT` with brackets where IPv6 needs them. */
export function formatAddress({ host, port }: Address): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

export function isAddress(value: unknown): value is Address {
  return typeof value === "object" && value !== null && "host" in value && "port" in value;
}

/** Whether a host means every interface, so that no client could connect to it by that name. */
export function isWildcard(host: string): boolean {
  return /^(0\.0\.0\.0|0|::|0:0:0:0:0:0:0:0|::0|::ffff:0\.0\.0\.0)$/i.test(host);
}

/** Whether a host can only be reached from this machine. */
export function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|::1|0:0:0:0:0:0:0:1|::ffff:127(\.\d{1,3}){3})$/i.test(host);
}

export function toInteger(raw: RawValue): number | undefined {
  if (typeof raw === "number") return Number.isSafeInteger(raw) ? raw : undefined;
  if (typeof raw !== "string" && typeof raw !== "bigint") return undefined;
  const written = String(raw).trim();
  if (!/^-?\d{1,19}$/.test(written)) return undefined;
  return Math.max(Math.min(Number(written), Number.MAX_SAFE_INTEGER), Number.MIN_SAFE_INTEGER);
}

function toBytes(raw: RawValue): number | undefined {
  if (typeof raw !== "string") return toInteger(raw);
  const match = /^(.*?)\s*([KMG])iB$/i.exec(raw.trim());
  if (match === null) return toInteger(raw);
  const [, digits = "", unit = ""] = match;
  const count = toInteger(digits);
  const value =
    count === undefined ? Number.NaN : count * 1024 ** (1 + "KMG".indexOf(unit.toUpperCase()));
  return Number.isSafeInteger(value) ? value : undefined;
}

export function toBoolean(raw: RawValue): boolean | undefined {
  if (typeof raw === "boolean") return raw;
  const word = String(raw).trim().toLowerCase();
  if (word === "true" || word === "1" || word === "yes" || word === "on") return true;
  if (word === "false" || word === "0" || word === "no" || word === "off") return false;
  return undefined;
}

function toText(raw: RawValue): string | undefined {
  if (Array.isArray(raw)) return undefined;
  const written = String(raw).trim();
  return written === "" ? undefined : written;
}
