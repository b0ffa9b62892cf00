/**
 * limit DEVICE ROOT: what `c/limit.c` does on a boot that finds its volume, call for call, in TypeScript.
 * Beside that one it shows what Bun and its calls into libc cost however little a program does. Like that
 * one it must not be let near a disk that holds something.
 */
import { dlopen, FFIType } from "bun:ffi";
import { defaultLayout } from "../src/volume/layout.ts";

const { ptr, int, u64_fast: size, i64_fast: ssize } = FFIType;
const libc = dlopen("libc.so.6", {
  open: { args: [ptr, int], returns: int },
  openat: { args: [int, ptr, int], returns: int },
  close: { args: [int], returns: int },
  read: { args: [int, ptr, size], returns: ssize },
  pread: { args: [int, ptr, size, ssize], returns: ssize },
  ioctl: { args: [int, size, ptr], returns: int },
  mount: { args: [ptr, ptr, ptr, size, ptr], returns: int },
}).symbols;

/** asm-generic/fcntl.h, linux/fs.h, linux/mount.h on x86-64 */
const O_CLOEXEC = 0o2000000;
const O_DIRECTORY = 0o200000;
const O_NOATIME = 0o1000000;
const BLKGETSIZE64 = 0x80081272;
const FS_IOC_GETFLAGS = 0x80086601;
const MS_NOATIME = 1024;
/** uapi/linux/btrfs_tree.h: where the superblock stands, and its magic in it */
const superblockOffset = 65536;
const magicOffset = 64;
const magic = "_BHRfS_M";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const cString = (text: string): Uint8Array => encoder.encode(`${text}\0`);

function must(result: number | bigint, what: string): number {
  if (Number(result) < 0) throw new Error(what);
  return Number(result);
}

const [, , device = "", root = ""] = process.argv;
const btrfs = cString("btrfs");
const mountAt = (path: string, data: string): number =>
  must(libc.mount(cString(device), cString(root + path), btrfs, MS_NOATIME, cString(data)), path);

function isMounted(): boolean {
  const table = new Uint8Array(65536);
  const fd = must(libc.open(cString("/proc/self/mountinfo"), O_CLOEXEC), "mountinfo");
  let filled = 0;
  for (;;) {
    const count = must(libc.read(fd, table.subarray(filled), table.length - filled), "mountinfo");
    if (count === 0) break;
    filled += count;
  }
  libc.close(fd);
  return decoder.decode(table.subarray(0, filled)).includes(` ${root}${defaultLayout.rawPath} `);
}

function bringUp(): void {
  const answer = new Uint8Array(8);
  const disk = must(libc.open(cString(device), O_CLOEXEC), device);
  must(libc.ioctl(disk, BLKGETSIZE64, answer), "BLKGETSIZE64");
  const head = new Uint8Array(superblockOffset + 4096);
  must(libc.pread(disk, head, head.length, 0), "pread");
  const found = head.subarray(superblockOffset + magicOffset).subarray(0, magic.length);
  if (decoder.decode(found) !== magic) throw new Error("no Btrfs");

  mountAt(defaultLayout.rawPath, defaultLayout.options);
  const top = must(libc.open(cString(root + defaultLayout.rawPath), O_DIRECTORY), "top");
  for (const { subvolume, path } of defaultLayout.entries) mountAt(path, `subvol=${subvolume}`);
  for (const {
    subvolume,
    noCopyOnWrite,
    noCopyOnWriteFiles,
    copyOnWrite,
  } of defaultLayout.entries) {
    const isInherited = (name: string): boolean =>
      noCopyOnWrite.some((directory) => name.startsWith(`${directory}/`));
    for (const name of [
      ...noCopyOnWrite,
      ...noCopyOnWriteFiles,
      ...copyOnWrite.filter(isInherited),
    ]) {
      const path = `${subvolume}/${name}`;
      const fd = must(libc.openat(top, cString(path), O_NOATIME), path);
      must(libc.ioctl(fd, FS_IOC_GETFLAGS, answer), path);
      libc.close(fd);
    }
  }
}

if (!isMounted()) bringUp();
