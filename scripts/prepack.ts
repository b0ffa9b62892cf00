// `npm pack` and `npm publish` run it first: makes all that the package has, for every architecture.
import { writeFileSync } from "node:fs";
import { script } from "./build/commands.ts";
import { buildAll } from "./build/products.ts";
import { copyright } from "./release/copyright.ts";

await script("prepack", async () => {
  const licences = copyright();
  await buildAll();
  writeFileSync("dist/COPYRIGHT", licences);
});
