import { ProtocolError } from "../lib/errors.ts";

export const noAuthorizer = "No Authorizer is configured";

interface Filter {
  readonly resourceTypeFilter: number;
  readonly patternTypeFilter: number;
  readonly operation: number;
  readonly permissionType: number;
}

interface Rule {
  readonly resourceType: number;
  readonly resourcePatternType: number;
  readonly operation: number;
  readonly permissionType: number;
}

/** Throws ProtocolError for a filter with an element of the type "unknown". */
export function checkFilter(filter: Filter): void {
  refuseUnknown(filter, [filter.resourceTypeFilter, filter.patternTypeFilter]);
}

/** Throws ProtocolError for a rule with an element of the type "unknown". */
export function checkRule(rule: Rule): void {
  refuseUnknown(rule, [rule.resourceType, rule.resourcePatternType]);
}

function refuseUnknown(
  { operation, permissionType }: { operation: number; permissionType: number },
  types: readonly number[],
): void {
  if ([operation, permissionType, ...types].includes(0)) {
    throw new ProtocolError("an access rule names the unknown type, pattern or operation");
  }
}
