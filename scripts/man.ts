/** Writes the man page anew, from the tables of the command line. */
import { manPage } from "./man/page.ts";

await Bun.write("man/arcbox-agent.8", manPage());
