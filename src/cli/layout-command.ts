import type { Kernel } from "../linux/kernel.ts";
import { defaultLayout } from "../volume/layout.ts";
import { layoutFileOf, readLayout } from "../volume/layout-file.ts";
import { parseLayoutCommand } from "./arguments.ts";
import { layoutHelp } from "./help.ts";
import { json } from "./render.ts";
import { print } from "./terminal.ts";

/** `arcbox-agent layout`: prints the layout in force as the file that would give it. */
export function layoutCommand(kernel: Kernel, argv: readonly string[]): number {
  if (argv.includes("--help") || argv.includes("-h")) {
    print(kernel, 1, layoutHelp);
    return 0;
  }
  const path = parseLayoutCommand(argv);
  const layout = path === undefined ? defaultLayout : readLayout(kernel, path);
  print(kernel, 1, json(layoutFileOf(layout)));
  return 0;
}
