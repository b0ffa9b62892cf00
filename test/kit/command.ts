/** The Debian package of each program the tests start. */
const packageOf: Readonly<Record<string, string>> = {
  blockdev: "util-linux",
  bzip2: "bzip2",
  btrfs: "btrfs-progs",
  "btrfs-map-logical": "btrfs-progs",
  chattr: "e2fsprogs",
  "dpkg-deb": "dpkg",
  fallocate: "util-linux",
  filefrag: "e2fsprogs",
  journalctl: "systemd",
  losetup: "mount",
  ldd: "libc-bin",
  lsattr: "e2fsprogs",
  cryptsetup: "cryptsetup-bin",
  genisoimage: "genisoimage",
  genromfs: "genromfs",
  jfs_mkfs: "jfsutils",
  "mkfs.btrfs": "btrfs-progs",
  "mkfs.erofs": "erofs-utils",
  "mkfs.exfat": "exfatprogs",
  "mkfs.ext2": "e2fsprogs",
  "mkfs.ext4": "e2fsprogs",
  "mkfs.f2fs": "f2fs-tools",
  "mkfs.fat": "dosfstools",
  "mkfs.nilfs2": "nilfs-tools",
  "mkfs.reiser4": "reiser4progs",
  "mkfs.reiserfs": "reiserfsprogs",
  "mkfs.xfs": "xfsprogs",
  mksquashfs: "squashfs-tools",
  mkswap: "util-linux",
  mount: "mount",
  node: "nodejs",
  npm: "npm",
  "qemu-img": "qemu-utils",
  "qemu-io": "qemu-utils",
  "qemu-storage-daemon": "qemu-system-common",
  "qemu-system-aarch64": "qemu-system-arm",
  "qemu-system-x86_64": "qemu-system-x86",
  objdump: "binutils",
  readelf: "binutils",
  setpriv: "util-linux",
  setsid: "util-linux",
  sfdisk: "fdisk",
  strace: "strace",
  systemctl: "systemd",
  tar: "tar",
  umount: "mount",
  unshare: "util-linux",
  veritysetup: "cryptsetup-bin",
  wipefs: "util-linux",
  xz: "xz-utils",
  zstd: "zstd",
};

/** Where a program is, or an error that names the package to install: a test is never skipped. */
export function tool(name: string): string {
  const found = Bun.which(name, { PATH: `${process.env.PATH ?? ""}:/usr/sbin:/sbin` });
  if (found !== null) return found;
  throw new Error(`${name} is missing: apt-get install ${packageOf[name] ?? name}`);
}

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export function tryCommand(name: string, ...args: readonly string[]): CommandResult {
  const done = Bun.spawnSync([tool(name), ...args], { stdin: "ignore" });
  return {
    exitCode: done.exitCode,
    stdout: done.stdout.toString(),
    stderr: done.stderr.toString(),
  };
}

/** Runs a program of the test's own set-up and returns its standard output. */
export function command(name: string, ...args: readonly string[]): string {
  const { exitCode, stdout, stderr } = tryCommand(name, ...args);
  if (exitCode === 0) return stdout;
  throw new Error(`${name} ${args.join(" ")}: exit ${exitCode}: ${stdout}${stderr}`);
}
