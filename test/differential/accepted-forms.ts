import type { IntendedPair } from "./differences.ts";

/** What stands often on one side of an intended difference. */
export const unknownError = "UNKNOWN_SERVER_ERROR";
export const closed = /"connection":"[^"]*closed the connection"/;
export const noAnswer = /"connection":"no answer"/;
export const anAnswer = /^\{(?!"connection")/;

/** chronik says why, Kafka leaves the text out. */
export const saysWhy = (path: string): IntendedPair => [path, null, "<text>"];
