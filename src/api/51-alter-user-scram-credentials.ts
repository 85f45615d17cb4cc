/**
 * AlterUserScramCredentials, version 0. What a login is checked against is kept in the metadata:
 * salted keys, never a password. No listener asks for a login yet, as with a Kafka of plain ones.
 */
import { planScram } from "../metadata/scram-plan.ts";
import type { Decoded } from "../protocol/api-codec.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type AlterUserScramCredentialsRequest,
  type AlterUserScramCredentialsResponse,
  alterUserScramCredentialsApi,
} from "../protocol/messages/51-alter-user-scram-credentials.ts";
import type { ApiHandler } from "./context.ts";

export const alterUserScramCredentialsHandler: ApiHandler<
  AlterUserScramCredentialsRequest,
  AlterUserScramCredentialsResponse
> = {
  codec: alterUserScramCredentialsApi,
  minVersion: 0,
  maxVersion: 0,
  async handle(context, request) {
    const { deletions, upsertions } = request;
    const { outcome, result } = await context.services.metadata.change((image) => {
      return planScram(image, deletions, upsertions);
    });
    const results = [...result].map(([user, planned]) => ({
      user,
      ...(planned.errorCode === ErrorCode.NONE ? outcome : planned),
    }));
    return { throttleTimeMs: 0, results };
  },
  failure: (request, _version, errorCode, errorMessage) => ({
    throttleTimeMs: 0,
    results: [...usersOf(request)].map((user) => ({ user, errorCode, errorMessage })),
  }),
};

function usersOf(request: Decoded<AlterUserScramCredentialsRequest>): Set<string> {
  return new Set([...request.deletions, ...request.upsertions].map(({ name }) => name));
}
