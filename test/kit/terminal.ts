import { tool } from "./command.ts";

/** What stands before a command line so that it runs on a terminal of this width (script(1)). */
export const onTerminal = (columns: number): readonly string[] => [
  tool("bash"),
  "-c",
  `exec '${tool("script")}' -qec "stty cols ${columns}; \${*@Q}" /dev/null`,
  "bash",
];

/** Without colours and the like: ECMA-48 control sequences. */
export const withoutEscapes = (text: string): string => Bun.stripANSI(text);
