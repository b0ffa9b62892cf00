import { expect, test } from "bun:test";
import { agent, fails, volume } from "../kit/agent.ts";
import { tool } from "../kit/command.ts";
import { MiB } from "../kit/image.ts";
import { useSandbox } from "../kit/sandbox.ts";

/** A /proc that shows less than all of it, as in a hardened system or service. */
const sandbox = useSandbox();

/** In a PID namespace of its own; what is mounted there is seen outside, but its /proc is not. */
const within = (option: string): readonly string[] => [
  ...[tool("unshare"), "--pid", "--fork", "/bin/sh", "-c"],
  `mount -t proc -o ${option} proc /proc && { "$@"; code=$?; umount /proc; exit $code; }`,
  "sh",
];

const options = ["hidepid=2", "subset=pid"] as const;

test.each(options)("all four commands do their work where /proc has %s", async (option) => {
  const box = sandbox();
  const prefix = within(option);
  for (const disk of [
    ["--device", box.disk(300 * MiB).device],
    ["--image", box.path("new.img"), "--size", "300M"],
  ]) {
    for (const [name, outcome] of [
      ["plan", "changed"],
      ["up", "changed"],
      ["plan", "unchanged"],
      ["up", "unchanged"],
    ] as const) {
      const { report } = await volume(box, name, disk, { prefix });
      expect([name, report.error, report.outcome]).toEqual([name, null, outcome]);
    }
    const status = await agent(["volume", "status", "--check", "--root", box.root, ...disk], {
      prefix,
    });
    expect(status).toMatchObject({ exitCode: 0 });
    const { report } = await volume(box, "down", disk, { prefix });
    expect([report.error, report.outcome]).toEqual([null, "changed"]);
  }
});

test("without the kernel command line no default disk is taken", async () => {
  const box = sandbox();
  const { message } = await fails(
    volume(box, "up", [], { prefix: within("subset=pid") }),
    "unsupported",
  );
  expect(message).toContain("/proc/cmdline cannot be read");
});
