import { expect, test } from "bun:test";
import { join } from "node:path";
import { command } from "../kit/command.ts";

const dist = join(import.meta.dir, "../../dist");

/**
 * Instructions that not every processor of x86-64 has: the names that SSE3 and what came after it brought. Those of
 * AVX begin with "v". Not tzcnt: it is the bsf of older ones, with a prefix that they ignore.
 */
const LATER = new RegExp(
  `^(${[
    ...["v\\w+", "addsubp\\w", "h(add|sub)p\\w", "lddqu", "mov(ddup|shdup|sldup)", "fisttp\\w*"],
    ...["p(abs|sign)[bwd]", "pshufb", "palignr", "ph(add|sub)s?[wd]", "pmulhrsw", "pmaddubsw"],
    ...[
      "pextr[bdq]",
      "pinsr[bdq]",
      "extractps",
      "insertps",
      "d?pp[sd]",
      "p?blend\\w+",
      "round[sp][sd]",
    ],
    ...["pm(ax|in)(sb|sd|uw|ud)", "pmov[sz]x\\w+", "pmul(dq|ld)", "pcmpeqq", "pcmpgtq", "ptest"],
    ...["pack(usdw)", "mpsadbw", "phminposuw", "movntdqa", "pcmp[ei]str[im]", "crc32\\w?"],
    ...[
      "popcnt\\w?",
      "lzcnt\\w?",
      "andn\\w?",
      "bextr",
      "bls(r|i|msk)",
      "bzhi",
      "mulx",
      "p(dep|ext)",
    ],
    ...[
      "(sar|shl|shr|ror)x",
      "ad[co]x",
      "movbe\\w?",
      "cmpxchg16b",
      "aes\\w+",
      "pclmul\\w+",
      "sha(1|256)\\w+",
    ],
  ].join("|")})$`,
);

test("the executable for x86-64 has no instruction that an old processor lacks", () => {
  const program = join(dist, "executable/linux-x64/arcbox-agent");
  const listing = command("objdump", "--disassemble", "--no-show-raw-insn", program);
  const names = new Set<string>();
  for (const [, name] of listing.matchAll(
    /^ *[0-9a-f]+:\t(?:(?:lock|repz?|repnz|bnd|data16|cs) )*(\w+)/gm,
  )) {
    names.add(name ?? "");
  }
  // The program is read: it adds, and it multiplies in the registers of SSE2.
  expect([...names]).toEqual(expect.arrayContaining(["add", "mulsd"]));
  expect([...names].filter((name) => LATER.test(name) && !/^ver[rw]$/.test(name))).toBeEmpty();
});

test.each(["x64", "arm64"])(
  "the addon for %s asks for no glibc newer than 2.17, of 2012",
  (name) => {
    const listing = command("objdump", "-T", join(dist, `addon/linux-${name}.node`));
    const versions = [...listing.matchAll(/GLIBC_2\.(\d+)/g)].map(([, minor]) => Number(minor));
    expect(Math.max(0, ...versions)).toBeWithin(2, 18);
  },
);
