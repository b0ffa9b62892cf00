// What the seam does with right, odd and wrong arguments. One file for all that have a seam: QuickJS (host.c),
// Node and Bun; so nothing in it that one of them lacks.
import * as seam from "#native";

const say = globalThis.print ?? console.log;
const calls = {
  x64: { write: 1, getpid: 39, wait4: 61, getrandom: 318 },
  arm64: { write: 64, getpid: 172, wait4: 260, getrandom: 278 },
}[seam.architecture];
const [ENOENT, EBADF, ECHILD, EACCES, ENOSYS] = [2, 9, 10, 13, 38];

let checks = 0;

function expect(what, found, wanted) {
  checks++;
  if (!Object.is(found, wanted))
    throw new Error(`${what}: ${String(found)}, not ${String(wanted)}`);
}

/** `work` throws a TypeError. */
function refuses(what, work) {
  checks++;
  try {
    work();
  } catch (error) {
    if (error instanceof TypeError) return;
    throw new Error(`${what}: ${String(error)}`);
  }
  throw new Error(`${what}: was taken`);
}

/** Of a generator of Marsaglia's, so that a failure comes again. */
let state = 2463534242;
function random(below) {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % below;
}
const oneOf = (values) => values[random(values.length)];
const randomBytes = (length) => Uint8Array.from({ length }, () => random(256));

/** Bit by bit, with the polynomial of RFC 3720. */
function slowCrc32c(bytes) {
  let rest = 0xffffffff;
  for (const byte of bytes) {
    rest ^= byte;
    for (let bit = 0; bit < 8; bit++) rest = (rest >>> 1) ^ (rest & 1 ? 0x82f63b78 : 0);
  }
  return ~rest >>> 0;
}

function detached() {
  const bytes = new Uint8Array(64);
  if (bytes.buffer.transfer !== undefined) bytes.buffer.transfer();
  else structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
}

/** An array of a buffer that then gets another size. */
function resized(from, to, ...place) {
  const buffer = new ArrayBuffer(from, { maxByteLength: 4096 });
  const bytes = new Uint8Array(buffer, ...place);
  buffer.resize(to);
  return bytes;
}

class Bytes extends Uint8Array {}

const rightBytes = () => [
  new Uint8Array(0),
  new Uint8Array(3),
  new Uint8Array(2000),
  new Uint8Array(100).subarray(50, 60),
  new Uint8Array(100).subarray(100),
  new Bytes(5),
  new Uint8Array(new SharedArrayBuffer(8)),
  Object.defineProperty(new Uint8Array(4), "length", { value: 1 << 30 }),
];

const wrongBytes = () => [
  undefined,
  null,
  true,
  0,
  1n,
  "text",
  Symbol("bytes"),
  {},
  [1, 2, 3],
  () => 1,
  new ArrayBuffer(8),
  new DataView(new ArrayBuffer(8)),
  new Uint8ClampedArray(8),
  new Int8Array(8),
  new Uint16Array(8),
  new Float64Array(8),
  detached(),
  new Proxy(new Uint8Array(8), {}),
  Object.create(new Uint8Array(8)),
  { length: 8, buffer: new ArrayBuffer(8), byteOffset: 0, byteLength: 8 },
];

/** To the language their length is that of now; a host may refuse them, too. */
const resizedBytes = () => [
  resized(4096, 16),
  resized(16, 4096),
  resized(64, 0),
  resized(64, 8, 0, 64),
  resized(64, 8, 32),
];

const wrongNumbers = [
  undefined,
  null,
  true,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  0.5,
  2 ** 53,
  -(2 ** 53),
  1e300,
  5e-324,
  1n,
  "1",
  Symbol("number"),
  {
    valueOf() {
      throw new Error("was asked");
    },
  },
  Object(1),
  [1],
];

const wrongTexts = [
  "a\0b",
  "\0",
  "\ud800",
  "\udfff",
  "a\ud800b",
  "\udc00\ud800",
  `${"€".repeat(999)}\udbff`,
];
const noTexts = [
  undefined,
  null,
  true,
  1,
  1n,
  Symbol("text"),
  {},
  ["text"],
  new String("text"),
  () => "text",
];
const rightTexts = [
  "",
  "a",
  "é",
  "€",
  "😀",
  "\uffff",
  "\ufffd",
  "\ufeffa",
  "a".repeat(70_000),
  `${"x".repeat(99)}😀`,
];

// syscall: a number that no call has does nothing, whatever it is given.
const nothing = (...words) => seam.syscall(-1, ...words);
expect("no such call", nothing(), -ENOSYS);
expect("the largest whole number", nothing(2 ** 53 - 1, -(2 ** 53 - 1), -0, 0, 1, -1), -ENOSYS);
for (const text of rightTexts) expect("a text", nothing(text, text), -ENOSYS);
for (const bytes of rightBytes()) expect("bytes", nothing(bytes, bytes), -ENOSYS);
for (const value of wrongBytes()) {
  if (["number", "string"].includes(typeof value)) continue;
  refuses(`the word ${String(typeof value)}`, () => nothing(1, "a", value));
}
for (const value of wrongNumbers) {
  if (typeof value === "string") continue;
  refuses(`the word ${String(typeof value)}`, () => nothing("a", value));
}
for (const value of wrongNumbers) refuses("the number of a call", () => seam.syscall(value));
for (const text of wrongTexts) refuses("half a text", () => nothing("a", text));
refuses("no call", () => seam.syscall());
refuses("seven words", () => nothing(1, 2, 3, 4, 5, 6, 7));
refuses("many words", () => nothing(...Array.from({ length: 5000 }, () => 1)));
expect("a process", seam.syscall(calls.getpid) > 1, true);
expect("a descriptor that is none", seam.syscall(calls.write, 999_999, "a", 1), -EBADF);
for (const length of [16, 100, 256]) {
  // So small that an engine may keep it in its own memory, and move it.
  const bytes = new Uint8Array(length);
  expect("random bytes", seam.syscall(calls.getrandom, bytes, length, 0), length);
  expect(
    "arrive",
    bytes.some((byte) => byte !== 0),
    true,
  );
}

// encode and decode
for (const text of [...rightTexts, "a\0b"]) {
  const bytes = seam.encode(text);
  expect(
    "is whole",
    bytes instanceof Uint8Array && bytes.byteLength === bytes.buffer.byteLength,
    true,
  );
  expect("there and back", seam.decode(bytes), text);
}
for (const text of wrongTexts) if (!text.includes("\0")) refuses("half", () => seam.encode(text));
for (const text of noTexts) refuses("no text", () => seam.encode(text));
for (const value of wrongBytes()) refuses("no bytes", () => seam.decode(value));
refuses("no text", () => seam.encode());
refuses("two texts", () => seam.encode("a", "b"));
refuses("no bytes", () => seam.decode());
refuses("two arrays", () => seam.decode(new Uint8Array(1), new Uint8Array(1)));
for (let code = 0; code < 0x110000; code += code < 0x1000 ? 1 : 251) {
  if (code >= 0xd800 && code < 0xe000) continue;
  const text = String.fromCodePoint(code);
  expect(`U+${code.toString(16)}`, seam.decode(seam.encode(text)), text);
}
const noUtf8 = [
  [0x80],
  [0xc3],
  [0xc0, 0x80],
  [0xc1, 0xbf],
  [0xe2, 0x82],
  [0xe0, 0x9f, 0xbf],
  [0xed, 0xa0, 0x80],
  [0xed, 0xbf, 0xbf],
  [0xf0, 0x8f, 0xbf, 0xbf],
  [0xf4, 0x90, 0x80, 0x80],
  [0xf5, 0x80, 0x80, 0x80],
  [0xf0, 0x9f, 0x98],
  [0xff],
  [0x41, 0xfe, 0x41],
];
for (const bytes of noUtf8) {
  expect(`no UTF-8: ${bytes.join()}`, seam.decode(Uint8Array.from(bytes)), null);
  expect("nor behind letters", seam.decode(Uint8Array.from([0x61, 0x62, ...bytes])), null);
}
for (let i = 0; i < 3000; i++) {
  const bytes = randomBytes(random(5));
  const text = seam.decode(bytes);
  if (text !== null)
    expect("what is decoded comes back", seam.holdsAt(seam.encode(text), bytes, 0), true);
}

// The length of an array that follows its buffer is the buffer's, or nobody's.
for (const bytes of resizedBytes()) {
  try {
    expect("no such call", nothing(bytes), -ENOSYS);
    expect("the length of now", seam.firstNonZero(bytes), -1);
    expect("all of it", seam.decode(bytes)?.length, bytes.length);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
}

// holdsAt, firstNonZero, crc32c, addressModulo
for (let i = 0; i < 2000; i++) {
  const bytes = new Uint8Array(random(70));
  const place = random(100);
  if (place < bytes.length) bytes[place] = 1 + random(255);
  expect("the first byte", seam.firstNonZero(bytes), place < bytes.length ? place : -1);
  const part = bytes.subarray(random(9));
  const first = part.findIndex((byte) => byte !== 0);
  expect("the first of a part", seam.firstNonZero(part), first);
  expect("holds itself", seam.holdsAt(bytes, bytes.slice(), 0), true);
  expect("holds no more", seam.holdsAt(bytes, new Uint8Array(bytes.length + 1), 0), false);
  const at = random(bytes.length + 1);
  const rest = bytes.slice(at);
  expect("holds a part", seam.holdsAt(bytes, rest, at), true);
  expect("nothing behind it", seam.holdsAt(bytes, new Uint8Array(1), bytes.length), false);
  expect("nothing before it", seam.holdsAt(bytes, rest, -1), false);
  const other = bytes.slice();
  if (other.length > 0) {
    other[random(other.length)] ^= 1 + random(255);
    expect("no other byte", seam.holdsAt(bytes, other, 0), false);
  }
  expect("an address", seam.addressModulo(bytes, 1), 0);
  expect("a checksum by its bits", seam.crc32c(part), slowCrc32c(part));
}
for (const value of wrongBytes()) {
  refuses("no bytes", () => seam.holdsAt(value, new Uint8Array(1), 0));
  refuses("no bytes", () => seam.holdsAt(new Uint8Array(1), value, 0));
  refuses("no bytes", () => seam.firstNonZero(value));
  refuses("no bytes", () => seam.crc32c(value));
  refuses("no bytes", () => seam.addressModulo(value, 8));
}
for (const value of [...wrongNumbers, 0, -1, -0])
  refuses("no alignment", () => seam.addressModulo(new Uint8Array(8), value));
for (const value of wrongNumbers)
  refuses("no offset", () => seam.holdsAt(new Uint8Array(8), new Uint8Array(1), value));
refuses("no offset", () => seam.holdsAt(new Uint8Array(1), new Uint8Array(1)));
refuses("one array", () => seam.holdsAt(new Uint8Array(1)));
refuses("no array", () => seam.firstNonZero());
refuses("no array", () => seam.crc32c());

// argument, environment, pageBytes
for (const value of wrongNumbers) refuses("no index", () => seam.argument(value));
for (const at of [-1, 1, 2 ** 31, 2 ** 32, 2 ** 53 - 1, -(2 ** 31)])
  expect("no word", seam.argument(at), null);
refuses("no index", () => seam.argument());
expect("a variable", seam.decode(seam.environment("ARCBOX_TEST")), "€");
for (const name of ["", "=", "ARCBOX_TEST=", "ARCBOX_NONE", "€"])
  expect(`no variable ${name}`, seam.environment(name), null);
for (const name of [...wrongTexts, ...noTexts]) refuses("no name", () => seam.environment(name));
refuses("no name", () => seam.environment());
expect("a page", seam.pageBytes() % 4096, 0);
refuses("a page of what", () => seam.pageBytes(1));

// spawn
const none = "/none/such";
const spawn = (program = none, words = ["none"], environment = [], descriptors = []) =>
  seam.spawn(program, words, environment, descriptors);
expect("no program", spawn(), -ENOENT);
expect("no words", spawn(none, []), -ENOENT);
expect("a folder", spawn("/"), -EACCES);
expect(
  "64 of each",
  spawn(none, Array(64).fill("a"), Array(64).fill("A=b"), Array(64).fill(-1)),
  -ENOENT,
);
expect("a descriptor that is none", spawn(none, [], [], [999_999]), -EBADF);
expect("no child is left", seam.syscall(calls.wait4, -1, 0, 1, 0), -ECHILD);
for (const text of [...wrongTexts, ...noTexts]) {
  refuses("no program", () => seam.spawn(text, [], [], []));
  refuses("no word", () => spawn(none, ["a", text]));
  refuses("no variable", () => spawn(none, [], ["A=a", text]));
}
for (const number of [...wrongNumbers, -2, 2 ** 31, 2 ** 32, -(2 ** 32), 2 ** 32 + 1]) {
  refuses(`the descriptor ${String(number)}`, () => spawn(none, [], [], [0, number]));
}
for (const array of [
  undefined,
  null,
  1,
  "text",
  {},
  { length: 1, 0: "a" },
  new Uint8Array(1),
  Array(65),
  Array(2 ** 32 - 1),
]) {
  refuses("no words", () => seam.spawn(none, array, [], []));
  refuses("no environment", () => seam.spawn(none, [], array, []));
  refuses("no descriptors", () => seam.spawn(none, [], [], array));
}
refuses("holes", () => spawn(none, Array(3)));
refuses("nothing", () => seam.spawn());
refuses("three", () => seam.spawn(none, [], []));
refuses("five", () => seam.spawn(none, [], [], [], []));

/** An array of which looking at the first entry does something. */
const withGetter = (entries, get) => Object.defineProperty([...entries], 0, { get });
for (const place of [1, 2, 3]) {
  const entries = place === 3 ? [-1, -1, -1] : ["a", "b", "c"];
  const thrown = new Error("of the getter");
  const lists = (list) => [none, ...[1, 2, 3].map((i) => (i === place ? list : []))];
  try {
    seam.spawn(
      ...lists(
        withGetter(entries, () => {
          throw thrown;
        }),
      ),
    );
    throw new Error("was taken");
  } catch (error) {
    expect("the getter's own error", error, thrown);
  }
  const shrinking = withGetter(entries, () => {
    shrinking.length = 1;
    return entries[0];
  });
  refuses("an array that shrinks meanwhile", () => seam.spawn(...lists(shrinking)));
  const growing = withGetter(entries, () => {
    for (let i = 0; i < 200; i++) growing.push(entries[0]);
    return entries[0];
  });
  expect("one that grows meanwhile", seam.spawn(...lists(growing)), -ENOENT);
}

/** Runs a line of a shell; its exit status. */
function shell(line, descriptors, environment = []) {
  const pid = spawn("/bin/sh", ["sh", "-c", line], environment, descriptors);
  expect("a child", pid > 0, true);
  const status = new Uint8Array(4);
  expect("is waited for", seam.syscall(calls.wait4, pid, status, 0, 0), pid);
  return status[1];
}
expect("its status", shell("exit 7", [0, 1, 2]), 7);
expect(
  "no descriptor",
  shell("test -e /proc/self/fd/0 || test -e /proc/self/fd/1 || exit 5", [-1, -1, 2]),
  5,
);
expect("each other's place", shell("test -e /proc/self/fd/4 && exit 6", [0, 2, 1, 2, 2]), 6);
expect("its folder", shell('test "$(pwd)$A" = /b && exit 4', [0, 1, 2], [`A=${"xb".slice(1)}`]), 4);
for (let i = 0; i < 20; i++)
  expect("no program", spawn(none, [`a${i}`, `é${i}`], [`B=${i}`, `C=ü${i}`]), -ENOENT);

// Whatever comes in any place: an answer or an error of JavaScript.
const odd = () =>
  oneOf([
    ...wrongBytes(),
    ...rightBytes(),
    ...resizedBytes(),
    ...wrongNumbers,
    ...wrongTexts,
    ...rightTexts,
    0,
    1,
    -1,
    [],
    [0],
    ["a"],
    [-1, 0],
  ]);
const oddFunctions = [
  (...words) => seam.syscall(oneOf([-1, ...wrongNumbers]), ...words),
  (a, b, c, ...more) => seam.spawn(oneOf([none, a]), b, c, ...more),
  ...[
    "encode",
    "decode",
    "holdsAt",
    "firstNonZero",
    "addressModulo",
    "argument",
    "environment",
    "pageBytes",
  ].map((name) => ({ ...seam })[name]),
];
for (let i = 0; i < 3000; i++) {
  checks++;
  const values = Array.from({ length: random(8) }, odd);
  try {
    oneOf(oddFunctions)(...values);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
}
expect("no child is left", seam.syscall(calls.wait4, -1, 0, 1, 0), -ECHILD);

say(`${checks} checks`);
