import { afterAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { start, up } from "../../kit/agent.ts";
import { depth } from "../../kit/depth.ts";
import { MiB } from "../../kit/image.ts";
import { everyPoint } from "../../kit/points.ts";
import { type Sandbox, useSandbox } from "../../kit/sandbox.ts";
import { traced } from "../../kit/trace.ts";
import { ourMounts, wantedMounts } from "../../kit/volume.ts";

const sandbox = useSandbox();
const MINUTES = 60_000;

/** Every signal that ends a program by default and may be held off; not SIGPWR, by which JavaScriptCore halts threads. */
const signals = [
  ..."HUP INT QUIT ILL TRAP ABRT BUS FPE USR1 SEGV USR2 PIPE ALRM TERM STKFLT".split(" "),
  ..."XCPU XFSZ VTALRM PROF IO SYS".split(" "),
  ...[32, 34, 37, 50, 64],
].map(String);

interface Case {
  readonly what: string;
  readonly action: "up" | "down";
  readonly call: "mount" | "umount2";
  /** How many calls there are. */
  readonly count: number;
  /** More that strace does to the run. */
  readonly inject: readonly string[];
  readonly isUpBefore: boolean;
}

const cases: readonly Case[] = [
  { what: "a mount of up", action: "up", call: "mount", count: 6, inject: [], isUpBefore: false },
  {
    what: "an unmount of an up that fails",
    action: "up",
    call: "umount2",
    count: 5,
    inject: ["--inject=mount:error=EIO:when=6"],
    isUpBefore: false,
  },
  {
    what: "a question or an unmount of down",
    action: "down",
    call: "umount2",
    count: 12,
    inject: [],
    isUpBefore: true,
  },
  {
    what: "a mount of a down that fails and puts back what it took",
    action: "down",
    call: "mount",
    count: 3,
    // Six questions, three unmounts, and then one that is busy for longer than anybody waits.
    inject: ["--inject=umount2:error=EBUSY:when=10+"],
    isUpBefore: true,
  },
];

let moments = 0;
afterAll(() => console.log(`a signal at ${moments} mounts and unmounts`));

async function ensure(box: Sandbox, device: string, isUp: boolean): Promise<void> {
  await start(["volume", isUp ? "up" : "down", "--root", box.root, "--device", device]).done;
  expect(ourMounts(box)).toHaveLength(isUp ? 6 : 0);
}

test.each(cases.map((one) => [one.what, one] as const))(
  "no signal at %s leaves half a volume",
  async (_what, { action, call, count, inject, isUpBefore }) => {
    const box = sandbox();
    const { device } = box.disk(300 * MiB);
    await up(box, "--device", device);
    const all = signals.flatMap((signal, index) =>
      Array.from({ length: count }, (_, place) => ({ signal, nth: place + 1 })).filter(({ nth }) =>
        depth(nth - 1 === index % count, true),
      ),
    );
    const whole = [[], wantedMounts(box.root).sort()];
    await everyPoint(
      all,
      ({ signal, nth }) => `${signal} at ${call} ${nth}`,
      async ({ signal, nth }) => {
        await ensure(box, device, isUpBefore);
        const { prefix } = traced(
          box,
          "mount,umount2",
          ...inject,
          `--inject=${call}:signal=${signal}:when=${nth}`,
        );
        const args = ["volume", action, "--root", box.root, "--device", device];
        await start(args, { prefix }).done;
        expect(whole).toContainEqual(ourMounts(box).sort());
        moments += 1;
      },
    );
    await ensure(box, device, true);
    await ensure(box, device, false);
    expect(existsSync(device)).toBeTrue();
  },
  depth(4, 60) * MINUTES,
);
