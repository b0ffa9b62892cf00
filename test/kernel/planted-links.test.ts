import { expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { agent, down, fails, plan, up, volume } from "../kit/agent.ts";
import { command } from "../kit/command.ts";
import { fingerprint, GiB } from "../kit/image.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";
import { expectMounted, ourMounts } from "../kit/volume.ts";

const sandbox = useSandbox();
const nobody = 65534;

/** A folder `real`, and a link to it at `link` in a folder of its own. */
interface Way {
  readonly link: string;
  readonly real: string;
}

function wayIn(box: Sandbox, how: (folder: string, link: string) => void): Way {
  const real = box.folder("real");
  const link = `${box.folder("home")}/link`;
  symlinkSync(real, link);
  how(box.path("home"), link);
  return { link, real };
}

type Plant = readonly [string, (folder: string, link: string) => void];

const planted: readonly Plant[] = [
  [
    "a user's own link in the user's folder",
    (folder, link) => {
      chownSync(folder, nobody, nobody);
      lchownSync(link, nobody, nobody);
    },
  ],
  ["a link of root's in a user's folder", (folder) => chownSync(folder, nobody, nobody)],
  ["a user's link in root's folder", (_, link) => lchownSync(link, nobody, nobody)],
  ["a link of root's where everybody may write", (folder) => chmodSync(folder, 0o777)],
  ["a link of root's where its group may write", (folder) => chmodSync(folder, 0o775)],
  [
    "a user's link in a sticky folder",
    (folder, link) => {
      chmodSync(folder, 0o1777);
      lchownSync(link, nobody, nobody);
    },
  ],
];

const trusted: readonly Plant[] = [
  ["root's in root's folder", () => {}],
  ["root's in a sticky folder", (folder) => chmodSync(folder, 0o1777)],
];

test.each(planted)("%s on the way to --image is not followed", async (_, how) => {
  const box = sandbox();
  const { link, real } = wayIn(box, how);
  const image = box.image(GiB, "real/data.img");
  const before = fingerprint(image);
  for (const verb of ["plan", "up", "status", "down"] as const) {
    const args = ["volume", verb, "--image", `${link}/data.img`, "--root", box.root];
    const { stderr, exitCode } = await agent(args);
    expect(exitCode).toBe(2);
    expect(stderr).toContain(link);
    expect(stderr).toContain(`--image ${real}/data.img`);
  }
  await fails(volume(box, "up", ["--image", `${link}/new.img`, "--size", "1G"]), "usage");
  expect(readdirSync(real)).toEqual(["data.img"]);
  expect(fingerprint(image)).toBe(before);
  // The hint, done.
  await up(box, "--image", `${real}/data.img`);
});

test.each(planted)("%s on the way to --root is not followed", async (_, how) => {
  const box = sandbox();
  const { link, real } = wayIn(box, how);
  const { device } = box.disk(GiB);
  for (const root of [link, `${link}/new/root`]) {
    for (const verb of ["plan", "up"] as const) {
      const { message, hint } = await fails(
        volume(box, verb, ["--device", device, "--root", root]),
        "usage",
      );
      expect(message).toContain(link);
      expect(hint).toContain(`--root ${root.replace(link, real)}`);
    }
  }
  expect(readdirSync(real)).toEqual([]);
  expect(ourMounts(box)).toEqual([]);
});

test.each(planted)("%s on the way to --layout is not followed", async (_, how) => {
  const box = sandbox();
  const { link, real } = wayIn(box, how);
  writeFileSync(`${real}/layout.json`, '{"subvolumes":[{"name":"@a","path":"/srv/a"}]}');
  const { stderr, exitCode } = await agent(["layout", "--layout", `${link}/layout.json`]);
  expect(exitCode).toBe(2);
  expect(stderr).toContain(`--layout ${real}/layout.json`);
  expect((await agent(["layout", "--layout", `${real}/layout.json`])).exitCode).toBe(0);
});

test.each(trusted)("a link that is %s is followed, wherever it stands", async (_, how) => {
  const box = sandbox();
  const { link, real } = wayIn(box, how);
  mkdirSync(`${real}/deep`);
  // One more, relative and up again.
  symlinkSync("../home/link/deep/..", box.path("real", "again"));
  const layout = `${link}/again/layout.json`;
  writeFileSync(`${real}/layout.json`, '{"subvolumes":[{"name":"@a","path":"/srv/a"}]}');
  symlinkSync("layout.json", `${real}/latest.json`);
  for (const file of [layout, `${link}/latest.json`]) {
    expect((await agent(["layout", "--layout", file])).exitCode).toBe(0);
  }
  const args = ["--image", `${link}/again/data.img`, "--root", `${link}/again/root`] as const;
  await up(box, ...args, "--size", "1G");
  expectMounted(`${real}/root`);
  expect((await plan(box, ...args)).outcome).toBe("unchanged");
  await down(box, ...args);
  expect(readdirSync(real).sort()).toEqual([
    ...["again", "data.img", "deep", "latest.json", "layout.json", "root"],
  ]);
});

test("the links of the system itself are followed: /var/run, /proc/self", async () => {
  const box = sandbox();
  const folder = "/var/run/arcbox-links";
  mkdirSync("/run/arcbox-links", { recursive: true });
  box.onEnd(() => command("rm", "-rf", "/run/arcbox-links"));
  expect(command("readlink", "/var/run").trim()).toBe("/run");
  const { notes } = await up(box, "--image", `${folder}/data.img`, "--size", "1G");
  expect(notes.filter((note) => note.includes("on the way"))).toBeEmpty();
  await down(box, "--image", `${folder}/data.img`);
  await up(box, "--image", `/proc/self/root/run/arcbox-links/data.img`);
  await down(box, "--image", `${folder}/data.img`);
});

test("links that go round and round are an error, not a hang", async () => {
  const box = sandbox();
  symlinkSync(box.path("b"), box.path("a"));
  symlinkSync(box.path("a"), box.path("b"));
  const { device } = box.disk(GiB);
  await fails(volume(box, "up", ["--image", box.path("a", "data.img"), "--size", "1G"]), "usage");
  await fails(volume(box, "up", ["--device", device, "--root", box.path("a")]), "usage");
  const args = ["layout", "--layout", box.path("a")];
  expect((await agent(args)).exitCode).toBe(2);
});

test.each([
  ["belongs to another user", (folder: string) => chownSync(folder, nobody, nobody), "chown root"],
  ["is open to others", (folder: string) => chmodSync(folder, 0o777), "chmod go-w"],
])(
  "a folder on the way to an image that %s is a note with what helps",
  async (_, change, remedy) => {
    const box = sandbox();
    mkdirSync(box.path("home", "images"), { recursive: true });
    change(box.path("home"));
    const args = ["--image", box.path("home", "images", "data.img"), "--size", "1G"] as const;
    const about = (notes: readonly string[]) => notes.filter((note) => note.includes("on the way"));
    const { notes } = await up(box, ...args);
    expect(about(notes)).toHaveLength(1);
    expect(about(notes)[0]).toContain(`${remedy} ${box.path("home")}`);
    expect(about((await plan(box, ...args)).notes)).toHaveLength(1);
    command(...(remedy.split(" ") as [string, string]), box.path("home"));
    expect(about((await plan(box, ...args)).notes)).toBeEmpty();
  },
);
