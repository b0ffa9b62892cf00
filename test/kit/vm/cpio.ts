/** What is in a boot archive under one path (relative, no leading slash). */
export type Entry =
  | { readonly kind: "directory" }
  | { readonly kind: "link"; readonly target: string }
  | { readonly kind: "file"; readonly mode: number; readonly bytes: Uint8Array };

const typeBits = { directory: 0o040000, file: 0o100000, link: 0o120000 } as const;

const hex = (value: number): string => value.toString(16).padStart(8, "0");

const toFour = (length: number): Uint8Array => new Uint8Array((4 - (length % 4)) % 4);

/**
 * A cpio archive in the "newc" format, which a kernel unpacks as its first root: of each entry
 * 13 numbers in hex, the name, the content, each padded to 4 bytes
 * (Documentation/driver-api/early-userspace/buffer-format.rst).
 */
export function cpio(entries: ReadonlyMap<string, Entry>): Blob {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let inode = 0;
  const add = (name: string, mode: number, content: Uint8Array): void => {
    inode += 1;
    const nameBytes = Buffer.from(`${name}\0`);
    const links = 1;
    const numbers = [inode, mode, 0, 0, links, 0, content.length, 0, 0, 0, 0, nameBytes.length, 0];
    const head = Buffer.from(`070701${numbers.map(hex).join("")}${name}\0`);
    for (const part of [head, toFour(head.length), content, toFour(content.length)]) {
      parts.push(new Uint8Array(part));
    }
  };
  for (const [name, entry] of entries) {
    const permissions = entry.kind === "file" ? entry.mode : 0o755;
    add(name, typeBits[entry.kind] | permissions, contentOf(entry));
  }
  add("TRAILER!!!", 0, new Uint8Array());
  return new Blob(parts);
}

function contentOf(entry: Entry): Uint8Array {
  switch (entry.kind) {
    case "directory":
      return new Uint8Array();
    case "link":
      return Buffer.from(entry.target);
    case "file":
      return entry.bytes;
  }
}
