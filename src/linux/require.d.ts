/** Loads a module at once, where it is needed; the build makes a part of it (scripts/build/bytecode.ts). */
declare function require(module: string): unknown;
