/** Writes the JSON Schema of layout files anew, from the schema that the program checks with. */
import { layoutSchema } from "./layout-schema/schema.ts";

const path = "docs/layout.schema.json";
await Bun.write(path, layoutSchema());
const { exitCode } = Bun.spawnSync(["node_modules/.bin/biome", "format", "--write", path]);
if (exitCode !== 0) throw new Error(`${path} could not be formatted`);
