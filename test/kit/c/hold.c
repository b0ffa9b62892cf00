// hold MODE PATH: keeps PATH in use in a way that the files, the working directory, the root and the program of the
// process do not show, says "holding", and waits to be ended.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static const char *mode, *path;

static void must(int isDone, const char *what) {
  if (isDone) return;
  perror(what);
  exit(1);
}

static int opened(void) {
  int fd = open(path, O_RDONLY);
  must(fd >= 0, path);
  return fd;
}

static void hold(void) {
  puts("holding");
  fflush(stdout);
  for (;;) pause();
}

static void *thread(void *unused) {
  if (!strcmp(mode, "thread-cwd")) {
    must(!unshare(CLONE_FS) && !chdir(path), "chdir");
  } else if (!strcmp(mode, "thread-namespace")) {
    must(!unshare(CLONE_NEWNS) && !mount("", "/", 0, MS_REC | MS_PRIVATE, 0), "unshare");
  } else if (!strcmp(mode, "thread-fd")) {
    must(!unshare(CLONE_FILES), "unshare");
    opened();
  } else {
    sleep(1); // by then the leader is a zombie
    opened();
  }
  hold();
  return unused;
}

/** A descriptor that was sent and not received, and is open nowhere else. */
static void send_to_nobody(void) {
  int ends[2], fd = opened();
  must(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends), "socketpair");
  char control[CMSG_SPACE(sizeof fd)] = {0};
  struct iovec text = {"x", 1};
  struct msghdr message = {
      .msg_iov = &text, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(header), &fd, sizeof fd);
  if (!strcmp(mode, "passing-lock")) {
    struct flock whole = {.l_type = F_RDLCK};
    must(!fcntl(fd, F_OFD_SETLK, &whole), "lock");
    // As of a process that has ended, whose last request to a disk has not.
    struct itimerval soon = {.it_value = {.tv_usec = 300000}};
    setitimer(ITIMER_REAL, &soon, 0);
  }
  must(sendmsg(ends[0], &message, 0) == 1, "sendmsg");
  close(fd);
}

static void register_with_ring(void) {
  struct io_uring_params params = {0};
  int ring = syscall(SYS_io_uring_setup, 4, &params), fd = opened();
  must(!syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, &fd, 1), "io_uring_register");
  close(fd);
}

static void map(void) {
  int fd = opened();
  must(mmap(0, 4096, PROT_READ, MAP_PRIVATE, fd, 0) != MAP_FAILED, "mmap");
  close(fd);
}

int main(int count, char **words) {
  must(count == 3, "hold MODE PATH");
  mode = words[1];
  path = words[2];
  if (!strcmp(mode, "in-flight") || !strcmp(mode, "passing-lock")) send_to_nobody();
  else if (!strcmp(mode, "io-uring")) register_with_ring();
  else if (!strcmp(mode, "map")) map();
  else {
    pthread_t id;
    must(!pthread_create(&id, 0, thread, 0), "pthread_create");
    if (!strcmp(mode, "zombie-leader")) syscall(SYS_exit, 0);
    for (;;) pause();
  }
  hold();
}
