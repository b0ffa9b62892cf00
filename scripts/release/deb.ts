import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type Architecture, debianNames } from "../build/architecture.ts";
import { run, runBytes } from "../build/commands.ts";
import { executablePath, ownExecutable } from "../build/products.ts";
import { copyright } from "./copyright.ts";
import { version } from "./origin.ts";

const AGENT = "usr/sbin/arcbox-agent";

interface Content {
  readonly bytes: Uint8Array;
  readonly mode: number;
}

const plain = (bytes: Uint8Array | string): Content => ({ bytes: Buffer.from(bytes), mode: 0o644 });
const program = (path: string): Content => ({ bytes: readFileSync(path), mode: 0o755 });
const shipped = (name: string): string => readFileSync(join("packaging/deb", name), "utf8");

function packed(text: string): Content {
  return plain(runBytes(["gzip", "--best", "--no-name", "--stdout"], text));
}

/** Debian's form of a list of changes, with one entry: this release. */
function changelog(timeSeconds: number): string {
  const date = new Date(timeSeconds * 1000).toUTCString().replace("GMT", "+0000");
  const [, maintainer] = /^Maintainer: (.*)$/m.exec(shipped("control")) ?? [];
  return `arcbox-agent (${version}) unstable; urgency=medium

  * Release ${version}.

 -- ${maintainer}  ${date}
`;
}

/** Where the package puts its unit, its program is elsewhere than where one by hand puts it. */
function unit(): string {
  const text = readFileSync("packaging/arcbox-data.service", "utf8");
  return text.replaceAll("/usr/local/bin/arcbox-agent", `/${AGENT}`);
}

const completion = (shell: string): Content => plain(run(ownExecutable, "completion", shell));

/** The files of the package, by their paths. */
function contents(architecture: Architecture, timeSeconds: number): ReadonlyMap<string, Content> {
  const doc = "usr/share/doc/arcbox-agent";
  return new Map([
    [AGENT, program(executablePath(architecture))],
    ["usr/lib/systemd/system/arcbox-data.service", plain(unit())],
    ["usr/lib/systemd/system-preset/50-arcbox-agent.preset", plain(shipped("arcbox-agent.preset"))],
    ["usr/share/man/man8/arcbox-agent.8.gz", packed(readFileSync("man/arcbox-agent.8", "utf8"))],
    ["usr/share/bash-completion/completions/arcbox-agent", completion("bash")],
    ["usr/share/zsh/vendor-completions/_arcbox-agent", completion("zsh")],
    ["usr/share/fish/vendor_completions.d/arcbox-agent.fish", completion("fish")],
    ["usr/share/lintian/overrides/arcbox-agent", plain(shipped("lintian-overrides"))],
    [`${doc}/README.Debian`, plain(shipped("README.Debian"))],
    // What the hint of a layout with a mistake names.
    [`${doc}/layouts.md`, plain(readFileSync("docs/layouts.md", "utf8"))],
    [`${doc}/layout.schema.json`, plain(readFileSync("docs/layout.schema.json", "utf8"))],
    ...["nerdctl.json", "podman.json"].map(
      (name) => [`${doc}/layouts/${name}`, plain(readFileSync(`docs/layouts/${name}`))] as const,
    ),
    [`${doc}/changelog.gz`, packed(changelog(timeSeconds))],
    [`${doc}/copyright`, plain(copyright())],
  ]);
}

/** What dpkg reads: the description, the scripts and the checksums. */
function control(
  architecture: Architecture,
  files: ReadonlyMap<string, Content>,
): ReadonlyMap<string, Content> {
  const sizes = [...files.values()].map(({ bytes }) => Math.ceil(bytes.length / 1024));
  const kibibytes = sizes.reduce((sum, size) => sum + size, 0);
  const sums = [...files].map(
    ([path, { bytes }]) => `${createHash("md5").update(bytes).digest("hex")}  ${path}\n`,
  );
  const description = shipped("control")
    .replace("@VERSION@", version)
    .replace("@ARCHITECTURE@", debianNames[architecture])
    .replace("@KIBIBYTES@", `${kibibytes}`);
  return new Map([
    ["control", plain(description)],
    ["md5sums", plain(sums.join(""))],
    ...["postinst", "prerm", "postrm"].map(
      (name) => [name, program(join("packaging/deb", name))] as const,
    ),
  ]);
}

/** Folders and files of fixed rights, whatever the umask. */
function put(root: string, path: string, { bytes, mode }: Content): void {
  const file = join(root, path);
  mkdirSync(dirname(file), { recursive: true });
  for (let folder = dirname(file); folder.length >= root.length; folder = dirname(folder)) {
    chmodSync(folder, 0o755);
  }
  writeFileSync(file, bytes);
  chmodSync(file, mode);
}

/** Builds the Debian package for an architecture. */
export function buildDeb(architecture: Architecture, target: string, timeSeconds: number): void {
  const root = mkdtempSync(join(tmpdir(), "arcbox-deb-"));
  try {
    const files = contents(architecture, timeSeconds);
    for (const [path, content] of files) put(root, path, content);
    for (const [name, content] of control(architecture, files))
      put(root, `DEBIAN/${name}`, content);
    // The number of threads decides how xz divides its input.
    const options = ["--root-owner-group", "-Zxz", "--threads-max=1"];
    run("env", `SOURCE_DATE_EPOCH=${timeSeconds}`, "dpkg-deb", ...options, "--build", root, target);
  } finally {
    rmSync(root, { recursive: true });
  }
}
