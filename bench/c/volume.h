/* What limit.c and rust-procedure.c share: the names of the data volume and its calls. */
#ifndef VOLUME_H
#define VOLUME_H

#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/fs.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

struct entry {
  const char *subvolume;
  const char *target;
};

static const struct entry entries[] = {
    {"@docker", "/var/lib/docker"},   {"@containerd", "/var/lib/containerd"},
    {"@k3s", "/var/lib/rancher/k3s"}, {"@kubelet", "/var/lib/kubelet"},
    {"@cni", "/var/lib/cni"},
};

#define RAW "/run/arcbox/data"

extern char **environ;

__attribute__((noreturn)) static inline void die(const char *what) {
  perror(what);
  exit(1);
}

static inline int must(int result, const char *what) {
  if (result < 0) die(what);
  return result;
}

/* `mkdir -p`. */
static inline void make_directories(char *path) {
  for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
    *slash = 0;
    if (mkdir(path, 0755) < 0 && errno != EEXIST) die(path);
    *slash = '/';
  }
  if (mkdir(path, 0755) < 0 && errno != EEXIST) die(path);
}

/* Runs a program and returns its exit status. */
static inline int run(char *const argv[]) {
  pid_t child;
  int status;
  errno = posix_spawn(&child, argv[0], NULL, NULL, argv, environ);
  if (errno != 0) die(argv[0]);
  must(waitpid(child, &status, 0), "waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static inline void create_subvolume(int top, const char *name) {
  struct btrfs_ioctl_vol_args argument = {0};
  strncpy(argument.name, name, BTRFS_PATH_NAME_MAX);
  if (ioctl(top, BTRFS_IOC_SUBVOL_CREATE, &argument) < 0 && errno != EEXIST) die(name);
}

static inline int resize_to_device(int top) {
  struct btrfs_ioctl_vol_args argument = {0};
  strcpy(argument.name, "1:max");
  return ioctl(top, BTRFS_IOC_RESIZE, &argument);
}

/* Whether a mount table has all the targets below `root`. */
static inline int is_mounted(const char *table, const char *root) {
  for (size_t i = 0; i < COUNT(entries); i++) {
    char path[4096];
    snprintf(path, sizeof path, " %s%s ", root, entries[i].target);
    if (strstr(table, path) == NULL) return 0;
  }
  return 1;
}

static inline const char *read_text(const char *path) {
  static char text[256 * 1024];
  size_t length = 0;
  int fd = must(open(path, O_RDONLY | O_CLOEXEC), path);
  for (ssize_t got; length < sizeof text - 1; length += (size_t)got) {
    got = read(fd, text + length, sizeof text - 1 - length);
    if (must((int)got, path) == 0) break;
  }
  close(fd);
  text[length] = 0;
  return text;
}

#endif
