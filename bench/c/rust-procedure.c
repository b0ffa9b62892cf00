/*
 * rust-procedure DEVICE ROOT [WAIT_SECONDS]: what the Rust agent 0.4.10 does to bring its data
 * volume up, step by step, without what it does besides (its RPC, its logs). So its numbers are a
 * lower bound of that agent's. It formats whatever has no Btrfs magic, as that agent does.
 * BUSYBOX is the path of a static busybox, which is what mounts fastest from a program of its own.
 */
#define _GNU_SOURCE
#include "volume.h"
#include <time.h>

static const char *const directories[] = {
    "io.containerd.metadata.v1.bolt",
    "io.containerd.snapshotter.v1.overlayfs",
    "containerd",
    "network",
    "builder",
    "buildkit",
    "image",
    "trust",
};

enum { MAGIC_OFFSET = 0x10040, POLL_MS = 100 };

/* It looks for the node every 100 ms. */
static void wait_for(const char *device, int seconds) {
  const struct timespec pause = {0, POLL_MS * 1000000L};
  for (int ms = 0; access(device, F_OK) < 0; ms += POLL_MS) {
    if (ms >= seconds * 1000) die(device);
    nanosleep(&pause, NULL);
  }
}

/* Whatever cannot be read is not Btrfs either. */
static int is_btrfs(const char *device) {
  char magic[8] = {0};
  int fd = open(device, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t got = pread(fd, magic, sizeof magic, MAGIC_OFFSET);
  close(fd);
  return got == 8 && memcmp(magic, "_BHRfS_M", 8) == 0;
}

static void mount_at(char *device, char *target, char *options) {
  char *argv[] = {BUSYBOX, "mount", "-t", "btrfs", "-o", options, device, target, NULL};
  make_directories(target);
  if (run(argv) != 0) exit(1);
}

/* Sets the flag whether it is set or not. */
static void flag_nocow(const char *target) {
  for (size_t i = 0; i < COUNT(directories); i++) {
    char path[4096 + 64];
    int flags = 0;
    snprintf(path, sizeof path, "%s/%s", target, directories[i]);
    if (mkdir(path, 0755) < 0 && errno != EEXIST) continue;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
      flags |= FS_NOCOW_FL;
      (void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
    }
    close(fd);
  }
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  char *device = argv[1], *root = argv[2], path[4096];
  if (is_mounted(read_text("/proc/mounts"), root)) return 0;
  wait_for(device, argc > 3 ? atoi(argv[3]) : 5);
  if (!is_btrfs(device)) {
    char *mkfs[] = {"/sbin/mkfs.btrfs", "-f", device, NULL};
    if (run(mkfs) != 0) return 1;
  }

  snprintf(path, sizeof path, "%s" RAW, root);
  mount_at(device, path, "compress=zstd:3,discard=async");
  int top = must(open(path, O_RDONLY | O_CLOEXEC), path);
  (void)resize_to_device(top);
  for (size_t i = 0; i < COUNT(entries); i++) create_subvolume(top, entries[i].subvolume);
  close(top);

  for (size_t i = 0; i < COUNT(entries); i++) {
    char options[128];
    snprintf(path, sizeof path, "%s%s", root, entries[i].target);
    snprintf(options, sizeof options, "compress=zstd:1,discard=async,noatime,space_cache=v2,subvol=%s",
             entries[i].subvolume);
    mount_at(device, path, options);
    flag_nocow(path);
  }
  return 0;
}
