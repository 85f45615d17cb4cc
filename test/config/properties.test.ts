import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parseProperties } from "../../src/config-file.ts";
import { nearest } from "../../src/config-names.ts";
import { paths, settings } from "../../src/config-settings.ts";
import { formatAddress, parseAddress, type Setting } from "../../src/config-values.ts";

/** A key or value written so that the properties format gives it back. */
function escaped(text: string): string {
  return text.replace(/[\\\s=:#!]|[^ -~]/g, (character) => {
    const code = character.charCodeAt(0).toString(16).padStart(4, "0");
    return /[ -~]/.test(character) ? `\\${character}` : `\\u${code}`;
  });
}

describe("properties files", () => {
  const word = fc.string({ unit: "binary", minLength: 1, maxLength: 20 });
  const separator = fc.constantFrom("=", ":", " ", " = ", "\t:\t");
  test("whatever is written is read back", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(word, separator, word)), (entries) => {
        const text = entries
          .map(([name, between, value]) => `${escaped(name)}${between}${escaped(value)}\n`)
          .join("# comment = no\n\n");
        expect(parseProperties(text)).toEqual(
          entries.map(([name, , value]) => [name, value.trimEnd()]),
        );
      }),
    );
  });
  test("no text makes the reader fail in another way than by saying so", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        try {
          for (const [name] of parseProperties(text)) expect(name).not.toBe("");
        } catch (error) {
          expect(error).toHaveProperty("name", "FileFormatError");
        }
      }),
    );
  });
});

describe("addresses", () => {
  test("are read back as they are printed", () => {
    const host = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain());
    fc.assert(
      fc.property(host, fc.integer({ min: 0, max: 65_535 }), (name, port) => {
        expect(parseAddress(formatAddress({ host: name, port }), 1)).toEqual({ host: name, port });
      }),
    );
  });
  test("are nothing else than a host and a port", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const found = parseAddress(text, 9092);
        if (found === undefined) return;
        expect(found.host).toMatch(/^[\w.:%-]+$/);
        expect(found.port).toBeWithin(0, 65_536);
      }),
    );
  });
});

test("a setting takes a value it accepts, and gives undefined for anything else", () => {
  const raw = fc.oneof(fc.string(), fc.double(), fc.bigInt(), fc.boolean(), fc.array(fc.string()));
  for (const path of paths) {
    const setting: Setting<unknown> = settings[path];
    fc.assert(
      fc.property(raw, (value) => {
        const parsed = setting.parse(value);
        if (typeof setting.default !== "number" || parsed === undefined) return;
        expect(Number.isSafeInteger(parsed)).toBe(true);
      }),
      { numRuns: 50 },
    );
  }
});

test("the nearest name is the word itself where it is one", () => {
  const words = fc.uniqueArray(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(words, fc.nat(), (candidates, pick) => {
      const word = candidates[pick % candidates.length] ?? "";
      expect(nearest(word, candidates)).toBe(word);
    }),
  );
});
