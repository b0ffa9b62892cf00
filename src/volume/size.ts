const units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** "64 GiB", "109.3 MiB": with one decimal where it is not whole. */
export function sizeText(bytes: number | bigint): string {
  let value = Number(bytes);
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  const text = Number.isInteger(value) ? String(value) : value.toFixed(1);
  return `${text} ${units[unit]}`;
}

/** Two sizes that are compared: with their bytes too where rounding might make them the same. */
export function comparedSizes(
  one: number | bigint,
  other: number | bigint,
): readonly [one: string, other: string] {
  const [a, b] = [Number(one), Number(other)];
  const isClose = one !== other && Math.abs(a - b) < Math.max(a, b) / 10;
  const text = (bytes: number | bigint): string =>
    isClose ? `${sizeText(bytes)} (${bytes} bytes)` : sizeText(bytes);
  return [text(one), text(other)];
}
