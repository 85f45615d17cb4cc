import { expect, test } from "bun:test";
import fc from "fast-check";
import { MaxTree } from "../../../src/tier/registry/max-tree.ts";

const value = fc.integer({ min: -1, max: 50 });
const change = fc.oneof(
  fc.record({ push: fc.array(value, { maxLength: 80, size: "max" }) }),
  fc.record({ at: fc.nat(1_500), count: fc.nat(90), put: fc.array(value, { maxLength: 5 }) }),
);

test("answers as a scan does, after any changes", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 1_300 }),
      fc.array(change, { maxLength: 12 }),
      fc.array(fc.record({ floor: value, from: fc.nat(1_500) }), { minLength: 8, maxLength: 8 }),
      (size, changes, asked) => {
        const tree = new MaxTree();
        const plain = Array.from({ length: size }, (_, index) => (index * 7) % 45);
        for (const each of plain) tree.push(each);
        const check = () => {
          for (const { floor, from } of asked) {
            const behind = plain.slice(from);
            const found = behind.findIndex((each) => each >= floor);
            expect(tree.firstAtLeast(floor, from)).toBe(found < 0 ? -1 : found + from);
            expect(tree.max(from)).toBe(Math.max(...behind));
          }
        };
        check();
        for (const [index, each] of changes.entries()) {
          if ("push" in each) {
            for (const one of each.push) tree.push(one);
            plain.push(...each.push);
          } else {
            const at = Math.min(each.at, plain.length);
            tree.splice(at, each.count, each.put);
            plain.splice(at, each.count, ...each.put);
          }
          // Now and then several changes before the next question.
          if (index % 3 === 0) check();
        }
        check();
      },
    ),
    { numRuns: 300 },
  );
});
