import { toJsonSchema } from "@valibot/to-json-schema";
import { layoutFileSchema } from "../../src/volume/layout-file.ts";

/**
 * docs/layout.schema.json. What JSON Schema cannot say (lengths in bytes, well-formed text) is
 * left to the program, which checks a file in full.
 */
export function layoutSchema(): string {
  const { $schema, ...schema } = toJsonSchema(layoutFileSchema, {
    typeMode: "input",
    errorMode: "ignore",
  });
  const title = "Layout of an arcbox-agent data volume";
  return `${JSON.stringify({ $schema, title, ...schema }, null, 2)}\n`;
}
