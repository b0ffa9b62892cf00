// `npm run release`: what is published, in dist/release: executables, Debian packages, licences, checksums.
// `npm run release -- --check`: and that a second build elsewhere makes the same bytes.
import { createHash } from "node:crypto";
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { architectures, debianNames } from "./build/architecture.ts";
import { BuildError, script } from "./build/commands.ts";
import { buildAll, executablePath } from "./build/products.ts";
import { copyright } from "./release/copyright.ts";
import { buildDeb } from "./release/deb.ts";
import { releaseTime, version } from "./release/origin.ts";
import { checkReproducible } from "./release/reproduce.ts";

const RELEASE = "dist/release";

function checksums(folder: string): string {
  const lines = readdirSync(folder)
    .sort()
    .map((name) => {
      const hash = createHash("sha256").update(readFileSync(join(folder, name)));
      return `${hash.digest("hex")}  ${name}\n`;
    });
  return lines.join("");
}

await script("release", async () => {
  const [option, ...more] = process.argv.slice(2);
  if (more.length > 0 || (option !== undefined && option !== "--check")) {
    throw new BuildError("the only option is --check");
  }
  const timeSeconds = releaseTime();
  const licences = copyright();
  await buildAll();

  const folder = `${RELEASE}.new`;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  for (const architecture of architectures) {
    const name = `arcbox-agent-${version}-linux-${architecture}`;
    copyFileSync(executablePath(architecture), join(folder, name));
    const deb = `arcbox-agent_${version}_${debianNames[architecture]}.deb`;
    buildDeb(architecture, join(folder, deb), timeSeconds);
  }
  const apache = readFileSync("LICENSE-APACHE", "utf8");
  writeFileSync(join(folder, "COPYRIGHT"), `${licences}\n${apache}`);
  const sums = checksums(folder);
  writeFileSync(join(folder, "SHA256SUMS"), sums);
  // Complete or absent.
  rmSync(RELEASE, { recursive: true, force: true });
  renameSync(folder, RELEASE);
  if (option === "--check") checkReproducible(RELEASE);
  console.log(`${sums}in ${RELEASE}, of ${new Date(timeSeconds * 1000).toISOString()}`);
});
