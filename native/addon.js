// Loads the seam into Node or Bun: `#native` of package.json. In JavaScript, because Node has to read it.
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

function load() {
  const { platform, arch } = process;
  const path = fileURLToPath(new URL(`../dist/addon/${platform}-${arch}.node`, import.meta.url));
  try {
    return createRequire(import.meta.url)(path);
  } catch (cause) {
    throw new Error(
      `arcbox-agent runs on Linux with glibc, on x64 and arm64; this is ${platform}-${arch}: ${cause.message}`,
      { cause },
    );
  }
}

export const {
  addressModulo,
  architecture,
  areEqual,
  argument,
  decode,
  encode,
  environment,
  firstNonZero,
  pageBytes,
  spawn,
  syscall,
} = load();
