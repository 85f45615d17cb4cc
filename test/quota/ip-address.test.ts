import { expect, test } from "bun:test";
import { canonicalIp } from "../../src/lib/ip-address.ts";

test("one spelling for each address, none for what is no address", () => {
  const spellings: Record<string, string | null> = {
    "127.0.0.1": "127.0.0.1",
    "010.1.2.3": "10.1.2.3",
    "1.2.3.256": null,
    "1.2.3": null,
    "1.2.3.4.5": null,
    "": null,
    localhost: null,
    "::1": "::1",
    "0:0:0:0:0:0:0:1": "::1",
    "2001:DB8::0:1": "2001:db8::1",
    "::ffff:10.1.2.3": "10.1.2.3",
    "::ffff:a01:203": "10.1.2.3",
    ":::": null,
    "1:2": null,
    "::1]/x[": null,
    "fe80::1%eth0": null,
  };
  for (const [text, expected] of Object.entries(spellings)) {
    expect([text, canonicalIp(text)]).toEqual([text, expected]);
  }
});
