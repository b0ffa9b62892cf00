import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { coloured, errorText, json, plain, printable, reportText } from "../../src/cli/render.ts";
import type { Report } from "../../src/volume/report.ts";

const anyText = fc.string({ unit: "binary" });
const characterCodes = (first: number, last: number): string =>
  Array.from({ length: last - first + 1 }, (_, i) => String.fromCharCode(first + i)).join("");

/** Everything below a space, DEL, and the second set of controls, in which CSI is one character. */
const controls = characterCodes(0, 0x1f) + characterCodes(0x7f, 0x9f);
/** Embeddings, overrides and isolates: they turn what stands behind them. */
const turning = `${characterCodes(0x202a, 0x202e)}${characterCodes(0x2066, 0x2069)}`;
const lineEnds = "\u2028\u2029";

describe("text from outside", () => {
  test("never moves the cursor: no control character is left", () => {
    for (const character of controls + turning + lineEnds) {
      expect(printable(`a${character}b`)).toMatch(/^a\\(x[0-9a-f]{2}|u[0-9a-f]{4})b$/);
    }
    fc.assert(
      fc.property(anyText, (text) => {
        expect(printable(text)).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}]/u);
        for (const character of turning) expect(printable(text)).not.toContain(character);
      }),
      { numRuns: 1000 },
    );
  });

  test.each([
    ["an escape sequence", "\x1b[2J", "\\x1b[2J"],
    ["a newline", "/a\nb", "/a\\x0ab"],
    ["a carriage return", "x\ry", "x\\x0dy"],
    ["CSI in one character", "\u009b2J", "\\x9b2J"],
    ["an override", "\u202egnp.exe", "\\u202egnp.exe"],
    ["an isolate", "\u2066x\u2069", "\\u2066x\\u2069"],
    ["a byte that is no UTF-8", "/a\udcffb", "/a\\xffb"],
  ] as const)("%s shows as its code", (_what, text, shown) => {
    expect(printable(text)).toBe(shown);
  });

  test.each(["/var/lib/docker", "Größe 数据 🙂", "a\\b", "a b", "e\u0301"])(
    "%s stays as it is",
    (text) => {
      expect(printable(text)).toBe(text);
    },
  );

  test("that is printable already is not changed again", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        expect(printable(printable(text))).toBe(printable(text));
      }),
    );
  });
});

describe("a JSON document", () => {
  test("reads back as what it was, whatever text is in it", () => {
    fc.assert(
      fc.property(fc.jsonValue(), anyText, (value, text) => {
        expect(JSON.parse(json({ value, text }))).toEqual(
          JSON.parse(JSON.stringify({ value, text })),
        );
      }),
    );
  });

  test("has no control character but the newlines of its own lines", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const document = json({ text: `${text}${controls}${lineEnds}` });
        expect(document.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}]/u);
        expect(document.split("\n")).toHaveLength(4);
      }),
    );
  });

  test("has no half of a surrogate pair, which many readers of JSON refuse", () => {
    expect(json({ path: "/a\udcffb" })).toContain(String.raw`"/a\\xffb"`);
  });

  test("ends with one newline", () => {
    expect(json({ a: 1 })).toBe('{\n  "a": 1\n}\n');
  });
});

const report: Report = {
  outcome: "changed",
  device: "/dev/vdb",
  verdict: "blank",
  uuid: "u-u",
  bytes: 1,
  steps: [
    { step: "device", outcome: "kept", detail: "/dev/\x1b[2J", ms: 0.5 },
    { step: "filesystem", outcome: "changed", detail: "formatted", ms: 12 },
    { step: "nocow", outcome: "unknown", detail: "later", ms: 0 },
  ],
  mounts: [],
  notes: ["a note\nof two lines"],
  ms: 20,
};

describe("a report for a person", () => {
  test("has a line for each step, each note and the whole", () => {
    expect(reportText("up", report, plain).split("\n")).toEqual([
      "= device      /dev/\\x1b[2J  0.5 ms",
      "+ filesystem  formatted  12 ms",
      "? nocow       later  0 ms",
      "! a note\\x0aof two lines",
      "The data volume is up. (/dev/vdb, u-u)",
      "",
    ]);
  });

  test.each([
    ["up", "changed", /is up\./],
    ["up", "unchanged", /is up; nothing to do/],
    ["plan", "changed", /would change what/],
    ["plan", "unchanged", /would change nothing/],
    ["down", "changed", /is down\./],
    ["down", "unchanged", /is down; nothing to do/],
  ] as const)("%s, %s", (action, outcome, words) => {
    expect(reportText(action, { ...report, outcome }, plain)).toMatch(words);
  });

  test("of a failure does not say that the volume is up", () => {
    const failed = { ...report, outcome: "failed" } as const;
    expect(reportText("up", failed, plain)).not.toMatch(/volume/);
  });

  test("without colour has no escape sequence", () => {
    expect(reportText("up", report, plain)).not.toContain("\x1b");
    expect(reportText("up", report, coloured)).toContain("\x1b[32m");
  });
});

describe("an error for a person", () => {
  const error = { code: "foreign", message: "x\ny", hint: "do\tz" } as const;

  test("is a line, and a line for the hint", () => {
    expect(errorText(error, plain)).toBe("arcbox-agent: foreign: x\\x0ay\n  hint: do\\x09z\n");
  });

  test("of usage is one line: a slip of the fingers deserves no more", () => {
    const slip = { code: "usage", message: "x\ny", hint: "do\tz" } as const;
    expect(errorText(slip, plain)).toBe("arcbox-agent: usage: x\\x0ay (do\\x09z)\n");
  });

  test("without a hint is one line", () => {
    const { code, message } = error;
    expect(errorText({ code, message }, plain)).toBe("arcbox-agent: foreign: x\\x0ay\n");
  });
});
