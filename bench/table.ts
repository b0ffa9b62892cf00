import type { Bar, ProgramResult, Results, ScenarioResult } from "./results.ts";

/** Columns as wide as their widest cell: the first to the left, numbers to the right. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

const head = [
  "",
  "median ms",
  "least ms",
  "× limit",
  "× Rust",
  "CPU ms",
  "RSS MiB",
  "KiB written",
  "generations",
  "processes",
];

const orDash = (value: number | null, digits: number): string => value?.toFixed(digits) ?? "-";

const rowOf = (result: ProgramResult): readonly string[] => [
  result.title,
  result.wallMs.toFixed(2),
  result.leastWallMs.toFixed(2),
  orDash(result.toLimit, 2),
  orDash(result.toRust, 2),
  result.cpuMs.toFixed(2),
  result.peakRssMib.toFixed(1),
  orDash(result.writtenKib, 0),
  orDash(result.generations, 0),
  String(result.processes),
];

const section = (title: string, rows: readonly (readonly string[])[]): string =>
  rows.length <= 1 ? "" : `\n${title}\n${columns(rows)}\n`;

const scenarioTable = ({ title, programs }: ScenarioResult): string =>
  section(title, [head, ...programs.map(rowOf)]);

/** What was measured, without a judgement. */
export function figures({ scenarios, appearance, waiting, status }: Results): string {
  const disk = appearance.map((result) => [
    `${result.title}: a ${result.appears}`,
    ...[result.openedMs, result.mountedMs, result.mostMountedMs, result.exitedMs].map((ms) =>
      ms.toFixed(2),
    ),
  ]);
  return [
    ...scenarios.map(scenarioTable),
    section("the disk appears while the program waits: ms until", [
      ["", "opened", "mounted", "mounted, at most", "exit"],
      ...disk,
    ]),
    section("while it waits", [
      ["", "wake-ups per second"],
      ...waiting.map(({ title, wakeUpsPerSecond }) => [title, orDash(wakeUpsPerSecond, 1)]),
    ]),
    section("status --json", [
      ["volume", "ms", "above start"],
      ...status.map(({ volume, statusMs, aboveStartMs }) => [
        volume,
        statusMs.toFixed(2),
        aboveStartMs.toFixed(2),
      ]),
    ]),
  ].join("");
}

export const barsTable = (bars: readonly Bar[]): string =>
  section("the bars", [
    ["", "measured", "bar", "aim", "with Bun", ""],
    ...bars.map(({ bar, measured, allowed, aim, bunBuilt, met }) => [
      bar,
      measured,
      allowed,
      aim ?? "-",
      bunBuilt ?? "-",
      met ? "met" : "MISSED",
    ]),
  ]);
