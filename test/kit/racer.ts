import { dlopen, FFIType } from "bun:ffi";

/**
 * Swaps two names for each other, on and on (renameat2(2), RENAME_EXCHANGE): one moment the first is a
 * directory, the next a symbolic link. Started as a process of its own: racer.ts ONE OTHER.
 */
const { symbols: libc } = dlopen("libc.so.6", {
  renameat2: {
    args: [FFIType.i32, FFIType.cstring, FFIType.i32, FFIType.cstring, FFIType.u32],
    returns: FFIType.i32,
  },
});
const AT_FDCWD = -100;
const RENAME_EXCHANGE = 2;

const [one = "", other = ""] = process.argv.slice(2).map((name) => `${name}\0`);
const swap = (): number =>
  libc.renameat2(AT_FDCWD, Buffer.from(one), AT_FDCWD, Buffer.from(other), RENAME_EXCHANGE);

let swaps = 0;
process.on("SIGTERM", () => {
  // Ends with the names as they were.
  if (swaps % 2 === 1) swap();
  console.log(swaps);
  process.exit(0);
});
console.log("ready");
while (true) {
  for (let i = 0; i < 100; i++) {
    if (swap() === 0) swaps += 1;
    // Now and then it holds still, so that a run can also get through.
    if (swaps % 7 === 0) Bun.sleepSync(0.3);
  }
  await Bun.sleep(0);
}
