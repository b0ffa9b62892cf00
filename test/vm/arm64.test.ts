import { expect, setDefaultTimeout, test } from "bun:test";
import { succeeds } from "../kit/agent.ts";
import { GiB } from "../kit/image.ts";
import { useSandbox } from "../kit/sandbox.ts";
import { superblockFacts } from "../kit/superblock.ts";
import { GUEST_LIMIT_MS, Guest } from "../kit/vm/guest.ts";
import { arm64Machine } from "../kit/vm/machine.ts";

const sandbox = useSandbox();
setDefaultTimeout(GUEST_LIMIT_MS);

test("the executable for arm64 formats, mounts and unmounts a disk and an image on arm64", async () => {
  const box = sandbox();
  const image = box.image(GiB);
  const guest = await Guest.boot(box, [{ image }], "", arm64Machine);
  expect(await guest.output("uname -m; arcbox-agent --version")).toMatch(
    /^aarch64\narcbox-agent \S+\n$/,
  );
  const disk = ["--device", "/dev/vdb"];
  expect(await succeeds(guest.volume("plan", ...disk))).toMatchObject({ verdict: "blank" });
  const report = await succeeds(guest.volume("up", ...disk));
  expect(report).toMatchObject({ verdict: "blank", outcome: "changed" });
  expect(await succeeds(guest.volume("up", ...disk))).toMatchObject({ outcome: "unchanged" });
  const status = await guest.output("arcbox-agent volume status --json --device /dev/vdb");
  expect(JSON.parse(status)).toMatchObject({ state: "up", problems: [] });
  await guest.output("echo kept >/var/lib/docker/file");
  await succeeds(guest.volume("down", ...disk));

  const file = ["--image", "/tmp/data.img", "--root", "/tmp/root"];
  const made = succeeds(guest.volume("up", ...file, "--size", "512M"));
  expect(await made).toMatchObject({ outcome: "changed" });
  await succeeds(guest.volume("down", ...file));

  await succeeds(guest.volume("up", ...disk));
  expect(await guest.output("cat /var/lib/docker/file")).toBe("kept\n");
  await succeeds(guest.volume("down", ...disk));
  await guest.cut();
  expect(superblockFacts(image).uuid).toBe(report.uuid ?? "none");
});
