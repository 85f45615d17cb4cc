/**
 * DescribeUserScramCredentials, version 0: mechanisms and iterations, never a key. Null or no users
 * mean all; a user named twice fails (DUPLICATE_RESOURCE).
 */
import type { ScramCredential } from "../metadata/image.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import {
  type DescribeUserScramCredentialsRequest,
  type DescribeUserScramCredentialsResponse,
  type DescribeUserScramCredentialsResponseDescribeUserScramCredentialsResult,
  describeUserScramCredentialsApi,
} from "../protocol/messages/50-describe-user-scram-credentials.ts";
import type { ApiHandler } from "./context.ts";
import { namedTwice } from "./named-twice.ts";

type Result = DescribeUserScramCredentialsResponseDescribeUserScramCredentialsResult;

export const describeUserScramCredentialsHandler: ApiHandler<
  DescribeUserScramCredentialsRequest,
  DescribeUserScramCredentialsResponse
> = {
  codec: describeUserScramCredentialsApi,
  minVersion: 0,
  maxVersion: 0,
  handle(context, request) {
    const byUser = new Map<string, ScramCredential[]>();
    for (const credential of context.services.metadata.image.scramCredentials.values()) {
      const others = byUser.get(credential.user) ?? [];
      byUser.set(credential.user, others);
      others.push(credential);
    }
    const named = request.users?.map(({ name }) => name) ?? [];
    const twice = namedTwice(named);
    const users = named.length === 0 ? [...byUser.keys()] : [...new Set(named)];
    const results = users.map((user) => describe(user, byUser.get(user) ?? [], twice.has(user)));
    return { throttleTimeMs: 0, errorCode: ErrorCode.NONE, errorMessage: "", results };
  },
  failure: (_request, _version, errorCode, errorMessage) => {
    return { throttleTimeMs: 0, errorCode, errorMessage, results: [] };
  },
};

function describe(user: string, credentials: readonly ScramCredential[], twice: boolean): Result {
  if (twice) {
    const text = `Cannot describe SCRAM credentials for the same user twice in a single request: `;
    return failed(user, ErrorCode.DUPLICATE_RESOURCE, text + user);
  }
  if (credentials.length === 0) {
    const text = "Attempt to describe a user credential that does not exist: ";
    return failed(user, ErrorCode.RESOURCE_NOT_FOUND, text + user);
  }
  const credentialInfos = credentials
    .map(({ mechanism, iterations }) => ({ mechanism, iterations }))
    .sort((left, right) => left.mechanism - right.mechanism);
  return { user, errorCode: ErrorCode.NONE, errorMessage: null, credentialInfos };
}

function failed(user: string, errorCode: number, errorMessage: string): Result {
  return { user, errorCode, errorMessage, credentialInfos: [] };
}
