/**
 * The seam in C (`native/`): what TypeScript cannot do, or an interpreter does slowly. The executable has it
 * as a module of its engine, Node and Bun as an addon. Every function throws a TypeError for an argument that
 * it cannot use.
 */
declare module "#native" {
  /** A whole number as it is, a string as UTF-8 that ends with NUL, bytes by their address. */
  export type Word = number | string | Uint8Array;
  /** Makes a system call: its result, or minus the errno. */
  export function syscall(number: number, ...words: readonly Word[]): number;
  /**
   * Starts a program in the folder "/" with signals as they usually are, and these descriptors as 0, 1, 2 and
   * so on (-1: closed): the process id, or minus the errno of what failed.
   */
  export function spawn(
    program: string,
    argv: readonly string[],
    environment: readonly string[],
    descriptors: readonly number[],
  ): number;
  /** UTF-8 of a well-formed string. */
  export function encode(text: string): Uint8Array<ArrayBuffer>;
  /** The string of which this is the UTF-8; null for what is none. */
  export function decode(bytes: Uint8Array): string | null;
  /** Whether all of `piece` lies in `data` from the offset `at` on; nothing lies before its beginning. */
  export function holdsAt(data: Uint8Array, piece: Uint8Array, at: number): boolean;
  /** Offset of the first byte that is not zero; -1 where there is none. */
  export function firstNonZero(bytes: Uint8Array): number;
  /** CRC-32C (Castagnoli) of the bytes. */
  export function crc32c(bytes: Uint8Array): number;
  /** How far behind a multiple of `alignmentBytes` the bytes begin in memory. */
  export function addressModulo(bytes: Uint8Array, alignmentBytes: number): number;
  /** A word of the command line behind the program's name; null behind the last. */
  export function argument(index: number): Uint8Array | null;
  /** A variable of the environment; null where there is none. */
  export function environment(name: string): Uint8Array | null;
  /** The size of a page of memory: 4096, and more on some arm64 kernels. */
  export function pageBytes(): number;
  export const architecture: "x64" | "arm64";
}
