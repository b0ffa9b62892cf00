/** Request numbers, the same on x86-64 and arm64: uapi/linux/fs.h, loop.h, btrfs.h. */
export const requests = {
  BLKROGET: 0x125e,
  BLKFLSBUF: 0x1261,
  BLKSSZGET: 0x1268,
  BLKGETSIZE64: 0x80081272,
  LOOP_CLR_FD: 0x4c01,
  LOOP_GET_STATUS64: 0x4c05,
  LOOP_SET_CAPACITY: 0x4c07,
  LOOP_CONFIGURE: 0x4c0a,
  LOOP_CTL_GET_FREE: 0x4c82,
  RESIZE: 0x50009403,
  SUBVOL_CREATE: 0x5000940e,
  SUBVOL_GETFLAGS: 0x80089419,
  SUBVOL_SETFLAGS: 0x4008941a,
  GET_SUBVOL_INFO: 0x81f8943c,
  DEV_INFO: 0xd000941e,
  FS_INFO: 0x8400941f,
  GET_DEV_STATS: 0xc4089434,
  FS_IOC_GETFLAGS: 0x80086601,
  FS_IOC_SETFLAGS: 0x40086602,
} as const;

export const ioctlNames: ReadonlyMap<number, string> = new Map(
  Object.entries(requests).map(([name, number]) => [number, name]),
);
