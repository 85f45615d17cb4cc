import { createHash, createHmac } from "node:crypto";
import { ErrorCode } from "../protocol/error-code.ts";
import type { Command } from "./command.ts";
import { type MetadataImage, type ScramCredential, scramKey } from "./image.ts";
import type { Outcome } from "./requests.ts";
import { failure, isOutcome, success } from "./topic-plan.ts";

export interface ScramDeletion {
  readonly name: string;
  readonly mechanism: number;
}

export interface ScramUpsertion extends ScramDeletion {
  readonly iterations: number;
  readonly salt: Uint8Array;
  readonly saltedPassword: Uint8Array;
}

const hashes: ReadonlyMap<number, string> = new Map([
  [1, "sha256"],
  [2, "sha512"],
]);
const iterationsMin = 4096;
const iterationsMax = 16_384;
/** Of all users together (design D15). */
export const scramCredentialsMax = 10_000;
const saltBytesMax = 1024;
const userBytesMax = 1024;

/** Plans one AlterUserScramCredentials request (pure): the commands, and per user an outcome, in
 * the order users were first named. A user named twice fails (DUPLICATE_RESOURCE). */
export function planScram(
  image: MetadataImage,
  deletions: readonly ScramDeletion[],
  upsertions: readonly ScramUpsertion[],
): { readonly commands: readonly Command[]; readonly result: ReadonlyMap<string, Outcome> } {
  const planned = new Map<string, Command | Outcome>();
  let count = image.scramCredentials.size;
  const plan = (name: string, make: () => Command | Outcome): void => {
    const before = planned.get(name);
    if (before === undefined) planned.set(name, make());
    else if (!isOutcome(before)) planned.set(name, twice);
  };
  for (const deletion of deletions) plan(deletion.name, () => planDeletion(image, deletion));
  for (const upsertion of upsertions) {
    plan(upsertion.name, () => {
      if (image.scramCredentials.has(scramKey(upsertion.mechanism, upsertion.name))) {
        return planUpsertion(upsertion);
      }
      count += 1;
      return count > scramCredentialsMax ? tooMany : planUpsertion(upsertion);
    });
  }
  const commands = [...planned.values()].filter((one): one is Command => !isOutcome(one));
  const result = new Map(
    [...planned].map(([name, one]) => [name, isOutcome(one) ? one : success] as const),
  );
  return { commands, result };
}

const twice = failure(
  ErrorCode.DUPLICATE_RESOURCE,
  "A user credential cannot be altered twice in the same request",
);
const tooMany = failure(
  ErrorCode.POLICY_VIOLATION,
  `This broker keeps at most ${scramCredentialsMax} SCRAM credentials.`,
);

function planDeletion(image: MetadataImage, { name, mechanism }: ScramDeletion): Command | Outcome {
  const invalid = checkName(name, mechanism);
  if (invalid !== null) return invalid;
  if (!image.scramCredentials.has(scramKey(mechanism, name))) {
    const text = "Attempt to delete a user credential that does not exist";
    return failure(ErrorCode.RESOURCE_NOT_FOUND, text);
  }
  return { type: "scram-deleted", user: name, mechanism };
}

function planUpsertion(upsertion: ScramUpsertion): Command | Outcome {
  const { name, mechanism, iterations, salt } = upsertion;
  const invalid = checkName(name, mechanism);
  if (invalid !== null) return invalid;
  if (iterations < iterationsMin) return unacceptable("Too few iterations");
  if (iterations > iterationsMax) return unacceptable("Too many iterations");
  if (salt.length > saltBytesMax) return unacceptable("The salt is too long");
  if (upsertion.saltedPassword.length === 0) return emptyPassword;
  return { type: "scram", credential: credentialOf(upsertion) };
}

/** As in Kafka, where the crypto library fails on an empty key. */
const emptyPassword: Outcome = { errorCode: ErrorCode.UNKNOWN_SERVER_ERROR, errorMessage: null };

function unacceptable(text: string): Outcome {
  return failure(ErrorCode.UNACCEPTABLE_CREDENTIAL, text);
}

function checkName(name: string, mechanism: number): Outcome | null {
  if (name === "") return unacceptable("Username must not be empty");
  if (Buffer.byteLength(name) > userBytesMax) return unacceptable("The username is too long");
  if (hashes.has(mechanism)) return null;
  return failure(ErrorCode.UNSUPPORTED_SASL_MECHANISM, "Unknown SCRAM mechanism");
}

/** The keys of RFC 5802, section 3: whoever steals them cannot log in. */
function credentialOf(upsertion: ScramUpsertion): ScramCredential {
  const { name, mechanism, iterations, salt, saltedPassword } = upsertion;
  const hash = hashes.get(mechanism) ?? "sha256";
  const sign = (text: string): Buffer => createHmac(hash, saltedPassword).update(text).digest();
  return {
    user: name,
    mechanism,
    iterations,
    salt: Buffer.from(salt).toString("base64"),
    storedKey: createHash(hash).update(sign("Client Key")).digest("base64"),
    serverKey: sign("Server Key").toString("base64"),
  };
}
