import { readFileSync } from "node:fs";

export interface Mount {
  readonly root: string;
  readonly path: string;
  readonly options: readonly string[];
  readonly type: string;
  readonly source: string;
  readonly superOptions: readonly string[];
}

const unescaped = (field: string): string => {
  const bytes = Buffer.from(field);
  const out: number[] = [];
  for (let index = 0; index < bytes.length; index += 1) {
    const octal = /^\\([0-7]{3})/.exec(bytes.subarray(index, index + 4).toString("latin1"))?.[1];
    out.push(octal === undefined ? (bytes[index] ?? 0) : Number.parseInt(octal, 8));
    if (octal !== undefined) index += 3;
  }
  return Buffer.from(out).toString();
};

/** The kernel's mount table of this process, in the order the mounts were made. */
export const mounts = (): Mount[] => parseMounts(readFileSync("/proc/self/mountinfo", "utf8"));

export function parseMounts(table: string): Mount[] {
  const lines = table.split("\n");
  return lines.filter(Boolean).map((line) => {
    const [left = "", right = ""] = line.split(" - ");
    const [, , , root = "", path = "", options = ""] = left.split(" ");
    const [type = "", source = "", superOptions = ""] = right.split(" ");
    return {
      root: unescaped(root),
      path: unescaped(path),
      options: options.split(","),
      type,
      source: unescaped(source),
      superOptions: superOptions.split(","),
    };
  });
}

export const mountsUnder = (folder: string): Mount[] =>
  mounts().filter(({ path }) => path === folder || path.startsWith(`${folder}/`));
