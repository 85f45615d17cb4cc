/**
 * One spelling for each address: dotted IPv4, IPv6 as RFC 5952 writes it, an IPv4 address inside
 * IPv6 as IPv4. null for anything that is no address; names are not looked up. (pure)
 */
export function canonicalIp(text: string): string | null {
  if (/^[0-9.]+$/.test(text)) return ipv4(text);
  if (!/^[0-9a-f:.]+$/i.test(text) || !text.includes(":")) return null;
  const host = hostOf(`[${text}]`);
  if (host === null) return null;
  const address = host.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(address);
  if (mapped === null) return address;
  const [high, low] = [mapped[1], mapped[2]].map((part) => Number.parseInt(part ?? "0", 16));
  return [high, low].flatMap((part = 0) => [part >> 8, part & 255]).join(".");
}

function ipv4(text: string): string | null {
  const parts = text.split(".");
  const isDotted = parts.length === 4 && parts.every((part) => /^\d{1,3}$/.test(part));
  if (!isDotted || parts.some((part) => Number(part) > 255)) return null;
  return parts.map(Number).join(".");
}

function hostOf(host: string): string | null {
  const url = URL.parse(`http://${host}/`);
  return url === null ? null : url.hostname;
}
