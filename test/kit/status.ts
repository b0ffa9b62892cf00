import { agent, type start } from "./agent.ts";
import type { Sandbox } from "./sandbox.ts";

type Fields = Readonly<Record<string, unknown>>;
type Check<T> = (value: unknown, where: string) => T;

const wrong = (where: string, value: unknown): never => {
  throw new Error(`status: ${where} is ${JSON.stringify(value)}`);
};

/** An object with just these keys: one more or one less is a change of the contract. */
function exactly(value: unknown, where: string, keys: readonly string[]): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return wrong(where, value);
  }
  const found = Object.keys(value).sort().join(" ");
  const wanted = [...keys].sort().join(" ");
  if (found !== wanted) throw new Error(`status: ${where} has ${found}, not ${wanted}`);
  return Object.fromEntries(Object.entries(value));
}

const text: Check<string> = (value, where) =>
  typeof value === "string" ? value : wrong(where, value);
const flag: Check<boolean> = (value, where) =>
  typeof value === "boolean" ? value : wrong(where, value);
const count: Check<number> = (value, where) =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0
    ? value
    : wrong(where, value);
const orNull =
  <T>(check: Check<T>): Check<T | null> =>
  (value, where) =>
    value === null ? null : check(value, where);
const listOf =
  <T>(check: Check<T>): Check<readonly T[]> =>
  (value, where) =>
    Array.isArray(value)
      ? value.map((item, i) => check(item, `${where}.${i}`))
      : wrong(where, value);
const oneOf =
  <T extends string>(...words: readonly T[]): Check<T> =>
  (value, where) =>
    words.find((word) => word === value) ?? wrong(where, value);

const profile = (value: unknown, where: string) => {
  const fields = exactly(value, where, ["type", "profile", "total", "used"]);
  return {
    type: oneOf("data", "metadata", "system", "mixed")(fields.type, `${where}.type`),
    profile: text(fields.profile, `${where}.profile`),
    total: count(fields.total, `${where}.total`),
    used: count(fields.used, `${where}.used`),
  };
};

const nocow = (value: unknown, where: string) => {
  const fields = exactly(value, where, ["directory", "set"]);
  return {
    directory: text(fields.directory, `${where}.directory`),
    set: orNull(flag)(fields.set, `${where}.set`),
  };
};

const subvolume = (value: unknown, where: string) => {
  const fields = exactly(value, where, ["name", "id", "path", "mounted", "nocow"]);
  return {
    name: text(fields.name, `${where}.name`),
    id: orNull(count)(fields.id, `${where}.id`),
    path: text(fields.path, `${where}.path`),
    mounted: flag(fields.mounted, `${where}.mounted`),
    nocow: listOf(nocow)(fields.nocow, `${where}.nocow`),
  };
};

const superblock = (value: unknown, where: string) => {
  const fields = exactly(value, where, ["offset", "state", "generation"]);
  const states = oneOf("valid", "stale", "damaged", "zero", "unreadable");
  return {
    offset: count(fields.offset, `${where}.offset`),
    state: states(fields.state, `${where}.state`),
    generation: orNull(count)(fields.generation, `${where}.generation`),
  };
};

const bytes = (value: unknown, where: string) => {
  const keys = ["device", "filesystem", "used", "writable", "unallocated"];
  const fields = exactly(value, where, keys);
  const size = (key: string) => orNull(count)(fields[key], `${where}.${key}`);
  return {
    device: size("device"),
    filesystem: size("filesystem"),
    used: size("used"),
    writable: size("writable"),
    unallocated: size("unallocated"),
  };
};

const counters = (value: unknown, where: string) => {
  const fields = exactly(value, where, ["write", "read", "flush", "corruption", "generation"]);
  return {
    write: count(fields.write, `${where}.write`),
    read: count(fields.read, `${where}.read`),
    flush: count(fields.flush, `${where}.flush`),
    corruption: count(fields.corruption, `${where}.corruption`),
    generation: count(fields.generation, `${where}.generation`),
  };
};

const problem = (value: unknown, where: string) => {
  const fields = exactly(value, where, ["code", "level", "message", "hint"]);
  return {
    code: text(fields.code, `${where}.code`),
    level: oneOf("warning", "critical")(fields.level, `${where}.level`),
    message: text(fields.message, `${where}.message`),
    hint: text(fields.hint, `${where}.hint`),
  };
};

/** The document of section 6 of the contract: these keys, no others, each of its type. */
function parseStatus(stdout: string) {
  const all = exactly(JSON.parse(stdout), "the document", [
    "state",
    "device",
    "verdict",
    "uuid",
    "label",
    "bytes",
    "profiles",
    "options",
    "readOnly",
    "forcedReadOnly",
    "subvolumes",
    "superblocks",
    "errors",
    "healthy",
    "problems",
    "notes",
  ]);
  return {
    state: oneOf("up", "partial", "down", "absent")(all.state, "state"),
    device: orNull(text)(all.device, "device"),
    verdict: orNull(text)(all.verdict, "verdict"),
    uuid: orNull(text)(all.uuid, "uuid"),
    label: orNull(text)(all.label, "label"),
    bytes: bytes(all.bytes, "bytes"),
    profiles: listOf(profile)(all.profiles, "profiles"),
    options: orNull(text)(all.options, "options"),
    readOnly: orNull(flag)(all.readOnly, "readOnly"),
    forcedReadOnly: orNull(flag)(all.forcedReadOnly, "forcedReadOnly"),
    subvolumes: listOf(subvolume)(all.subvolumes, "subvolumes"),
    superblocks: listOf(superblock)(all.superblocks, "superblocks"),
    errors: orNull(counters)(all.errors, "errors"),
    healthy: flag(all.healthy, "healthy"),
    problems: listOf(problem)(all.problems, "problems"),
    notes: listOf(text)(all.notes, "notes"),
  };
}

export type Status = ReturnType<typeof parseStatus>;
type Options = Parameters<typeof start>[1];

/** `volume status --json` of a volume below the sandbox's root. It has to be able to answer. */
export async function status(
  box: Sandbox,
  args: readonly string[],
  options?: Options,
): Promise<Status> {
  const run = await agent(["volume", "status", "--json", "--root", box.root, ...args], options);
  if (run.exitCode !== 0 || run.stderr !== "") {
    throw new Error(`status: exit ${run.exitCode}: ${run.stdout}${run.stderr}`);
  }
  return parseStatus(run.stdout);
}

/** The same for a person, line by line. */
export async function statusLines(
  box: Sandbox,
  args: readonly string[],
  options?: Options,
): Promise<readonly string[]> {
  const run = await agent(["volume", "status", "--root", box.root, ...args], options);
  if (run.exitCode !== 0 || run.stderr !== "") {
    throw new Error(`status: exit ${run.exitCode}: ${run.stdout}${run.stderr}`);
  }
  return run.stdout.trimEnd().split(/\r?\n/);
}
