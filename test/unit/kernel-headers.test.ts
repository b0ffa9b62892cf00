import { beforeAll, describe, expect, test } from "bun:test";
import { deviceErrors, GET_DEV_STATS } from "../../src/btrfs/device-stats.ts";
import * as btrfs from "../../src/btrfs/ioctls.ts";
import { SPACE_INFO, spaceInfo } from "../../src/btrfs/space.ts";
import { superblockFields } from "../../src/btrfs/superblock.ts";
import { deviceSize, deviceSizeBytes, isDeviceReadOnly } from "../../src/linux/block-device.ts";
import { SystemError } from "../../src/linux/errno.ts";
import { findLock, tryLockRange } from "../../src/linux/file-locks.ts";
import { isOpenForWriting } from "../../src/linux/leases.ts";
import { attachLoop, detachLoop, refreshLoopSize } from "../../src/linux/loop.ts";
import { inC, lackingCompiler } from "./support/c-program.ts";
import { fakeKernel } from "./support/fake-kernel.ts";
import { describeWhere } from "./support/gate.ts";

const offset = (type: string, field: string): string => `offsetof(struct ${type}, ${field})`;
const size = (type: string): string => `sizeof(struct ${type})`;

/** A buffer as the kernel fills it: 64-bit values at the places that C gives. */
type Filling = readonly (readonly [at: number, value: bigint, bits?: 16 | 32])[];

/** A kernel whose ioctl answers with this, and that says what it was asked. */
function answering(filling: Filling, result = 0) {
  const asked: { request: number; argument: Uint8Array | number }[] = [];
  const kernel = fakeKernel({
    ioctl(_fd, request, argument) {
      asked.push({ request, argument: typeof argument === "number" ? argument : argument.slice() });
      if (typeof argument === "number") return result;
      const view = new DataView(argument.buffer, argument.byteOffset);
      for (const [at, value, bits] of filling) {
        if (bits === 16) view.setUint16(at, Number(value), true);
        else if (bits === 32) view.setUint32(at, Number(value), true);
        else view.setBigUint64(at, value, true);
      }
      return result;
    },
  });
  return { kernel, asked };
}

const u64At = (bytes: Uint8Array | number | undefined, at: number): bigint => {
  if (!(bytes instanceof Uint8Array)) throw new Error("no buffer");
  return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(at, true);
};

describeWhere(lackingCompiler(), "as the kernel's own headers have it", () => {
  describe("request numbers", () => {
    const numbers = {
      BTRFS_IOC_RESIZE: btrfs.RESIZE,
      BTRFS_IOC_SUBVOL_CREATE: btrfs.SUBVOL_CREATE,
      BTRFS_IOC_SUBVOL_GETFLAGS: btrfs.SUBVOL_GETFLAGS,
      BTRFS_IOC_SUBVOL_SETFLAGS: btrfs.SUBVOL_SETFLAGS,
      BTRFS_IOC_DEV_INFO: btrfs.DEV_INFO,
      BTRFS_IOC_FS_INFO: btrfs.FS_INFO,
      BTRFS_IOC_SPACE_INFO: SPACE_INFO,
      BTRFS_IOC_GET_DEV_STATS: GET_DEV_STATS,
      BTRFS_IOC_GET_SUBVOL_INFO: btrfs.GET_SUBVOL_INFO,
      FS_IOC_GETFLAGS: btrfs.FS_IOC_GETFLAGS,
      FS_IOC_SETFLAGS: btrfs.FS_IOC_SETFLAGS,
      FS_NOCOW_FL: btrfs.noCopyOnWrite,
      BTRFS_FIRST_FREE_OBJECTID: Number(btrfs.subvolumeRootInode),
    };
    test("are these", () => {
      const names = Object.fromEntries(Object.keys(numbers).map((name) => [name, name]));
      expect(inC(names)).toEqual(numbers);
    });
  });

  test("the argument of RESIZE and SUBVOL_CREATE", () => {
    const c = inC({
      size: size("btrfs_ioctl_vol_args"),
      fd: offset("btrfs_ioctl_vol_args", "fd"),
      name: offset("btrfs_ioctl_vol_args", "name"),
      limit: "BTRFS_PATH_NAME_MAX",
    });
    const { volumeArguments, volumeNameLimitBytes } = btrfs;
    expect(volumeArguments.sizeBytes).toBe(c.size);
    expect(volumeArguments.fields.fd.offset).toBe(c.fd);
    expect(volumeArguments.fields.name.offset).toBe(c.name);
    expect(volumeNameLimitBytes).toBe(c.limit);
  });

  test("the superblock: every field at its place", () => {
    // The struct is in btrfs_tree.h since Linux 6.3 and was private before; the device's item always is.
    const item = inC({
      size: size("btrfs_dev_item"),
      devid: offset("btrfs_dev_item", "devid"),
      total: offset("btrfs_dev_item", "total_bytes"),
      used: offset("btrfs_dev_item", "bytes_used"),
      uuid: offset("btrfs_dev_item", "uuid"),
      fsid: offset("btrfs_dev_item", "fsid"),
    });
    const { fields } = superblockFields;
    const start = fields.deviceId.offset - item.devid;
    expect(start + item.size).toBe(fields.label.offset);
    expect({
      total: fields.deviceBytes.offset - start,
      used: fields.deviceUsedBytes.offset - start,
      uuid: fields.deviceUuid.offset - start,
      fsid: fields.deviceFsid.offset - start,
    }).toEqual({ total: item.total, used: item.used, uuid: item.uuid, fsid: item.fsid });
  });

  test("FS_INFO", () => {
    const type = "btrfs_ioctl_fs_info_args";
    const c = inC({
      size: size(type),
      maxId: offset(type, "max_id"),
      count: offset(type, "num_devices"),
      fsid: offset(type, "fsid"),
      node: offset(type, "nodesize"),
      sector: offset(type, "sectorsize"),
      flags: offset(type, "flags"),
      generation: offset(type, "generation"),
      csum: "BTRFS_FS_INFO_FLAG_CSUM_INFO",
      withGeneration: "BTRFS_FS_INFO_FLAG_GENERATION",
    });
    const { kernel, asked } = answering([
      [c.maxId, 7n],
      [c.count, 2n],
      [c.fsid, 0x0706050403020100n],
      [c.fsid + 8, 0x0f0e0d0c0b0a0908n],
      [c.node, 16_384n, 32],
      [c.sector, 4096n, 32],
      [c.generation, 99n],
    ]);
    expect(btrfs.filesystemInfo(kernel, 3)).toMatchObject({
      maxDeviceId: 7n,
      deviceCount: 2n,
      fsid: "00010203-0405-0607-0809-0a0b0c0d0e0f",
      nodeBytes: 16_384,
      sectorBytes: 4096,
      generation: 99n,
    });
    expect(asked[0]?.argument).toHaveLength(c.size);
    const flags = u64At(asked[0]?.argument, c.flags);
    expect(flags & BigInt(c.withGeneration)).toBe(BigInt(c.withGeneration));
  });

  test("DEV_INFO", () => {
    const type = "btrfs_ioctl_dev_info_args";
    const c = inC({
      size: size(type),
      id: offset(type, "devid"),
      used: offset(type, "bytes_used"),
      total: offset(type, "total_bytes"),
      path: offset(type, "path"),
    });
    const { kernel, asked } = answering([
      [c.used, 5n],
      [c.total, 6n],
      [c.path, 0x62_64_76_2f_76_65_64_2fn], // "/dev/vdb", backwards
    ]);
    expect(btrfs.deviceInfo(kernel, 3, 2n)).toMatchObject({
      deviceId: 2n,
      usedBytes: 5n,
      totalBytes: 6n,
      path: "/dev/vdb",
    });
    expect(asked[0]?.argument).toHaveLength(c.size);
    expect(u64At(asked[0]?.argument, c.id)).toBe(2n);
  });

  test("GET_SUBVOL_INFO", () => {
    const type = "btrfs_ioctl_get_subvol_info_args";
    const c = inC({
      size: size(type),
      id: offset(type, "treeid"),
      name: offset(type, "name"),
      parent: offset(type, "parent_id"),
      generation: offset(type, "generation"),
      flags: offset(type, "flags"),
      uuid: offset(type, "uuid"),
      parentUuid: offset(type, "parent_uuid"),
      receivedUuid: offset(type, "received_uuid"),
    });
    const { kernel, asked } = answering(
      [
        [c.id, 256n],
        [c.name, 0x72_65_6b_63_6f_64_40n], // "@docker"
        [c.parent, 5n],
        [c.generation, 9n],
        [c.flags, 1n],
        [c.uuid, 0x11n],
        [c.parentUuid, 0x22n],
        [c.receivedUuid, 0x33n],
      ],
      1,
    );
    expect(btrfs.subvolumeInfo(kernel, 3)).toEqual({
      id: 256n,
      name: "@docker",
      parentId: 5n,
      generation: 9n,
      readOnly: true,
      uuid: "11000000-0000-0000-0000-000000000000",
      parentUuid: "22000000-0000-0000-0000-000000000000",
      receivedUuid: "33000000-0000-0000-0000-000000000000",
    });
    expect(asked[0]?.argument).toHaveLength(c.size);
    expect(btrfs.subvolumeInfo(answering([]).kernel, 3).receivedUuid).toBeNull();
  });

  test("GET_DEV_STATS", () => {
    const type = "btrfs_ioctl_get_dev_stats";
    const value = (name: string) => `${offset(type, "values")} + 8 * BTRFS_DEV_STAT_${name}`;
    const c = inC({
      size: size(type),
      id: offset(type, "devid"),
      items: offset(type, "nr_items"),
      count: "BTRFS_DEV_STAT_VALUES_MAX",
      write: value("WRITE_ERRS"),
      read: value("READ_ERRS"),
      flush: value("FLUSH_ERRS"),
      corruption: value("CORRUPTION_ERRS"),
      generation: value("GENERATION_ERRS"),
    });
    const { kernel, asked } = answering([
      [c.write, 1n],
      [c.read, 2n],
      [c.flush, 3n],
      [c.corruption, 4n],
      [c.generation, 5n],
    ]);
    expect(deviceErrors(kernel, 3, 2n)).toEqual({
      write: 1n,
      read: 2n,
      flush: 3n,
      corruption: 4n,
      generation: 5n,
    });
    expect(asked[0]?.argument).toHaveLength(c.size);
    expect(u64At(asked[0]?.argument, c.id)).toBe(2n);
    expect(u64At(asked[0]?.argument, c.items)).toBe(BigInt(c.count));
  });

  test("SPACE_INFO: the count is asked first, then that many slots", () => {
    const slot = "btrfs_ioctl_space_info";
    const c = inC({
      size: size("btrfs_ioctl_space_args"),
      slots: offset("btrfs_ioctl_space_args", "space_slots"),
      total: offset("btrfs_ioctl_space_args", "total_spaces"),
      slot: size(slot),
      flags: offset(slot, "flags"),
      totalBytes: offset(slot, "total_bytes"),
      used: offset(slot, "used_bytes"),
      dataSingle: "BTRFS_BLOCK_GROUP_DATA",
      metadataDup: "BTRFS_BLOCK_GROUP_METADATA | BTRFS_BLOCK_GROUP_DUP",
    });
    const sizes: number[] = [];
    const kernel = fakeKernel({
      ioctl(_fd, _request, argument) {
        if (!(argument instanceof Uint8Array)) throw new Error("no buffer");
        sizes.push(argument.length);
        const view = new DataView(argument.buffer, argument.byteOffset);
        view.setBigUint64(c.total, 2n, true);
        if (view.getBigUint64(c.slots, true) === 0n) return 0;
        const second = c.size + c.slot;
        view.setBigUint64(c.size + c.flags, BigInt(c.dataSingle), true);
        view.setBigUint64(c.size + c.totalBytes, 100n, true);
        view.setBigUint64(c.size + c.used, 40n, true);
        view.setBigUint64(second + c.flags, BigInt(c.metadataDup), true);
        view.setBigUint64(second + c.used, 7n, true);
        return 0;
      },
    });
    expect(spaceInfo(kernel, 3)).toMatchObject([
      { type: "data", profile: "single", copies: 1, totalBytes: 100n, usedBytes: 40n },
      { type: "metadata", profile: "dup", copies: 2, usedBytes: 7n },
    ]);
    expect(sizes).toEqual([c.size, c.size + 2 * c.slot]);
  });

  test("inode flags: an int, in a buffer as long as the number says", () => {
    const read = answering([[0, 0x8000_0004n, 32]]);
    expect(btrfs.getInodeFlags(read.kernel, 3)).toBe(0x8000_0004);
    expect(read.asked[0]?.argument).toHaveLength(8);
    const written = answering([]);
    btrfs.setInodeFlags(written.kernel, 3, 0x8080_0000);
    expect(u64At(written.asked[0]?.argument, 0)).toBe(0x8080_0000n);
  });

  test("the flag of a read-only subvolume", () => {
    const { flag } = inC({ flag: "BTRFS_SUBVOL_RDONLY" });
    expect(btrfs.isSubvolumeReadOnly(answering([[0, BigInt(flag)]]).kernel, 3)).toBe(true);
    expect(btrfs.isSubvolumeReadOnly(answering([[0, ~BigInt(flag)]]).kernel, 3)).toBe(false);
  });

  test("a subvolume is made writable, and its other flags are kept", () => {
    const { flag } = inC({ flag: "BTRFS_SUBVOL_RDONLY" });
    const { kernel, asked } = answering([[0, BigInt(flag) | 0x10n]]);
    btrfs.makeSubvolumeWritable(kernel, 3, "@docker");
    expect(asked.map(({ request }) => request)).toEqual([
      btrfs.SUBVOL_GETFLAGS,
      btrfs.SUBVOL_SETFLAGS,
    ]);
    // The answer above is given to every ioctl: what was asked for is what is left of it.
    expect(asked[1]?.argument).toHaveLength(8);
  });

  test("size and read-only flag of a block device", () => {
    const c = inC({ size: "BLKGETSIZE64", readOnly: "BLKROGET" });
    const sized = answering([[0, 8n << 40n]]);
    expect(deviceSizeBytes(sized.kernel, 3)).toBe(8 * 2 ** 40);
    expect(sized.asked[0]?.request).toBe(c.size);
    const readOnly = answering([[0, 1n, 32]]);
    expect(isDeviceReadOnly(readOnly.kernel, 3)).toBe(true);
    expect(isDeviceReadOnly(answering([]).kernel, 3)).toBe(false);
    expect(readOnly.asked[0]?.request).toBe(c.readOnly);
  });

  test("the size in whole sectors, of which some disks have a part too many", () => {
    const c = inC({ size: "BLKGETSIZE64", sector: "BLKSSZGET" });
    const sized = (bytes: number, sectorBytes: number) =>
      deviceSize(
        fakeKernel({
          ioctl(_fd, request, argument) {
            if (!(argument instanceof Uint8Array)) throw new Error("no buffer");
            const view = new DataView(argument.buffer);
            if (request === c.size) view.setBigUint64(0, BigInt(bytes), true);
            else if (request === c.sector) view.setUint32(0, sectorBytes, true);
            else throw new Error("another request");
            return 0;
          },
        }),
        3,
      );
    const mib = 2 ** 20;
    expect(sized(mib, 4096)).toMatchObject({ sizeBytes: mib, isRagged: false });
    expect(sized(mib + 512, 512)).toMatchObject({ sizeBytes: mib + 512, isRagged: false });
    expect(sized(mib + 512, 4096)).toMatchObject({ sizeBytes: mib, isRagged: true });
    expect(sized(mib - 512, 4096)).toMatchObject({ sizeBytes: mib - 4096, isRagged: true });
    expect(sized(0, 512)).toMatchObject({ sizeBytes: 0, isRagged: false });
  });

  test("a lock on bytes of a file", () => {
    const c = inC(
      {
        size: "sizeof(struct flock)",
        type: "offsetof(struct flock, l_type)",
        whence: "offsetof(struct flock, l_whence)",
        start: "offsetof(struct flock, l_start)",
        length: "offsetof(struct flock, l_len)",
        pid: "offsetof(struct flock, l_pid)",
        get: "F_OFD_GETLK",
        set: "F_OFD_SETLK",
        read: "F_RDLCK",
        write: "F_WRLCK",
        none: "F_UNLCK",
        set_: "SEEK_SET",
      },
      ["stdio.h", "stddef.h", "unistd.h", "fcntl.h"],
    );
    const asked: { command: number; lock: DataView }[] = [];
    const answer = (type: number, pid: number) =>
      fakeKernel({
        fcntl(_fd, command, argument) {
          if (typeof argument === "number") throw new Error("a lock is a buffer");
          asked.push({ command, lock: new DataView(argument.slice().buffer) });
          const view = new DataView(argument.buffer);
          view.setInt16(c.type, type, true);
          view.setInt32(c.pid, pid, true);
          return 0;
        },
      });
    expect(findLock(answer(c.none, 0), 3, { start: 7, end: null }, true)).toBeNull();
    expect(findLock(answer(c.write, 4711), 3, { start: 7, end: 9 }, false)).toEqual({ pid: 4711 });
    expect(findLock(answer(c.read, -1), 3, { start: 7, end: 9 }, false)).toEqual({ pid: null });
    expect(tryLockRange(answer(0, 0), 3, { start: 7, end: 9 }, true)).toBe(true);
    expect(asked.map(({ command }) => command)).toEqual([c.get, c.get, c.get, c.set]);
    const facts = asked.map(({ lock }) => [
      lock.byteLength,
      lock.getInt16(c.type, true),
      lock.getInt16(c.whence, true),
      Number(lock.getBigInt64(c.start, true)),
      Number(lock.getBigInt64(c.length, true)),
    ]);
    expect(facts).toEqual([
      [c.size, c.write, c.set_, 7, 0],
      [c.size, c.read, c.set_, 7, 2],
      [c.size, c.read, c.set_, 7, 2],
      [c.size, c.write, c.set_, 7, 2],
    ]);
  });

  test("a lease for reading is asked for, and given back, with a signal that ends nobody", () => {
    const c = inC(
      {
        signal: "F_SETSIG",
        lease: "F_SETLEASE",
        read: "F_RDLCK",
        none: "F_UNLCK",
        urgent: "SIGURG",
        again: "EAGAIN",
        invalid: "EINVAL",
      },
      ["fcntl.h", "signal.h", "errno.h"],
    );
    const asked: unknown[] = [];
    const answering = (errno: number) =>
      fakeKernel({
        fcntl(_fd, command, argument) {
          asked.push([command, argument]);
          if (command === c.lease && errno !== 0) throw new SystemError("fcntl", errno);
          return 0;
        },
      });
    expect(isOpenForWriting(answering(0), 3)).toBe(false);
    expect(asked).toEqual([
      [c.signal, c.urgent],
      [c.lease, c.read],
      [c.lease, c.none],
    ]);
    expect(isOpenForWriting(answering(c.again), 3)).toBe(true);
    // A filesystem without leases.
    expect(isOpenForWriting(answering(c.invalid), 3)).toBe(false);
  });

  describe("loop devices", () => {
    const asked = {
      configure: "LOOP_CONFIGURE",
      free: "LOOP_CTL_GET_FREE",
      clear: "LOOP_CLR_FD",
      capacity: "LOOP_SET_CAPACITY",
      size: size("loop_config"),
      fd: offset("loop_config", "fd"),
      info: offset("loop_config", "info"),
      name: offset("loop_info64", "lo_file_name"),
      nameBytes: "LO_NAME_SIZE",
    };
    let c: Readonly<Record<keyof typeof asked, number>>;
    beforeAll(() => {
      c = inC(asked);
    });

    const opened = (ioctl: (request: number, argument: Uint8Array | number) => number) =>
      fakeKernel({
        open: (path) => (path === "/dev/loop-control" ? 4 : path.startsWith("/proc") ? 5 : 6),
        close: () => undefined,
        ioctl: (_fd, request, argument) => ioctl(request, argument),
      });

    test("are configured with the image and its name, cut to what the kernel keeps", () => {
      const path = `/srv/${"x".repeat(100)}`;
      let config = new Uint8Array();
      const kernel = opened((request, argument) => {
        if (request === c.free) return 7;
        expect(request).toBe(c.configure);
        if (!(argument instanceof Uint8Array)) throw new Error("no buffer");
        config = argument.slice();
        return 0;
      });
      expect(attachLoop(kernel, 5, path)).toEqual({ path: "/dev/loop7", fd: 5 });
      expect(config).toHaveLength(c.size);
      expect(new DataView(config.buffer).getUint32(c.fd, true)).toBe(5);
      const name = config.subarray(c.info + c.name, c.info + c.name + c.nameBytes);
      expect(new TextDecoder().decode(name)).toBe(`${path.slice(0, c.nameBytes - 1)}\0`);
    });

    test("are resized and detached by a plain number", () => {
      const requests: number[] = [];
      const kernel = opened((request) => {
        requests.push(request);
        return 0;
      });
      refreshLoopSize(kernel, 3);
      detachLoop(kernel, 3);
      expect(requests).toEqual([c.capacity, c.clear]);
    });
  });
});
