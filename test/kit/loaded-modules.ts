// Preloaded (`bun --preload`) into a run of the program's source: at its end writes the path of every
// module that was loaded to the file that MODULE_LOG names, a line each.
import { writeFileSync } from "node:fs";

process.on("exit", () => {
  writeFileSync(process.env.MODULE_LOG ?? "", Object.keys(require.cache).join("\n"));
});
