// What every executable of Bun costs before its first line.
export {};
