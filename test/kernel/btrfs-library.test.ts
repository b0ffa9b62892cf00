import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as btrfs from "../../src/btrfs/index.ts";
import { command } from "../kit/command.ts";
import { GiB, MiB, zeroAt } from "../kit/image.ts";
import { type Disk, type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { MIRROR, PRIMARY, superblockFacts } from "../kit/superblock.ts";
import { btrfsDisk } from "../kit/volume.ts";

const sandbox = useSandbox();

function mounted(box: Sandbox): Disk & { readonly top: string } {
  const disk = btrfsDisk(box, GiB);
  return { ...disk, top: box.mount(disk.device, "top") };
}

test("readSuperblocks tells a good copy from a bad one, of an image and of its device", () => {
  const box = sandbox();
  const { image, device } = btrfsDisk(box, 300 * GiB);
  zeroAt(image, PRIMARY, 4096);
  command("blockdev", "--flushbufs", device);
  for (const path of [image, device]) {
    const copies = btrfs.readSuperblocks(path);
    expect(copies.map(({ valid }) => valid)).toEqual([false, true, true]);
    expect(copies[1]?.superblock.fsid).toBe(superblockFacts(image, MIRROR).uuid);
  }
});

test("subvolumeInfo and listSubvolumes agree with btrfs-progs, nested and with odd names", () => {
  const { top } = mounted(sandbox());
  btrfs.createSubvolume(`${top}/a b\\c`);
  mkdirSync(`${top}/a b\\c/folder/deeper`, { recursive: true });
  btrfs.createSubvolume(`${top}/a b\\c/folder/deeper/数/`);
  const listed = command("btrfs", "subvolume", "list", "-p", top);
  const wanted = [...listed.matchAll(/^ID (\d+) gen \d+ parent (\d+) .* path (.*)$/gm)].map(
    ([, id = "", parentId = "", path = ""]) => ({
      id: BigInt(id),
      parentId: BigInt(parentId),
      path,
    }),
  );
  expect([...btrfs.listSubvolumes(top)]).toEqual(wanted);
  const info = btrfs.subvolumeInfo(`${top}/a b\\c/folder/deeper/数`);
  expect(info).toMatchObject({ id: 257n, name: "数", parentId: 256n, readOnly: false });
  const { uuid } = btrfs.subvolumeInfo(`${top}/a b\\c`);
  expect(command("btrfs", "subvolume", "show", `${top}/a b\\c`)).toContain(uuid);
});

/** A name in the bytes that Linux gives it, for a shell. */
const inShell = (bytes: readonly number[]): string =>
  `$'${bytes.map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("")}'`;

test("a subvolume whose name is no UTF-8 is listed as itself, and none other is deleted", () => {
  const { top } = mounted(sandbox());
  // All three would be "n\ufffd" in a text that keeps no bytes.
  const names = [
    [0x6e, 0xff],
    [0x6e, 0xfe],
    [0x6e, 0xef, 0xbf, 0xbd],
  ] as const;
  for (const name of names) {
    command("bash", "-c", `btrfs subvolume create '${top}'/${inShell(name)}`);
  }
  const listed = btrfs.listSubvolumes(top).map(({ path }) => path);
  expect(new Set(listed).size).toBe(3);
  for (const [i, path] of listed.entries()) {
    expect(btrfs.subvolumeInfo(`${top}/${path}`)).toMatchObject({
      id: BigInt(256 + i),
      name: path,
    });
  }
  btrfs.deleteSubvolume(`${top}/${listed[0]}`);
  const left = command("bash", "-c", `cd '${top}'; for n in *; do printf %s "$n" | xxd -p; done`);
  expect(left.trim().split("\n").sort()).toEqual(["6eefbfbd", "6efe"]);
  btrfs.createSnapshot(`${top}/${listed[1]}`, `${top}/${listed[0]}`);
  expect(btrfs.listSubvolumes(top).map(({ path }) => path)).toContain(listed[0] ?? "");
});

test("a name with a NUL or half a character deletes nothing", () => {
  const { top } = mounted(sandbox());
  for (const name of ["kept", "kept\ufffd"]) btrfs.createSubvolume(`${top}/${name}`);
  for (const name of ["kept\0x", "kept\ud800", "kept\udfff"]) {
    expect(() => btrfs.deleteSubvolume(`${top}/${name}`)).toThrow(TypeError);
    expect(() => btrfs.createSubvolume(`${top}/${name}`)).toThrow(TypeError);
    expect(() => btrfs.createSnapshot(`${top}/kept`, `${top}/${name}`)).toThrow(TypeError);
  }
  expect(btrfs.listSubvolumes(top)).toHaveLength(2);
});

test("listSubvolumes gives one in a folder that is deeper than any path", () => {
  const { top } = mounted(sandbox());
  const folder = "f".repeat(255);
  const depth = 40;
  const script = `cd '${top}'; for i in $(seq ${depth}); do mkdir ${folder}; cd ${folder}; done
    btrfs subvolume create deep >/dev/null; cd deep; mkdir x; cd x; btrfs subvolume create deeper`;
  command("bash", "-c", script);
  const way = Array.from({ length: depth }, () => folder).join("/");
  expect(btrfs.listSubvolumes(top).map(({ path }) => path)).toEqual([
    `${way}/deep`,
    `${way}/deep/x/deeper`,
  ]);
});

test("listSubvolumes ends while subvolumes are moved into one another", async () => {
  const box = sandbox();
  const { top } = mounted(box);
  for (const name of ["a", "b", "c"]) btrfs.createSubvolume(`${top}/${name}`);
  const script = `cd '${top}'; echo ready
    while :; do mv a b/a; mv b c/b; mv c/b/a a; mv c a/c; mv a/c c; mv c/b b; done`;
  await box.spawnUntilReady(["bash", "-c", script]);
  const began = performance.now();
  while (performance.now() - began < 3000) {
    for (const { path } of btrfs.listSubvolumes(top)) {
      const names = path.split("/");
      expect(new Set(names).size).toBe(names.length);
    }
  }
});

test("listSubvolumes gives all of a thousand", () => {
  const { top } = mounted(sandbox());
  const name = (i: number): string => `${"long-name-".repeat(15)}${i}`;
  for (let i = 0; i < 1000; i += 1) btrfs.createSubvolume(join(top, name(i)));
  const paths = new Set(btrfs.listSubvolumes(top).map(({ path }) => path));
  expect(paths.size).toBe(1000);
  for (let i = 0; i < 1000; i += 1) expect(paths.has(name(i))).toBeTrue();
});

test("a snapshot keeps what was there, and knows whose it is", () => {
  const { top } = mounted(sandbox());
  btrfs.createSubvolume(`${top}/work`);
  writeFileSync(`${top}/work/file`, "before");
  btrfs.createSnapshot(`${top}/work`, `${top}/writable`);
  btrfs.createSnapshot(`${top}/work`, `${top}/fixed`, { readOnly: true });
  writeFileSync(`${top}/work/file`, "after");
  expect(readFileSync(`${top}/fixed/file`, "utf8")).toBe("before");
  const { uuid } = btrfs.subvolumeInfo(`${top}/work`);
  expect(btrfs.subvolumeInfo(`${top}/fixed`)).toMatchObject({ readOnly: true, parentUuid: uuid });
  expect(() => writeFileSync(`${top}/fixed/file`, "no")).toThrow("EROFS");
  writeFileSync(`${top}/writable/file`, "yes");
  btrfs.deleteSubvolume(`${top}/fixed`);
  expect(() => btrfs.subvolumeInfo(`${top}/fixed`)).toThrow(btrfs.SystemError);
});

test("resize shrinks to a number of bytes and grows to all there is", () => {
  const { device, top } = mounted(sandbox());
  expect(btrfs.resize(top, BigInt(768 * MiB))).toBe("done");
  expect(btrfs.deviceInfo(top)).toMatchObject({ path: device, totalBytes: BigInt(768 * MiB) });
  expect(btrfs.resize(top, "max")).toBe("done");
  expect(btrfs.deviceInfo(top)?.totalBytes).toBe(BigInt(GiB));
  expect(btrfs.deviceInfo(top, 7n)).toBeNull();
});

const SUBVOL_CREATE = "BTRFS_IOC_SUBVOL_CREATE";
const SNAP_CREATE = "BTRFS_IOC_SNAP_CREATE_V2";
const SNAP_DESTROY = "BTRFS_IOC_SNAP_DESTROY_V2";
const long = (letters: number): string => "x".repeat(letters);

/** A failure: what it is of, the calls, the paths from the top of the volume on, and what the error says. */
type Failure = [
  what: string,
  call: (path: string, dest: string) => unknown,
  paths: readonly [path: string, dest?: string],
  code: string,
  errno: number,
  syscall: string,
];

test.each<Failure>([
  ["a subvolume that exists", btrfs.createSubvolume, ["/there"], "EEXIST", -17, SUBVOL_CREATE],
  ["a folder that is missing", btrfs.createSubvolume, ["/no/sub"], "ENOENT", -2, "openat"],
  ["a name too long", btrfs.createSubvolume, [`/${long(256)}`], "ENAMETOOLONG", -36, SUBVOL_CREATE],
  [
    "a name longer than the ioctl's argument",
    btrfs.createSubvolume,
    [`/${long(5000)}`],
    "ENAMETOOLONG",
    -36,
    SUBVOL_CREATE,
  ],
  ["deleting what is not there", btrfs.deleteSubvolume, ["/none"], "ENOENT", -2, SNAP_DESTROY],
  ["deleting a full one", btrfs.deleteSubvolume, ["/there"], "ENOTEMPTY", -39, SNAP_DESTROY],
  ["a snapshot of nothing", btrfs.createSnapshot, ["/no", "/new"], "ENOENT", -2, "openat"],
  [
    "a snapshot over another",
    btrfs.createSnapshot,
    ["/there", "/there/inside"],
    "EEXIST",
    -17,
    SNAP_CREATE,
  ],
  ["flags of a file", btrfs.isNocow, ["/file"], "ENOTDIR", -20, "openat"],
  [
    "errors of a device that is not there",
    (path) => btrfs.deviceStats(path, 99n),
    [""],
    "ENODEV",
    -19,
    "BTRFS_IOC_GET_DEV_STATS",
  ],
  [
    "too small a size",
    (path) => btrfs.resize(path, 4096n),
    [""],
    "EINVAL",
    -22,
    "BTRFS_IOC_RESIZE",
  ],
  ["superblocks of nothing", btrfs.readSuperblocks, ["/no.img"], "ENOENT", -2, "openat"],
])("%s is an error with Node's fields", (_, call, [path, dest], code, errno, syscall) => {
  const { top } = mounted(sandbox());
  btrfs.createSubvolume(`${top}/there`);
  btrfs.createSubvolume(`${top}/there/inside`);
  writeFileSync(`${top}/file`, "");
  const given = { path: `${top}${path}`, ...(dest === undefined ? {} : { dest: `${top}${dest}` }) };
  const error = thrownBy(() => call(given.path, given.dest ?? ""));
  expect(error).toBeInstanceOf(btrfs.SystemError);
  expect(Object.fromEntries(Object.entries(error))).toEqual({
    name: "SystemError",
    code,
    errno,
    syscall,
    ...given,
  });
  expect(String(error)).toContain(code);
});

function thrownBy(call: () => unknown): Error {
  try {
    call();
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error("it did not fail");
}

test("the space of another filesystem is an error too", () => {
  expect(thrownBy(() => btrfs.spaces("/proc"))).toMatchObject({ code: "ENOTTY", path: "/proc" });
});

test("spaces are what btrfs-progs shows", () => {
  const { top } = mounted(sandbox());
  writeFileSync(`${top}/file`, crypto.getRandomValues(new Uint8Array(65536)));
  command("sync", "--file-system", top);
  const shown = command("btrfs", "filesystem", "df", "--raw", top);
  const wanted = [...shown.matchAll(/^(\w+), (\w+): total=(\d+), used=(\d+)/gm)].map(
    ([, type, profile, total, used]) =>
      [type === "GlobalReserve" ? "reserve" : type, profile, total, used].join(" ").toLowerCase(),
  );
  const found = btrfs
    .spaces(top)
    .map(
      ({ type, profile, totalBytes, usedBytes }) => `${type} ${profile} ${totalBytes} ${usedBytes}`,
    );
  expect(found.sort()).toEqual(wanted.sort());
});

test("setNocow is what lsattr shows, and is inherited by what is new", () => {
  const { top } = mounted(sandbox());
  mkdirSync(`${top}/db`);
  expect(btrfs.isNocow(`${top}/db`)).toBeFalse();
  btrfs.setNocow(`${top}/db`);
  btrfs.setNocow(`${top}/db`);
  expect(command("lsattr", "-d", `${top}/db`)).toMatch(/^\S*C/);
  writeFileSync(`${top}/db/file`, "x");
  expect(command("lsattr", `${top}/db/file`)).toMatch(/^\S*C/);
  mkdirSync(`${top}/db/inside`);
  expect(btrfs.isNocow(`${top}/db/inside`)).toBeTrue();
});

test("trim gives back what the image held", () => {
  const { image, top } = mounted(sandbox());
  writeFileSync(`${top}/file`, crypto.getRandomValues(new Uint8Array(65536)).toHex().repeat(500));
  command("sync", "--file-system", top);
  const before = heldKiB(image);
  command("rm", `${top}/file`);
  command("sync", "--file-system", top);
  expect(btrfs.trim(top)).toBeGreaterThan(50_000_000n);
  expect(heldKiB(image)).toBeLessThan(before - 40_000);
});

/** What a sparse file really takes. */
const heldKiB = (image: string): number => Number(command("du", "-k", image).split("\t")[0]);
