/*
 * limit DEVICE ROOT: brings the data volume up with no system call that could be left out. It
 * trusts whatever has a Btrfs superblock and formats everything else: it marks how fast a program
 * could be, and must not be let near a disk that holds something.
 */
#define _GNU_SOURCE
#include "volume.h"

/* uapi/linux/btrfs_tree.h, struct btrfs_super_block */
enum { SUPERBLOCK = 65536, ADDRESS = 48, MAGIC = 64, DEVICE_BYTES = 209, SECTOR = 4096 };

#define SNAPSHOTTER "io.containerd.snapshotter.v1."

struct directory {
  const char *subvolume;
  const char *path;
};

/* With the parents that have to be made first. */
static const struct directory parents[] = {
    {"@docker", "network"},
    {"@docker", "volumes"},
    {"@docker", "containerd"},
    {"@docker", "containerd/daemon"},
    {"@docker", "containerd/daemon/" SNAPSHOTTER "overlayfs"},
    {"@docker", "containerd/daemon/" SNAPSHOTTER "native"},
    {"@docker", "containerd/daemon/" SNAPSHOTTER "btrfs"},
    {"@docker", "containerd/daemon/" SNAPSHOTTER "erofs"},
    {"@containerd", SNAPSHOTTER "overlayfs"},
    {"@containerd", SNAPSHOTTER "native"},
    {"@containerd", SNAPSHOTTER "btrfs"},
    {"@containerd", SNAPSHOTTER "erofs"},
    {"@k3s", "server"},
    {"@k3s", "agent"},
    {"@k3s", "agent/containerd"},
    {"@k3s", "agent/containerd/" SNAPSHOTTER "overlayfs"}};

/* Directories that are NOCOW, files that are, and directories inside the first that are not. */
enum { NOCOW_DIRECTORY, NOCOW_FILE, PLAIN };
static const struct {
  struct directory at;
  int kind;
} places[] = {
    {{"@docker", "buildkit"}, NOCOW_DIRECTORY},
    {{"@docker", "buildkit/content"}, PLAIN},
    {{"@docker", "buildkit/executor"}, PLAIN},
    {{"@docker", "network/files"}, NOCOW_DIRECTORY},
    {{"@docker", "volumes/metadata.db"}, NOCOW_FILE},
    {{"@docker", "containerd/daemon/io.containerd.metadata.v1.bolt"}, NOCOW_DIRECTORY},
    {{"@docker", "containerd/daemon/" SNAPSHOTTER "overlayfs/metadata.db"}, NOCOW_FILE},
    {{"@docker", "containerd/daemon/" SNAPSHOTTER "native/metadata.db"}, NOCOW_FILE},
    {{"@docker", "containerd/daemon/" SNAPSHOTTER "btrfs/metadata.db"}, NOCOW_FILE},
    {{"@docker", "containerd/daemon/" SNAPSHOTTER "erofs/metadata.db"}, NOCOW_FILE},
    {{"@containerd", "io.containerd.metadata.v1.bolt"}, NOCOW_DIRECTORY},
    {{"@containerd", SNAPSHOTTER "overlayfs/metadata.db"}, NOCOW_FILE},
    {{"@containerd", SNAPSHOTTER "native/metadata.db"}, NOCOW_FILE},
    {{"@containerd", SNAPSHOTTER "btrfs/metadata.db"}, NOCOW_FILE},
    {{"@containerd", SNAPSHOTTER "erofs/metadata.db"}, NOCOW_FILE},
    {{"@k3s", "server/db"}, NOCOW_DIRECTORY},
    {{"@k3s", "server/db/snapshots"}, PLAIN},
    {{"@k3s", "agent/containerd/io.containerd.metadata.v1.bolt"}, NOCOW_DIRECTORY},
    {{"@k3s", "agent/containerd/" SNAPSHOTTER "overlayfs/metadata.db"}, NOCOW_FILE},
};

static unsigned char head[SUPERBLOCK + SECTOR];

static uint64_t field(int offset) {
  uint64_t value;
  memcpy(&value, head + SUPERBLOCK + offset, sizeof value);
  return value;
}

/* One read has the places of foreign signatures at the front, and the superblock. */
static int is_btrfs(int device) {
  if (pread(device, head, sizeof head, 0) != (ssize_t)sizeof head) die("pread");
  return memcmp(head + SUPERBLOCK + MAGIC, "_BHRfS_M", 8) == 0 && field(ADDRESS) == SUPERBLOCK;
}

static void format(char *device) {
  char *argv[] = {"/sbin/mkfs.btrfs", "-q", "-K", "-L", "arcbox-data", device, NULL};
  if (run(argv) != 0) exit(1);
}

static void mount_at(const char *device, char *target, const char *data) {
  if (mount(device, target, "btrfs", MS_NOATIME, data) == 0) return;
  if (errno != ENOENT) die(target);
  make_directories(target);
  must(mount(device, target, "btrfs", MS_NOATIME, data), target);
}

static void set_nocow(int top, const struct directory *at, int kind) {
  char path[4096];
  int flags, mode = O_RDONLY | O_NOATIME | (kind == NOCOW_FILE ? 0 : O_DIRECTORY);
  snprintf(path, sizeof path, "%s/%s", at->subvolume, at->path);
  int fd = openat(top, path, mode);
  if (fd < 0 && kind == NOCOW_FILE) fd = must(openat(top, path, O_RDWR | O_CREAT | O_EXCL, 0600), path);
  if (fd < 0) {
    must(mkdirat(top, path, 0700), path);
    fd = must(openat(top, path, mode), path);
  }
  must(ioctl(fd, FS_IOC_GETFLAGS, &flags), "FS_IOC_GETFLAGS");
  if (((flags & FS_NOCOW_FL) != 0) == (kind == PLAIN)) {
    flags ^= FS_NOCOW_FL;
    must(ioctl(fd, FS_IOC_SETFLAGS, &flags), "FS_IOC_SETFLAGS");
  }
  close(fd);
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  char *device = argv[1], *root = argv[2], path[4096];
  if (is_mounted(read_text("/proc/self/mountinfo"), root)) return 0;

  uint64_t device_bytes;
  int fd = must(open(device, O_RDONLY | O_CLOEXEC), device);
  must(ioctl(fd, BLKGETSIZE64, &device_bytes), "BLKGETSIZE64");
  int is_new = !is_btrfs(fd);
  if (is_new) format(device);

  snprintf(path, sizeof path, "%s" RAW, root);
  mount_at(device, path, "compress=zstd:1,discard=async");
  int top = must(open(path, O_RDONLY | O_DIRECTORY), path);
  if (!is_new && device_bytes - field(DEVICE_BYTES) >= SECTOR) resize_to_device(top);

  for (size_t i = 0; i < COUNT(entries); i++) {
    char data[64];
    if (is_new) create_subvolume(top, entries[i].subvolume);
    snprintf(path, sizeof path, "%s%s", root, entries[i].target);
    snprintf(data, sizeof data, "subvol=%s", entries[i].subvolume);
    mount_at(device, path, data);
  }
  for (size_t i = 0; is_new && i < COUNT(parents); i++) {
    snprintf(path, sizeof path, "%s/%s", parents[i].subvolume, parents[i].path);
    must(mkdirat(top, path, 0700), path);
  }
  for (size_t i = 0; i < COUNT(places); i++) set_nocow(top, &places[i].at, places[i].kind);
  return 0;
}
