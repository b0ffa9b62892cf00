// fuse MODE DIR: a FUSE filesystem at DIR, of which the daemon does not answer everything. It holds one file, "file", of
// 1 GiB of zeros. MODE says what is never answered:
//   names   what is looked up in DIR
//   reads   reads of the file
//   map     reads of the file; and a child has its memory map locked for good by a page fault in it
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROOT = 1, ONE_FILE = 2 };
static int device, opens;
static const char *mode;
static char path[4096];

static void must(int isDone, const char *what) {
  if (isDone) return;
  perror(what);
  exit(1);
}

static void answer(struct fuse_in_header *request, int error, void *data, size_t size) {
  static char bytes[sizeof(struct fuse_out_header) + (1 << 20)];
  struct fuse_out_header *header = (void *)bytes;
  header->len = sizeof *header + size;
  header->error = error;
  header->unique = request->unique;
  if (size) memcpy(bytes + sizeof *header, data, size);
  if (write(device, bytes, header->len) < 0 && errno != ENOENT) perror("answer");
}

static void describe(struct fuse_attr *file, int inode) {
  memset(file, 0, sizeof *file);
  file->ino = inode;
  file->size = inode == ROOT ? 0 : 1 << 30;
  file->mode = inode == ROOT ? S_IFDIR | 0755 : S_IFREG | 0644;
  file->nlink = 1;
  file->blksize = 4096;
}

static void serve(void) {
  static char bytes[1 << 20], zeros[1 << 20];
  int isSilent = !strcmp(mode, "names");
  for (;;) {
    ssize_t size = read(device, bytes, sizeof bytes);
    if (size < 0) {
      if (errno == EINTR || errno == ENOENT) continue;
      return;
    }
    struct fuse_in_header *request = (void *)bytes;
    switch (request->opcode) {
    case FUSE_INIT: {
      struct fuse_init_out out = {.major = 7, .minor = 31, .max_write = 65536, .max_readahead = 4096};
      answer(request, 0, &out, sizeof out);
      break;
    }
    case FUSE_LOOKUP: {
      if (isSilent) break;
      struct fuse_entry_out out = {.nodeid = ONE_FILE, .entry_valid = 1000, .attr_valid = 1000};
      describe(&out.attr, ONE_FILE);
      int isFile = !strcmp((char *)(request + 1), "file");
      answer(request, isFile ? 0 : -ENOENT, &out, isFile ? sizeof out : 0);
      break;
    }
    case FUSE_GETATTR: {
      if (isSilent && opens++) break;
      struct fuse_attr_out out = {.attr_valid = isSilent ? 0 : 1000};
      describe(&out.attr, request->nodeid);
      answer(request, 0, &out, sizeof out);
      break;
    }
    case FUSE_OPEN:
    case FUSE_OPENDIR: {
      if (isSilent) break;
      int flags = opens++ ? FOPEN_DIRECT_IO | FOPEN_KEEP_CACHE : FOPEN_KEEP_CACHE;
      struct fuse_open_out out = {.fh = 1, .open_flags = strcmp(mode, "map") ? 0 : flags};
      answer(request, 0, &out, sizeof out);
      break;
    }
    case FUSE_READ:
      break;
    case FUSE_STATFS:
      if (isSilent) break;
      answer(request, -ENOSYS, 0, 0);
      break;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
      break;
    default:
      if (!isSilent) answer(request, -ENOSYS, 0, 0);
    }
  }
}

static void *reader(void *unused) {
  char byte;
  int fd = open(path, O_RDONLY);
  if (read(fd, &byte, 1) < 0) perror("read");
  return unused;
}

/** One thread waits for a page; the map of the whole process is locked while another one maps the file anew. */
static void lock_map(void) {
  pthread_t id;
  close(device);
  sleep(1);
  must(!pthread_create(&id, 0, reader, 0), "pthread_create");
  sleep(1);
  int fd = open(path, O_RDONLY);
  printf("%d\n", getpid());
  fflush(stdout);
  mmap(0, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
}

int main(int count, char **words) {
  must(count == 3, "fuse MODE DIR");
  mode = words[1];
  snprintf(path, sizeof path, "%s/file", words[2]);
  device = open("/dev/fuse", O_RDWR);
  must(device >= 0, "/dev/fuse");
  char options[64];
  snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", device);
  must(!mount("test", words[2], "fuse", MS_NOSUID | MS_NODEV, options), "mount");
  if (strcmp(mode, "map")) {
    puts("mounted");
    fflush(stdout);
  } else if (!fork()) {
    lock_map();
    return 0;
  }
  serve();
}
