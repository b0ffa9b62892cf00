/*
 * What a container host does to its volume, the same every time.
 *   workload file PATH                     writes a database file of 64 MiB
 *   workload bolt PATH TRANSACTIONS        overwrites pages of it as BoltDB does
 *   workload tree FOLDER FILES             unpacks a tree, 100 files to a folder, 64 B to 32 KiB
 *   workload tiny FOLDER FILES             files of 64 bytes, 1000 to a folder
 *   workload change FOLDER FILES SEED      overwrites, appends to and adds to some of the tree
 *   workload walk FOLDER                   looks at every file of it
 *   workload remove FOLDER                 deletes it
 *   workload snapshot SOURCE FOLDER FIRST COUNT   takes snapshots FOLDER/FIRST and following
 *   workload subvolumes FOLDER COUNT       makes empty subvolumes FOLDER/0 and following
 * All but `walk` end with what they did on the disk. `bolt` says how many bytes it wrote.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/btrfs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096, DATABASE = 64 << 20, TEXT = 1 << 20, MANY_FDS = 16 };

static char text[TEXT];
static uint64_t state = 88172645463325252ULL;

static long must(long result, const char *what) {
  if (result >= 0) return result;
  perror(what);
  exit(1);
}

/* Numbers in [0, below): xorshift64, so that every run writes the same. */
static uint32_t chosen(uint32_t below) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)((state >> 33) % below);
}

/* Text that compresses to about a third, as the files of an image do. */
static void make_text(void) {
  for (size_t at = 0; at < sizeof text;) {
    uint32_t word = chosen(4000);
    at += (size_t)snprintf(text + at, sizeof text - at, "%x%s ", word * 2654435761U,
                           word % 3 ? "tion" : "");
  }
}

static void write_all(int fd, size_t length) {
  const char *from = text + chosen((uint32_t)(sizeof text - length));
  if (write(fd, from, length) != (ssize_t)length) must(-1, "write");
}

static void add_file(const char *path, size_t length) {
  int fd = (int)must(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), path);
  write_all(fd, length);
  close(fd);
}

static void sync_filesystem(const char *path) {
  int fd = (int)must(open(path, O_RDONLY), path);
  must(syncfs(fd), "syncfs");
  close(fd);
}

static void database(const char *path) {
  int fd = (int)must(open(path, O_RDWR | O_CREAT, 0600), path);
  for (int at = 0; at < DATABASE; at += TEXT) write_all(fd, TEXT / 2), write_all(fd, TEXT / 2);
  close(fd);
  sync_filesystem(path);
}

/* One to three pages somewhere, fdatasync, one of the two meta pages, fdatasync. */
static void bolt(const char *path, int transactions) {
  long long bytes = 0;
  int fd = (int)must(open(path, O_RDWR), path);
  for (int i = 0; i < transactions; i++) {
    for (uint32_t pages = 1 + chosen(3); pages > 0; pages--, bytes += PAGE) {
      off_t at = (off_t)(2 + chosen(DATABASE / PAGE - 2)) * PAGE;
      must(pwrite(fd, text + chosen(TEXT - PAGE), PAGE, at), "pwrite");
    }
    must(fdatasync(fd), "fdatasync");
    must(pwrite(fd, text + chosen(TEXT - PAGE), PAGE, (i % 2) * PAGE), "pwrite");
    bytes += PAGE;
    must(fdatasync(fd), "fdatasync");
  }
  close(fd);
  printf("%lld\n", bytes);
}

static void path_in_tree(char *path, size_t size, const char *folder, int file) {
  snprintf(path, size, "%s/%02d/%03d/file-%d.txt", folder, file / 10000, file / 100 % 100, file);
}

/* Log-uniform sizes: as many files of 64 to 128 bytes as of 16 to 32 KiB. */
static size_t tree_file_size(void) {
  size_t least = (size_t)64 << chosen(9);
  return least + chosen((uint32_t)least);
}

static void tree(const char *folder, int files) {
  char path[4096];
  must(mkdir(folder, 0755), folder);
  for (int i = 0; i < files; i++) {
    if (i % 10000 == 0) {
      snprintf(path, sizeof path, "%s/%02d", folder, i / 10000);
      must(mkdir(path, 0755), path);
    }
    if (i % 100 == 0) {
      snprintf(path, sizeof path, "%s/%02d/%03d", folder, i / 10000, i / 100 % 100);
      must(mkdir(path, 0755), path);
    }
    path_in_tree(path, sizeof path, folder, i);
    add_file(path, tree_file_size());
  }
  sync_filesystem(folder);
}

static void tiny(const char *folder, int files) {
  char path[4096];
  must(mkdir(folder, 0755), folder);
  for (int i = 0; i < files; i++) {
    if (i % 1000 == 0) {
      snprintf(path, sizeof path, "%s/%d", folder, i / 1000);
      must(mkdir(path, 0755), path);
    }
    snprintf(path, sizeof path, "%s/%d/%d", folder, i / 1000, i);
    add_file(path, 64);
  }
  sync_filesystem(folder);
}

/* 300 files overwritten, 300 appended to, 100 new ones. */
static void change(const char *folder, int files, int seed) {
  char path[4096];
  for (int i = 0; i < 600 + seed; i++) chosen(2);
  for (int i = 0; i < 600; i++) {
    path_in_tree(path, sizeof path, folder, (int)chosen((uint32_t)files));
    if (i % 2 == 0) {
      add_file(path, tree_file_size());
      continue;
    }
    int fd = (int)must(open(path, O_WRONLY | O_APPEND), path);
    write_all(fd, 200);
    close(fd);
  }
  for (int i = 0; i < 100; i++) {
    snprintf(path, sizeof path, "%s/new-%d-%d", folder, seed, i);
    add_file(path, tree_file_size());
  }
  sync_filesystem(folder);
}

static int forget(const char *path, const struct stat *status, int kind, struct FTW *place) {
  (void)status, (void)place;
  must(kind == FTW_DP ? rmdir(path) : unlink(path), path);
  return 0;
}

static int look(const char *path, const struct stat *status, int kind, struct FTW *place) {
  (void)path, (void)status, (void)kind, (void)place;
  return 0;
}

static void remove_tree(const char *folder) {
  char parent[4096];
  snprintf(parent, sizeof parent, "%s/..", folder);
  int fd = (int)must(open(parent, O_RDONLY), parent);
  must(nftw(folder, forget, MANY_FDS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT), folder);
  must(syncfs(fd), "syncfs");
}

static void snapshot(const char *source, const char *folder, int first, int count) {
  struct btrfs_ioctl_vol_args_v2 argument = {.fd = must(open(source, O_RDONLY), source)};
  int into = (int)must(open(folder, O_RDONLY), folder);
  for (int i = first; i < first + count; i++) {
    snprintf(argument.name, sizeof argument.name, "%d", i);
    must(ioctl(into, BTRFS_IOC_SNAP_CREATE_V2, &argument), folder);
  }
  must(syncfs(into), "syncfs");
}

static void subvolumes(const char *folder, int count) {
  struct btrfs_ioctl_vol_args argument = {0};
  int into = (int)must(open(folder, O_RDONLY), folder);
  for (int i = 0; i < count; i++) {
    snprintf(argument.name, sizeof argument.name, "%d", i);
    must(ioctl(into, BTRFS_IOC_SUBVOL_CREATE, &argument), folder);
  }
  must(syncfs(into), "syncfs");
}

int main(int argc, char **argv) {
  make_text();
  const char *what = argc > 2 ? argv[1] : "", *path = argv[2];
  const int first = argc > 3 ? atoi(argv[3]) : 0, second = argc > 4 ? atoi(argv[4]) : 0;
  if (strcmp(what, "file") == 0) database(path);
  else if (strcmp(what, "bolt") == 0 && argc == 4) bolt(path, first);
  else if (strcmp(what, "tree") == 0 && argc == 4) tree(path, first);
  else if (strcmp(what, "tiny") == 0 && argc == 4) tiny(path, first);
  else if (strcmp(what, "change") == 0 && argc == 5) change(path, first, second);
  else if (strcmp(what, "walk") == 0) must(nftw(path, look, MANY_FDS, FTW_PHYS | FTW_MOUNT), path);
  else if (strcmp(what, "remove") == 0) remove_tree(path);
  else if (strcmp(what, "snapshot") == 0 && argc == 6)
    snapshot(path, argv[3], second, atoi(argv[5]));
  else if (strcmp(what, "subvolumes") == 0 && argc == 4) subvolumes(path, first);
  else return fprintf(stderr, "workload: see the top of workload.c\n"), 2;
  return 0;
}
