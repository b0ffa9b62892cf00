import { afterAll, expect, test } from "bun:test";
import { depth } from "../../kit/depth.ts";
import { callsOf, disturb } from "../../kit/inject.ts";
import { everyPoint, sample } from "../../kit/points.ts";
import { useSandbox } from "../../kit/sandbox.ts";
import { expectRecovers, writeLate } from "../../kit/soundness.ts";
import { downStages, stageOf, unmountAll, upStages } from "../../kit/stages.ts";

const sandbox = useSandbox();

/**
 * What a killed run leaves changes only by its system calls, so between two of them there is just one
 * state to be killed in. strace sends SIGKILL at the entry of a call and the kernel then leaves the call
 * undone; "after a call" is therefore "before the next".
 */
const killed = "signal=KILL";

/** With the mounts of the killed run still there, and as after a reboot of the machine. */
const variants = ["as it is left", "unmounted"] as const;

const MINUTES = 60_000;

let kills = 0;
afterAll(() => console.log(`killed at ${kills} points`));

test.each([...upStages, ...downStages])(
  "killed at any system call on %s, the next run finishes the work",
  async (name) => {
    const stage = await stageOf(sandbox(), name);
    const points = sample(await callsOf(stage), depth(2, Number.POSITIVE_INFINITY));
    const trials = points.flatMap((call, index) =>
      variants
        .filter((_, place) => depth(place === index % variants.length, true))
        .map((variant) => ({ call, variant })),
    );
    await everyPoint(
      trials,
      ({ call, variant }) => `${variant}, ${call.label} ${call.occurrence}`,
      async ({ call, variant }) => {
        const { exitCode, stdout } = await disturb(stage, call, killed);
        expect(exitCode).toBe(137);
        expect(stdout).toBe("");
        const isKept = writeLate(stage);
        if (variant === "unmounted") unmountAll(stage.box);
        await expectRecovers(stage, isKept);
        kills += 1;
      },
    );
  },
  depth(2, 60) * MINUTES,
);
