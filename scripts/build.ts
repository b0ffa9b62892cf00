// `npm run build`: dist/arcbox-agent and the library's addon, for the machine that builds.
// `npm run build -- --all`: those in dist/executable and dist/addon for every architecture too.
import { BuildError, script } from "./build/commands.ts";
import { buildAll, buildOwn } from "./build/products.ts";

await script("build", async () => {
  const [option, ...more] = process.argv.slice(2);
  if (more.length > 0 || (option !== undefined && option !== "--all")) {
    throw new BuildError("the only option is --all");
  }
  await (option === "--all" ? buildAll() : buildOwn());
});
