import { label, picture } from "../scripts/pictures/svg.ts";
import type { ProgramResult, Results, ScenarioResult } from "./results.ts";

const width = 900;
const barLeft = 210;
const barMost = 340;
const barHeight = 14;
const rowHeight = 21;
const groupGap = 44;
const titleY = 32;
const firstGroupY = 68;

const colours: Readonly<Record<string, string>> = {
  limit: "#6b7686",
  ours: "#4fb286",
  rust: "#5a8fd6",
  script: "#c78ad6",
  systemd: "#d6a15a",
};
const otherColour = "#d65a5a";

function factsOf({ writtenKib, processes, peakRssMib }: ProgramResult): string {
  const written = writtenKib === 0 ? "nothing written" : `${writtenKib} KiB written`;
  const started = `${processes} ${processes === 1 ? "process" : "processes"}`;
  return `${written}, ${started}, ${peakRssMib.toFixed(1)} MiB`;
}

function barOf(result: ProgramResult, y: number, mostMs: number): string {
  const length = Math.max(2, (result.wallMs / mostMs) * barMost);
  const isOurs = result.program === "ours";
  const [name, number] = isOurs ? ["#8fe0b8", "#ffffff"] : ["#d7dde5", "#d7dde5"];
  const ms = `${result.wallMs.toFixed(1)} ms`;
  const textX = barLeft + length + 8;
  return [
    label(24, y + 11, result.title, name),
    `<rect x="${barLeft}" y="${y}" width="${length.toFixed(1)}" height="${barHeight}" rx="3" fill="${colours[result.program] ?? otherColour}"/>`,
    label(Math.round(textX), y + 11, ms, number),
    label(
      Math.round(textX) + 8 * (ms.length + 1),
      y + 11,
      factsOf(result),
      "#8a94a3",
      ' font-size="11"',
    ),
  ].join("\n");
}

function group({ title, programs }: ScenarioResult, y: number): string {
  const mostMs = Math.max(...programs.map(({ wallMs }) => wallMs));
  return [
    label(24, y, title, "#f0c674"),
    ...programs.map((result, i) => barOf(result, y + 12 + i * rowHeight, mostMs)),
  ].join("\n");
}

/** Bars of each way to bring a volume up, a scale of its own for each scenario. */
export function chart({ scenarios, runs, machine }: Results): string {
  let y = firstGroupY;
  const groups: string[] = [];
  for (const scenario of scenarios) {
    if (scenario.scenario === "start") continue;
    groups.push(group(scenario, y));
    y += scenario.programs.length * rowHeight + groupGap;
  }
  const how = `medians of ${runs} runs in turn, whole processes; Linux ${machine.kernel}, ${machine.mkfs}; MiB: peak RSS`;
  return picture(
    "How long it takes to bring a data volume up",
    width,
    y,
    `${label(24, titleY, "How long it takes to bring a data volume up")}
${groups.join("\n")}
${label(24, y - 14, how, "#8a94a3", ' font-size="11"')}`,
  );
}
