/** A layout file that has to be refused. */
export interface BadLayout {
  readonly what: string;
  readonly text: string | Uint8Array;
  /** The place in the file, or what is wrong with the file as a whole. */
  readonly named: RegExp;
}

const one = { name: "@one", path: "/srv/one" };
const two = { name: "@two", path: "/srv/two" };
const withSubvolumes = (...subvolumes: readonly unknown[]): string =>
  JSON.stringify({ subvolumes });
const withKeys = (keys: Readonly<Record<string, unknown>>): string =>
  JSON.stringify({ subvolumes: [one], ...keys });

const bad = (what: string, text: string | Uint8Array, named: RegExp): BadLayout => ({
  what,
  text,
  named,
});

const badPaths: readonly (readonly [string, string])[] = [
  ["a relative path", "srv/two"],
  ["an empty path", ""],
  ["the root itself", "/"],
  ["a path with ..", "/srv/../etc"],
  ["a path that ends with ..", "/srv/.."],
  ["a path with .", "/srv/./two"],
  ["a path with //", "/srv//two"],
  ["a path with a slash at its end", "/srv/two/"],
  ["a path with NUL", "/srv/t\0wo"],
  ["a path of 5000 bytes", `/${"a/".repeat(2500)}b`],
];

const badNames: readonly (readonly [string, unknown])[] = [
  ["a name with a slash", "@a/b"],
  ["an empty name", ""],
  ["the name .", "."],
  ["the name ..", ".."],
  ["a name with a comma", "@a,subvolid=5"],
  ["a name with NUL", "@a\0b"],
  ["a name with a line break", "@a\nb"],
  ["a name of 256 bytes", "n".repeat(256)],
  ["a name of 86 letters and 258 bytes", "数".repeat(86)],
  ["a name that is no text", 7],
];

const badFolders: readonly (readonly [string, unknown])[] = [
  ["an absolute NOCOW directory", "/etc"],
  ["a NOCOW directory with ..", "a/../../b"],
  ["a NOCOW directory that is .", "."],
  ["an empty NOCOW directory", ""],
  ["a NOCOW directory that is no text", null],
  ["an absolute NOCOW file", { file: "/etc/passwd" }],
  ["a NOCOW file with ..", { file: "../b.db" }],
  ["a NOCOW file without a name", { file: "" }],
  ["a NOCOW file that is no text", { file: 7 }],
  ["a NOCOW place without a file", {}],
  ["a NOCOW place with another key", { file: "a.db", mode: "0600" }],
  ["a NOCOW place with a wrong key", { directory: "a" }],
];

/** Of one subvolume, what contradicts itself. */
const contradictions: readonly (readonly [string, Readonly<Record<string, unknown>>])[] = [
  ["one directory in nocow and in cow", { nocow: ["a"], cow: ["a"] }],
  ["a file and a directory of one name", { nocow: ["a", { file: "a" }] }],
  ["a file in cow", { nocow: [{ file: "a/b" }], cow: ["a/b"] }],
  ["a directory inside a file", { nocow: [{ file: "a" }, "a/b"] }],
  ["a file inside a file", { nocow: [{ file: "a" }, { file: "a/b" }] }],
  ["a directory of cow inside a file", { nocow: [{ file: "a" }], cow: ["a/b/c"] }],
];

const badOptions: readonly (readonly [string, unknown])[] = [
  ...["ro", "subvol=@x", "subvolid=5", "device=/dev/sdb", "degraded", "rescue=all", "noatime"].map(
    (option): readonly [string, unknown] => [`the option ${option}`, option],
  ),
  ...[
    "compresss=zstd",
    "compress=zstd:99",
    "compress=zstd:16",
    "compress=zstd:-16",
    "compress=zstd:",
    "compress=zstd:abc",
    "compress=zstd1",
    "compress=zlib:10",
    "compress=lzo:1",
    "compress=lz4",
    "compress=",
    "compress-force=zst",
    "commit=abc",
    "commit=-1",
    "commit",
    "commit=99999999999",
    "discard=foo",
    "nodiscard=async",
    "ssd=1",
    "thread_pool=0",
    "space_cache=v3",
    "max_inline=1x",
    "max_inline",
    "fatal_errors=x",
    "fragment=all",
    "foo",
    "foo=bar",
    "quota",
    "context=a",
    "constructor",
  ].map((option): readonly [string, unknown] => [`the option ${option}`, option]),
  ["two options in one", "compress=zstd:1,ro"],
  ["an option with a space", "compress = zstd"],
  ["an empty option", ""],
];

const mebibyte = 1024 * 1024;

/** A text whose one name has bytes that are not UTF-8. */
const notUtf8 = (): Uint8Array =>
  Buffer.from(withSubvolumes({ ...two, name: "@\u00ff" }), "latin1");

export const badLayouts: readonly BadLayout[] = [
  ...badPaths.map(([what, path]) =>
    bad(what, withSubvolumes(one, { ...two, path }), /subvolumes\.1\.path/),
  ),
  ...badPaths.map(([what, path]) =>
    bad(`${what}, of the whole volume`, withKeys({ rawPath: path }), /rawPath/),
  ),
  ...badNames.map(([what, name]) =>
    bad(what, withSubvolumes(one, { ...two, name }), /subvolumes\.1\.name/),
  ),
  ...badFolders.map(([what, folder]) =>
    bad(what, withSubvolumes(one, { ...two, nocow: ["a", folder] }), /subvolumes\.1\.nocow\.1/),
  ),
  ...badFolders
    .slice(0, 5)
    .map(([what, folder]) =>
      bad(
        `${what}, in cow`,
        withSubvolumes(one, { ...two, cow: ["a", folder] }),
        /subvolumes\.1\.cow\.1/,
      ),
    ),
  ...contradictions.map(([what, keys]) =>
    bad(what, withSubvolumes(one, { ...two, ...keys }), /subvolumes\.1\.nocow/),
  ),
  ...badOptions.map(([what, option]) =>
    bad(what, withKeys({ options: ["compress=zstd:1", option] }), /options\.1/),
  ),
  bad("one mount point twice", withSubvolumes(one, { ...two, path: one.path }), /subvolumes\.1/),
  bad("one name twice", withSubvolumes(one, { ...two, name: one.name }), /subvolumes\.1\.name/),
  bad(
    "a mount point inside another",
    withSubvolumes(one, { ...two, path: "/srv/one/two" }),
    /subvolumes\.1.*inside/,
  ),
  bad(
    "a mount point around another",
    withSubvolumes(one, { ...two, path: "/srv" }),
    /subvolumes\.1.*inside/,
  ),
  bad("a mount point where the whole is", withKeys({ rawPath: one.path }), /subvolumes\.0|rawPath/),
  bad("a mount point below the whole", withKeys({ rawPath: "/srv" }), /inside/),
  bad("the whole below a mount point", withKeys({ rawPath: "/srv/one/raw" }), /inside/),
  bad("an unknown key", withKeys({ subvolume: [] }), /subvolume\b/),
  bad("an unknown key of a subvolume", withSubvolumes({ ...one, noCow: [] }), /noCow/),
  bad("an unknown mkfs option", withKeys({ mkfs: { force: true } }), /mkfs\.force/),
  bad("a node size that is none", withKeys({ mkfs: { nodesize: 5000 } }), /mkfs\.nodesize/),
  bad("a profile of several disks", withKeys({ mkfs: { data: "raid1" } }), /mkfs\.data/),
  bad("an unknown checksum", withKeys({ mkfs: { checksum: "md5" } }), /mkfs\.checksum/),
  bad("a label of two lines", withKeys({ label: "a\nb" }), /label/),
  bad("a label of 256 bytes", withKeys({ label: "l".repeat(256) }), /label/),
  bad("no subvolume", withSubvolumes(), /subvolumes/),
  bad(
    "129 subvolumes",
    withSubvolumes(...Array.from({ length: 129 }, (_, i) => ({ name: `@${i}`, path: `/s/${i}` }))),
    /subvolumes/,
  ),
  bad("no key at all", "{}", /subvolumes/),
  bad("a list", "[]", /the file|subvolumes/),
  bad("null", "null", /the file/),
  bad("an empty file", "", /JSON/),
  bad("half a file", '{ "subvolumes": [', /JSON/),
  bad("a name that is not UTF-8", notUtf8(), /UTF-8/),
  bad(
    "a name with half a surrogate pair",
    '{"subvolumes":[{"name":"@\\ud800","path":"/a"}]}',
    /name/,
  ),
  bad(
    "a path with half a surrogate pair",
    '{"subvolumes":[{"name":"@a","path":"/\\ud800"}]}',
    /path/,
  ),
  bad("10 MiB of nesting", "[".repeat(10 * mebibyte), /larger than 1 MiB/),
  bad("half a MiB of nesting", "[".repeat(mebibyte / 2), /JSON|the file|nested/),
  bad(
    "nesting where the subvolumes belong",
    `{"subvolumes":${"[".repeat(mebibyte / 4)}${"]".repeat(mebibyte / 4)}}`,
    /JSON|subvolumes|nested/,
  ),
];
