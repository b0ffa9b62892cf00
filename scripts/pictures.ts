/** Draws the pictures of the README: `npm run pictures`, as root. The recording is a real run of the demo. */
import { diagram } from "./pictures/diagram.ts";
import { recording } from "./pictures/recording.ts";

async function demoLines(): Promise<readonly string[]> {
  const demo = Bun.spawn(["npm", "run", "--silent", "demo"], {
    env: { ...process.env, NO_COLOR: "1" },
    stdout: "pipe",
    stderr: "inherit",
  });
  const text = await new Response(demo.stdout).text();
  if ((await demo.exited) !== 0) throw new Error("the demo failed: nothing was drawn");
  // Where the project lies on this machine is nobody's business.
  return text.trim().replaceAll(process.cwd(), "/srv/arcbox-agent").split("\n");
}

await Bun.write("docs/volume.svg", diagram());
await Bun.write("docs/demo.svg", recording(await demoLines()));
