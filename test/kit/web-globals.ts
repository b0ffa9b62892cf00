import { decode, encode } from "#native";

/** What the tests use of Bun and Node that QuickJS does not have. */
const globals = globalThis as Record<string, unknown>;

globals.TextEncoder ??= class {
  encode(text: string): Uint8Array {
    return encode(text);
  }
};
/** For fast-check, which looks at the time to end what takes long: here nothing does. */
globals.Date ??= class {
  static now(): number {
    return 0;
  }
  getTime(): number {
    return 0;
  }
  toISOString(): string {
    return "";
  }
};
globals.TextDecoder ??= class {
  decode(bytes: Uint8Array): string | null {
    return decode(bytes);
  }
};
for (const name of ["setTimeout", "clearTimeout"]) {
  globals[name] ??= () => {
    throw new Error(`${name}: nothing here waits`);
  };
}
