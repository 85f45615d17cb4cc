/** Text of a program, line by line, indented. */
export class Lines {
  readonly out: string[] = [];
  private depth = 0;

  add(line: string): void {
    this.out.push("  ".repeat(this.depth) + line);
  }

  open(line: string): void {
    this.add(line);
    this.depth++;
  }

  close(line = "}"): void {
    this.depth--;
    this.add(line);
  }

  /** `} else if (…) {` and the like. */
  turn(line: string): void {
    this.depth--;
    this.add(line);
    this.depth++;
  }
}
