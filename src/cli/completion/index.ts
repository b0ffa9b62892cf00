import { bash } from "./bash.ts";
import type { Shell } from "./commands.ts";
import { fish } from "./fish.ts";
import { zsh } from "./zsh.ts";

export { shells } from "./commands.ts";

export const completionScripts: Record<Shell, () => string> = { bash, zsh, fish };
