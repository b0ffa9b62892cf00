/** Request numbers of ioctl(2), computed as asm-generic/ioctl.h does. */

const write = 1;
const read = 2;

const request = (direction: number, type: number, nr: number, sizeBytes: number): number =>
  // >>> 0: a read request has its top bit set and would come out negative.
  ((direction << 30) | (sizeBytes << 16) | (type << 8) | nr) >>> 0;

/** _IO(type, nr) */
export const io = (type: number, nr: number): number => request(0, type, nr, 0);
/** _IOR(type, nr, size) */
export const ior = (type: number, nr: number, sizeBytes: number): number =>
  request(read, type, nr, sizeBytes);
/** _IOW(type, nr, size) */
export const iow = (type: number, nr: number, sizeBytes: number): number =>
  request(write, type, nr, sizeBytes);
/** _IOWR(type, nr, size) */
export const iowr = (type: number, nr: number, sizeBytes: number): number =>
  request(read | write, type, nr, sizeBytes);
