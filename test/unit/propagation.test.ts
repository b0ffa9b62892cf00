import { describe, expect, test } from "bun:test";
import type { Mount } from "../../src/linux/mountinfo.ts";
import { layersOf } from "../../src/volume/overlay.ts";
import { goesWith } from "../../src/volume/propagation.ts";

const mount = (values: Partial<Mount>): Mount => ({
  id: 1,
  parentId: 0,
  device: "0:40",
  root: "/@docker",
  path: "/var/lib/docker",
  options: ["rw"],
  peerGroup: null,
  master: null,
  type: "btrfs",
  source: "/dev/vdb",
  superOptions: ["rw"],
  ...values,
});

describe("an unmount takes along what hangs on the same directory of a peer or a slave", () => {
  const tree = mount({ device: "8:1", root: "/", path: "/", peerGroup: 1, type: "ext4" });
  const own = { mount: mount({ id: 10 }), parent: tree };
  const bound = { ...tree, path: "/mnt" };
  const copy = mount({ id: 20, path: "/mnt/var/lib/docker" });

  test.each([
    ["a peer", bound, copy, true],
    ["a slave", { ...bound, peerGroup: null, master: 1 }, copy, true],
    ["a private mount of the same tree", { ...bound, peerGroup: null }, copy, false],
    ["another peer group", { ...bound, peerGroup: 2 }, copy, false],
    ["a peer, on another directory", bound, { ...copy, path: "/mnt/var/lib/docker2" }, false],
    ["a peer, another subvolume", bound, { ...copy, root: "/@cni" }, false],
    ["a peer, another filesystem", bound, { ...copy, device: "0:41" }, false],
    [
      "a peer that shows a part of the tree",
      { ...bound, root: "/var" },
      { ...copy, path: "/mnt/lib/docker" },
      true,
    ],
    [
      "a peer whose path only begins alike",
      { ...bound, path: "/mn" },
      { ...copy, path: "/mn/var/lib/docker" },
      true,
    ],
    ["a parent that is not in the table", undefined, copy, false],
  ] as const)("%s", (_what, parent, other, goes) => {
    expect(goesWith({ mount: other, parent }, own)).toBe(goes);
  });

  test("a private parent takes nothing along", () => {
    const alone = { ...own, parent: { ...tree, peerGroup: null } };
    expect(goesWith({ mount: copy, parent: { ...bound, master: 1 } }, alone)).toBeFalse();
  });
});

describe("the layers of an overlay", () => {
  test.each([
    ["lowerdir=/a:/b", ["/a", "/b"]],
    ["lowerdir=/a::/data", ["/a", "/data"]],
    ["lowerdir=/a b\\:c\\,d\\\\e:/f", ["/a b:c,d\\e", "/f"]],
    ["lowerdir=l/ONE:l/TWO", ["l/ONE", "l/TWO"]],
    ["lowerdir+=/a b:c,d\\e", ["/a b:c,d\\e"]],
    ["datadir+=/a", ["/a"]],
    ["upperdir=/a:b", ["/a:b"]],
    ["workdir=/w", ["/w"]],
    ["lowerdir=", []],
    ["redirect_dir=on", []],
  ] as const)("%s", (option, layers) => {
    expect(layersOf({ superOptions: ["rw", option, "uuid=on"] })).toEqual([...layers]);
  });
});
