/*
 * appear node PATH DEVICE DELAY_MS PROGRAM [ARGUMENT...]
 * appear medium LOOP IMAGE DELAY_MS PROGRAM [ARGUMENT...]
 * Starts a program that waits for a disk and, after the delay, makes the disk appear: `node` makes
 * PATH a node of DEVICE, `medium` attaches IMAGE to LOOP, whose node is there all the time. Says
 * how many nanoseconds after it was done
 *   the program opened the node, mounted for the first time, exited; and its exit status
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/loop.h>
#include <poll.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int must(int result, const char *what) {
  if (result >= 0) return result;
  perror(what);
  exit(1);
}

static int64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* Reads all events; true when one is the opening of `name`. */
static int was_opened(int inotify, const char *name) {
  char buffer[4096] __attribute__((aligned(8)));
  int seen = 0;
  for (ssize_t got; (got = read(inotify, buffer, sizeof buffer)) > 0;) {
    for (char *at = buffer; at < buffer + got;) {
      struct inotify_event *event = (struct inotify_event *)at;
      if (event->len > 0 && strcmp(event->name, name) == 0) seen = 1;
      at += sizeof *event + event->len;
    }
  }
  return seen;
}

static void ignore_events(struct pollfd *mounts, int inotify, const char *name) {
  was_opened(inotify, name);
  poll(mounts, 1, 0);
}

int main(int argc, char **argv) {
  if (argc < 6) return 2;
  const char *path = argv[2], *source = argv[3];
  const int is_node = strcmp(argv[1], "node") == 0;
  char name[256], folder[4096];
  snprintf(folder, sizeof folder, "%s", path);
  snprintf(name, sizeof name, "%s", basename(folder));
  snprintf(folder, sizeof folder, "%s", path);

  int inotify = must(inotify_init1(IN_CLOEXEC | IN_NONBLOCK), "inotify");
  must(inotify_add_watch(inotify, dirname(folder), IN_OPEN), "inotify");
  /* Poll says POLLPRI once for each change of the mount table since the last poll. */
  int table = must(open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC), "mountinfo");

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  pid_t child;
  errno = posix_spawn(&child, argv[5], &actions, NULL, argv + 5, environ);
  if (errno != 0) return perror(argv[5]), 1;
  int ended = must((int)syscall(SYS_pidfd_open, child, 0), "pidfd_open");
  usleep((useconds_t)atoi(argv[4]) * 1000);

  struct pollfd watched[] = {{table, POLLPRI, 0}, {inotify, POLLIN, 0}, {ended, POLLIN, 0}};
  int64_t start, opened = -1, mounted = -1;
  if (is_node) {
    struct stat status;
    must(stat(source, &status), source);
    ignore_events(watched, inotify, name);
    must(mknod(path, S_IFBLK | 0600, status.st_rdev), path);
    start = now_ns();
  } else {
    struct loop_config config = {.fd = (uint32_t)must(open(source, O_RDWR), source)};
    int loop = must(open(path, O_RDWR), path);
    ignore_events(watched, inotify, name);
    must(ioctl(loop, LOOP_CONFIGURE, &config), "LOOP_CONFIGURE");
    start = now_ns();
    close(loop);
  }

  do {
    must(poll(watched, 3, -1), "poll");
    int64_t now = now_ns();
    if ((watched[0].revents & POLLPRI) && mounted < 0) mounted = now - start;
    if ((watched[1].revents & POLLIN) && was_opened(inotify, name) && opened < 0)
      opened = now - start;
  } while (!(watched[2].revents & POLLIN));
  int64_t exited = now_ns() - start;
  int status;
  must(waitpid(child, &status, 0), "waitpid");
  printf("%lld %lld %lld %d\n", (long long)opened, (long long)mounted, (long long)exited,
         WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  return 0;
}
