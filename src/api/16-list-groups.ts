/**
 * ListGroups, v0 to v5: all groups with their protocol types; v4 brought states and a filter by
 * state, v5 types and a filter by type. Filters ignore case; what matches no name lists nothing.
 * All groups are of type classic.
 */
import {
  type ListGroupsRequest,
  type ListGroupsResponse,
  listGroupsApi,
} from "../protocol/messages/16-list-groups.ts";
import type { ApiHandler } from "./context.ts";

export const listGroupsHandler: ApiHandler<ListGroupsRequest, ListGroupsResponse> = {
  codec: listGroupsApi,
  minVersion: 0,
  maxVersion: 5,
  async handle(context, request) {
    const { errorCode, groups } = await context.services.groups.listGroups();
    const states = filterOf(request.statesFilter);
    const types = filterOf(request.typesFilter);
    const listed = groups.filter((group) => states(group.state) && types(group.type));
    return {
      errorCode,
      groups: listed.map(({ groupId, protocolType, state, type }) => ({
        groupId,
        protocolType,
        groupState: state,
        groupType: type,
      })),
    };
  },
  failure: (_request, _version, errorCode) => ({ errorCode, groups: [] }),
};

function filterOf(wanted: readonly string[]): (name: string) => boolean {
  const names = new Set(wanted.map((name) => name.trim().toLowerCase()));
  return (name) => names.size === 0 || names.has(name.toLowerCase());
}
