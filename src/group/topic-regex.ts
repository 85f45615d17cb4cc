export interface TopicRegex {
  matches(name: string): boolean;
}
export function compileTopicRegex(text: string): TopicRegex | string {
  const regex = new RegExp(`^(?:${text})$`, "u");
  return { matches: (name) => regex.test(name) };
}
