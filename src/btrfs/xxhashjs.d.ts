/** As much of the package as is used. What it brings along itself would make all of Node known below src/. */
declare module "xxhashjs" {
  const xxhash: { h64(data: ArrayBuffer, seed: number): { toString(radix: number): string } };
  // biome-ignore lint/style/noDefaultExport: the package has this one.
  export default xxhash;
}
