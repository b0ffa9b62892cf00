import { describe, expect, test } from "bun:test";
import type { Mount } from "../../src/linux/mountinfo.ts";
import { deviationsOf, optionsDeviation } from "../../src/volume/options-in-force.ts";

const mount = (superOptions: string, others: Partial<Mount> = {}): Mount => ({
  id: 1,
  parentId: 0,
  device: "0:40",
  root: "/",
  path: "/run/arcbox/data",
  options: ["rw", "noatime"],
  type: "btrfs",
  peerGroup: null,
  master: null,
  source: "/dev/vdb",
  superOptions: superOptions.split(","),
  ...others,
});

/** "in force instead of wanted" for each that differs. */
const differing = (wanted: string, inForce: string): readonly string[] =>
  optionsDeviation({ options: wanted }, mount(inForce))?.message.split(": ")[1]?.split(", ") ?? [];

describe("options as the kernel shows them are those that were asked for", () => {
  // Each pair was seen on Linux 6.18.
  test.each([
    [
      "compress=zstd:1,discard=async",
      "rw,compress=zstd:1,discard=async,space_cache=v2,subvolid=5,subvol=/",
    ],
    ["compress=zstd:1,discard=async", "rw,ssd,compress=zstd:1,discard=async,space_cache=v2"],
    ["compress", "rw,compress=zlib:3,discard=async"],
    ["compress=zstd", "rw,compress=zstd:3"],
    ["compress=zstd:99", "rw,compress=zstd:15"],
    ["compress=zstd:-3", "rw,compress=zstd:-3"],
    ["compress-force", "rw,compress-force=zlib:3"],
    ["compress=no", "rw"],
    ["", "rw,discard=async,space_cache=v2"],
    ["", "rw,space_cache=v2"],
    ["discard", "rw,discard"],
    ["nodiscard", "rw"],
    ["nodatacow", "rw,nodatasum,nodatacow,discard=async"],
    ["compress=zstd,nodatacow", "rw,nodatasum,nodatacow"],
    ["nodatacow,compress=zstd", "rw,compress=zstd:3"],
    ["nodatacow,datasum", "rw"],
    ["nodatacow,datacow", "rw,nodatasum"],
    ["compress=zstd,nodatasum", "rw,nodatasum,compress=zstd:3"],
    ["commit=30,max_inline=2048", "rw"],
    ["thread_pool=3,nossd,user_subvol_rm_allowed,metadata_ratio=3", "rw"],
  ])("%s: %s", (wanted, inForce) => {
    expect(differing(wanted, inForce)).toEqual([]);
  });
});

describe("and others are told", () => {
  test.each([
    ["compress=zstd:9", "rw,compress=zstd:1", ["compress=zstd:1 instead of compress=zstd:9"]],
    ["compress=zstd:1", "rw", ["compress=no instead of compress=zstd:1"]],
    ["", "rw,compress=lzo", ["compress=lzo instead of compress=no"]],
    [
      "compress=zstd",
      "rw,compress-force=zstd:3",
      ["compress-force=zstd:3 instead of compress=zstd:3"],
    ],
    ["discard=async", "rw", ["nodiscard instead of discard=async"]],
    ["discard=async", "rw,discard", ["discard=sync instead of discard=async"]],
    [
      "",
      "rw,nodatasum,nodatacow",
      ["nodatacow instead of datacow", "nodatasum instead of datasum"],
    ],
    ["commit=120", "rw", ["commit=30 instead of commit=120"]],
    ["noacl", "rw", ["acl instead of noacl"]],
  ] as const)("%s, %s", (wanted, inForce, expected) => {
    expect(differing(wanted, inForce)).toEqual([...expected]);
  });
});

const docker = {
  subvolume: "@docker",
  path: "/var/lib/docker",
  relativePath: "var/lib/docker",
  parentMode: 0o755,
};
const dockerMount = (...options: readonly string[]) =>
  mount("rw", { root: "/@docker", path: docker.path, options: ["rw", ...options] });

test("of two mounts one over the other, the uppermost is what counts", () => {
  const layout = { options: "" };
  const [open, closed] = [dockerMount("noatime"), dockerMount("noexec", "noatime")];
  expect(deviationsOf(layout, [closed, open], [docker])).toEqual([]);
  expect(deviationsOf(layout, [open, closed], [docker])).toMatchObject([{ of: "mount" }]);
});

test("mounts at other places, and of other subvolumes, are nobody's business", () => {
  const elsewhere = mount("rw", { path: "/mnt", options: ["rw", "noexec"] });
  const snapshot = mount("rw", { root: "/@docker-old", path: docker.path, options: ["ro"] });
  expect(deviationsOf({ options: "" }, [elsewhere, snapshot], [docker])).toEqual([]);
  expect(deviationsOf({ options: "" }, [], [docker])).toEqual([]);
});
