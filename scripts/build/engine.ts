import { join } from "node:path";
import { slowly } from "./commands.ts";
import { engineSource } from "./sources.ts";
import type { Toolchain } from "./toolchain.ts";

/** All of QuickJS-ng but its own programs. */
export const engineFiles = ["quickjs.c", "libregexp.c", "libunicode.c", "dtoa.c"];

/** The engine's object files: compiled once, which takes half a minute. */
export const engineObjects = (tools: Toolchain): Promise<string[]> =>
  slowly(
    `compiling the engine for ${tools.architecture}`,
    tools.compile(
      engineFiles.map((file) => join(engineSource(), file)),
      "engine",
    ),
  );
