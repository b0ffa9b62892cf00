/** Writes the JSON Schema of layout files anew, from the schema that the program checks with. */
import { layoutSchema } from "./layout-schema/schema.ts";

await Bun.write("docs/layout.schema.json", layoutSchema());
