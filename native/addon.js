// Loads the seam into Node or Bun: `#native` of package.json. In JavaScript, because Node has to read it.
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

/** One sentence for each reason why there is no seam here. */
function load() {
  const { platform, arch } = process;
  if (platform !== "linux" || !["x64", "arm64"].includes(arch)) {
    throw new Error(
      `arcbox-agent runs on Linux on x64 and arm64, and this is ${platform} on ${arch}`,
    );
  }
  const path = fileURLToPath(new URL(`../dist/addon/linux-${arch}.node`, import.meta.url));
  if (!existsSync(path)) {
    throw new Error(`arcbox-agent is not whole, because ${path} is missing: install it anew`);
  }
  try {
    return createRequire(import.meta.url)(path);
  } catch ({ message }) {
    const [reason] = message.split("\n");
    throw new Error(
      `arcbox-agent as a library needs glibc, and its addon does not load here: ${reason}`,
    );
  }
}

const native = load();

export const {
  addressModulo,
  architecture,
  argument,
  crc32c,
  decode,
  encode,
  firstNonZero,
  holdsAt,
  pageBytes,
  spawn,
  syscall,
} = native;

const text = new TextDecoder();

/**
 * A variable as `process.env` has it now, which is not always what getenv(3) says: Bun and worker threads keep
 * changes to themselves. The bytes are those that the process was started with, as long as they mean the same.
 */
export function environment(name) {
  const inherited = native.environment(name);
  const value = process.env[name];
  if (value === undefined) return null;
  return inherited !== null && text.decode(inherited) === value ? inherited : encode(value);
}
