import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { compileRegex } from "../../src/lib/linear-regex.ts";

function matching(regex: string, names: readonly string[]): string[] {
  const compiled = compileRegex(regex);
  if (typeof compiled === "string") throw new Error(`${regex}: ${compiled}`);
  const found = compiled.matching(names);
  if (found === null) throw new Error(`${regex} takes too long`);
  return found;
}

const names = ["a", "b", "ab", "aab", "abc", "foo", "foo-1", "foo-12", "foo.bar", "Foo_9", "x"];

describe("expressions over topic names", () => {
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ["", []],
    ["foo", ["foo"]],
    ["foo.*", ["foo", "foo-1", "foo-12", "foo.bar"]],
    ["(?i)foo.*", ["foo", "foo-1", "foo-12", "foo.bar", "Foo_9"]],
    ["foo-\\d", ["foo-1"]],
    ["foo-\\d{1,2}", ["foo-1", "foo-12"]],
    ["foo-[[:digit:]]{2}", ["foo-12"]],
    ["a+b?c?", ["a", "ab", "aab", "abc"]],
    ["^(?:a|b)$", ["a", "b"]],
    ["(?P<name>a)(?:b)", ["ab"]],
    ["[^a-f].*", ["x", "Foo_9"]],
    ["\\Qfoo.\\Ebar", ["foo.bar"]],
    ["foo\\b.+", ["foo-1", "foo-12", "foo.bar"]],
    ["\\p{Lu}\\w*", ["Foo_9"]],
    ["\\pL", ["a", "b", "x"]],
    ["a{2}b", ["aab"]],
    ["a{0}b", ["b"]],
    ["a{,2}", []],
    ["[a\\-x]", ["a", "x"]],
    ["[]a]", ["a"]],
    ["ü", []],
    ["\\x61|\\142", ["a", "b"]],
  ];
  for (const [regex, wanted] of cases) {
    test(JSON.stringify(regex), () => {
      expect(matching(regex, names).sort()).toEqual([...wanted].sort());
    });
  }

  const invalid = ["(", ")", "[", "a**", "*", "a{2,1}", "a{1001}", "(?=a)", "(?<!a)", "\\1", "\\"];
  for (const regex of [...invalid, "[b-a]", "(?P<n>a)(?P<n>b)", "\\p{Nope}", "[[:nope:]]", "\\y"]) {
    test(`${JSON.stringify(regex)} is refused`, () => {
      expect(compileRegex(regex)).toBeString();
    });
  }

  test("repetitions that multiply are refused", () => {
    expect(compileRegex("(((a{100}){100}){100})")).toBe("expression too large");
  });

  test("an expression made to backtrack reads each character once", () => {
    const long = `${"a".repeat(248)}b`;
    expect(matching("(a*)*(a*)*(a|aa)+b", ["a".repeat(249), long])).toEqual([long]);
  });

  test("many states are forgotten, not kept", () => {
    const compiled = compileRegex("(?:a|b)*a(?:a|b){12}");
    if (typeof compiled === "string") throw new Error(compiled);
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 60 }), (name) => {
        const isMatch = name.length > 12 && name.at(-13) === "a";
        expect(compiled.matching([name])).toEqual(isMatch ? [name] : []);
      }),
      { numRuns: 500 },
    );
  });

  test("one that is somewhere else after every character is given up", () => {
    let seed = 1;
    const random = (): number => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
      return seed >>> 16;
    };
    const name = () => Array.from({ length: 200 }, () => (random() % 2 === 0 ? "a" : "b")).join("");
    const large = compileRegex("(?:[ab]?){900}(a|b)*a[ab]{900}");
    if (typeof large === "string") throw new Error(large);
    expect(large.matching(Array.from({ length: 1_000 }, name))).toBeNull();
    // The next round is a new one.
    expect(large.matching(["x"])).toEqual([]);
  });

  test("many topics are no reason", () => {
    const regex = "(?:team-1|team-2|other)[.](?:orders|payments|[a-z]{3,20}-events)-\\d+";
    const all = Array.from({ length: 10_000 }, (_, index) => `team-${index % 3}.orders-${index}`);
    expect(matching(regex, all).length).toBe(6_666);
  });

  test("agrees with JavaScript's engine where the syntax is the same", () => {
    const leaf = fc.constantFrom("a", "b", ".", "[ab]", "[^a]", "\\w", "\\d", "-", "\\.", "^", "$");
    const { tree } = fc.letrec<{ tree: string }>((tie) => ({
      tree: fc.oneof(
        { maxDepth: 4, depthSize: "medium" },
        leaf,
        fc.tuple(tie("tree"), tie("tree")).map(([left, right]) => `${left}${right}`),
        fc.tuple(tie("tree"), tie("tree")).map(([left, right]) => `(?:${left}|${right})`),
        fc
          .tuple(tie("tree"), fc.constantFrom("*", "+", "?", "{2}", "{1,3}", "*?", "{2,}"))
          .map(([item, repeat]) => `(?:${item})${repeat}`),
        fc.constantFrom("\\b", "\\B"),
      ),
    }));
    const name = fc.string({ unit: fc.constantFrom("a", "b", "-", ".", "1"), maxLength: 8 });
    fc.assert(
      fc.property(tree, fc.array(name, { minLength: 1, maxLength: 10 }), (regex, some) => {
        const known = new RegExp(`^(?:${regex})$`);
        expect(matching(regex, some)).toEqual(some.filter((one) => known.test(one)));
      }),
      { numRuns: 3_000 },
    );
  });
});
