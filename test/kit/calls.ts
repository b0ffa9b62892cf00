/** One system call of a program's main thread, from the log that strace wrote of it. */
export interface Call {
  readonly kind: string;
  /** How many calls of this kind the thread has made, this one included: what strace's `when=` counts. */
  readonly nth: number;
  /** The file it was made on, where that has one name; and how many of the kind were before on it. */
  readonly path: string | null;
  readonly onPath: number;
  /** The kind and what it was made on, without the numbers that differ from run to run. */
  readonly label: string;
  /** How many of this label came before. Label and occurrence name the same call in every run. */
  readonly occurrence: number;
  /** strace did something to it. */
  readonly injected: boolean;
}

/** Of its pipes to a program that it starts. */
const ofPipes = /<(pipe|anon_inode):/;

/** The first call of a command is that of `assertRoot`: what comes before is the start of the program. */
const first = "geteuid";

const uuid = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

const straceSent = /^--- SIG\w+ \{.*SI_KERNEL\}/;

/** `ioctl(9</dev/loop3>, BLKROGET, [0]) = 0` -> `ioctl </dev/loop> BLKROGET` */
function labelOf(kind: string, rest: string): string {
  const words = rest.replace(/(\) += .*| <unfinished \.\.\.>.*)$/, "").split(", ");
  // A path is told by its flags too. What a buffer or an address holds is no name.
  const what = words
    .slice(0, kind === "openat" ? 3 : 2)
    .filter((word) => !/^(0x|""|[[{]|-?\d*$)/.test(word));
  return [kind, ...what]
    .join(" ")
    .replace(/\b\d+</g, "<")
    .replace(/\bloop\d+/g, "loop")
    .replace(/\/7:\d+/g, "/loop")
    .replace(/\/proc\/\d+/g, "/proc/self")
    .replace(/\/task\/\d+/g, "/task/N")
    .replace(/\/(fd|map_files)\/[-0-9a-f]+/g, "/$1/N")
    .replace(uuid, "UUID");
}

/** `"/sys/kernel"` or `5</dev/vdb>`; what is found through /proc is another thing each time. */
function pathOf(rest: string): string | null {
  const path = /^(?:AT_FDCWD<[^>]*>, )?"(\/[^"]+)"/.exec(rest) ?? /^\d+<(\/[^>]+)>/.exec(rest);
  return path?.[1]?.startsWith("/proc/") === false ? path[1] : null;
}

/**
 * The program's own calls in a log of strace (`--string-limit=0 --decode-fds=path`, no `--follow-forks`).
 * A log of the calls on one path has not the call that a command begins with.
 */
export function ownCalls(log: string, isOfOnePath = false): Call[] {
  const calls: Call[] = [];
  const counts = new Map<string, number>();
  const count = (key: string): number => {
    const before = counts.get(key) ?? 0;
    counts.set(key, before + 1);
    return before;
  };
  let began = isOfOnePath;
  const lines = log.split("\n");
  for (const [index, line] of lines.entries()) {
    const [, kind, rest] = /^(\w+)\((.*)$/.exec(line) ?? [];
    if (kind === undefined || rest === undefined) continue;
    const nth = count(kind) + 1;
    began ||= kind === first;
    if (!began || kind === first || ofPipes.test(line)) continue;
    const label = labelOf(kind, rest);
    // A call at whose entry the thread was killed never returned; other signals come after it.
    const injected =
      line.endsWith("(INJECTED)") ||
      /(= \?|<unfinished \.\.\.>)$/.test(line) ||
      straceSent.test(lines[index + 1] ?? "");
    const path = pathOf(rest);
    const onPath = count(`${kind} on ${path}`);
    calls.push({ kind, nth, path, onPath, label, occurrence: count(label), injected });
  }
  return calls;
}
