export const stepNames: readonly string[] = [
  "device",
  "filesystem",
  "mount",
  "capacity",
  "subvolumes",
  "mountpoints",
  "nocow",
];

/** The exit status of every error code: section 6 of the contract. */
const exitStatusOf: Readonly<Record<string, number>> = {
  internal: 1,
  usage: 2,
  layout: 2,
  "device-missing": 3,
  "device-ambiguous": 3,
  "not-a-block-device": 3,
  foreign: 4,
  unknown: 4,
  blank: 4,
  interrupted: 4,
  damaged: 5,
  wiped: 5,
  ambiguous: 5,
  hopeless: 5,
  unreadable: 5,
  shrunk: 5,
  "multi-device": 5,
  "format-failed": 6,
  "mkfs-missing": 6,
  "too-small": 6,
  "mount-failed": 7,
  "read-only": 7,
  "target-occupied": 7,
  "not-a-subvolume": 7,
  "no-space": 7,
  busy: 8,
  permission: 9,
  unsupported: 9,
};

interface Step {
  readonly step: string;
  readonly outcome: string;
  readonly detail: string;
  readonly ms: number;
}

export interface Report {
  readonly outcome: "changed" | "unchanged" | "failed";
  readonly device: string | null;
  readonly verdict: string | null;
  readonly uuid: string | null;
  readonly bytes: number | null;
  readonly steps: readonly Step[];
  readonly mounts: readonly { readonly subvolume: string; readonly path: string }[];
  readonly notes: readonly string[];
  readonly ms: number;
  readonly error: { readonly code: string; readonly message: string; readonly hint: string } | null;
}

type Fields = Readonly<Record<string, unknown>>;

function fields(value: unknown, where: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Error(`${where} is no object: ${JSON.stringify(value)}`);
  }
  return Object.fromEntries(Object.entries(value));
}

function list(value: unknown, where: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new Error(`${where} is no list: ${JSON.stringify(value)}`);
  return value;
}

function text(value: unknown, where: string): string {
  if (typeof value !== "string") throw new Error(`${where} is no text: ${JSON.stringify(value)}`);
  return value;
}

function count(value: unknown, where: string): number {
  if (typeof value === "number" && Number.isFinite(value) && value >= 0) return value;
  throw new Error(`${where} is no count: ${JSON.stringify(value)}`);
}

const textOrNull = (value: unknown, where: string): string | null =>
  value === null || value === undefined ? null : text(value, where);

/** The one JSON document on standard output, every field checked against the contract. */
export function parseReport(stdout: string): Report {
  const all = fields(JSON.parse(stdout), "the report");
  const outcome = text(all.outcome, "outcome");
  if (outcome !== "changed" && outcome !== "unchanged" && outcome !== "failed") {
    throw new Error(`outcome is ${outcome}`);
  }
  if ((outcome === "failed") !== (all.error !== undefined)) {
    throw new Error(`"error" comes with a failure, and only then: ${stdout}`);
  }
  return {
    outcome,
    device: textOrNull(all.device, "device"),
    verdict: textOrNull(all.verdict, "verdict"),
    uuid: textOrNull(all.uuid, "uuid"),
    bytes: all.bytes === null || all.bytes === undefined ? null : count(all.bytes, "bytes"),
    steps: list(all.steps, "steps").map(parseStep),
    mounts: list(all.mounts, "mounts").map((entry) => {
      const mount = fields(entry, "a mount");
      return {
        subvolume: text(mount.subvolume, "subvolume"),
        path: text(mount.path, "path"),
      };
    }),
    notes: list(all.notes, "notes").map((note) => text(note, "a note")),
    ms: count(all.ms, "ms"),
    error: outcome === "failed" ? parseError(all.error) : null,
  };
}

function parseStep(value: unknown): Step {
  const step = fields(value, "a step");
  return {
    step: text(step.step, "step"),
    outcome: text(step.outcome, "a step's outcome"),
    detail: text(step.detail, "detail"),
    ms: count(step.ms, "a step's ms"),
  };
}

function parseError(value: unknown): Report["error"] {
  const error = fields(value, "error");
  const hint = error.hint === undefined ? "" : text(error.hint, "hint");
  return { code: text(error.code, "code"), message: text(error.message, "message"), hint };
}

/** A code of the contract, and the exit status that belongs to it. */
export function checkExit({ error }: Report, exitCode: number): void {
  const expected = error === null ? 0 : exitStatusOf[error.code];
  if (exitCode !== expected) {
    throw new Error(`exit ${exitCode}, but ${error?.code ?? "success"} is ${expected}`);
  }
}

/** What holds for every report of `up` and `plan`, whatever the test is about. */
export function checkReport(report: Report, exitCode: number, planning: boolean): void {
  checkExit(report, exitCode);
  const names = report.steps.map(({ step }) => step);
  // A failure may come before its turn: an occupied target is found before the disk is touched.
  const places = names.map((name) => stepNames.indexOf(name));
  const inOrder = places.every((place, index) => place > (places[index - 1] ?? -1));
  if (!inOrder) throw new Error(`steps out of order: ${names.join(" ")}`);
  const allowed = planning
    ? ["kept", "changed", "unknown", "failed"]
    : ["kept", "changed", "failed"];
  for (const { step, outcome } of report.steps) {
    if (!allowed.includes(outcome)) throw new Error(`${step} is ${outcome}`);
    if (outcome === "failed" && report.error === null)
      throw new Error(`${step} failed, up did not`);
  }
  const stepsMs = report.steps.reduce((sum, { ms }) => sum + ms, 0);
  // Each time is rounded to a hundredth of a millisecond.
  if (stepsMs > report.ms + 0.01 * (names.length + 1)) {
    throw new Error(`the steps took ${stepsMs} ms, all of it ${report.ms} ms`);
  }
  if (report.error !== null) return;
  if (names.length !== stepNames.length) throw new Error(`steps missing: ${names.join(" ")}`);
  const changed = report.steps.some(({ outcome }) => outcome === "changed");
  if (!planning && (report.outcome === "changed") !== changed) {
    throw new Error(`outcome ${report.outcome} does not follow from the steps`);
  }
}

/** The steps as one line each: `filesystem changed`. */
export const stepOutcomes = (report: Report): Record<string, string> =>
  Object.fromEntries(report.steps.map(({ step, outcome }) => [step, outcome]));
