#define _GNU_SOURCE
#include "seam.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

long seam_syscall(long number, const long words[seam_most_words]) {
  long result = syscall(number, words[0], words[1], words[2], words[3], words[4], words[5]);
  return result == -1 ? -(long)errno : result;
}

/* Number.MAX_SAFE_INTEGER */
static const double most_safe = 9007199254740991.0;

bool seam_is_whole(double number) {
  /* Not true for NaN either. */
  return number >= -most_safe && number <= most_safe && number == (double)(long)number;
}

bool seam_is_descriptor(long number) { return number >= -1 && number <= INT_MAX; }

enum { most_descriptors = 64 };

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

/* The program must not inherit what our caller forgot to close. Linux 5.9 does it in one call. */
static void close_others(int first) {
  if (syscall(SYS_close_range, (unsigned)first, ~0u, 0u) == 0) return;
  long end = sysconf(_SC_OPEN_MAX);
  for (long fd = first; fd < end; fd++) close((int)fd);
}

/* Puts the descriptors where the child wants them. They are first moved out of the way of each other. */
static int place_descriptors(const struct seam_program *program) {
  int moved[most_descriptors];
  int count = (int)program->descriptor_count;
  for (int i = 0; i < count; i++) {
    moved[i] = -1;
    if (program->descriptors[i] < 0) continue;
    moved[i] = fcntl(program->descriptors[i], F_DUPFD_CLOEXEC, count);
    if (moved[i] < 0) return -1;
  }
  for (int i = 0; i < count; i++) {
    if (moved[i] < 0) close(i);
    else if (dup2(moved[i], i) < 0) return -1;
  }
  close_others(count);
  return 0;
}

/* A started program finds signals as they are in a program that a shell has started. */
static void reset_signals(void) {
  struct sigaction usual;
  sigset_t none;
  memset(&usual, 0, sizeof usual);
  usual.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; number++) sigaction(number, &usual, NULL);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

pid_t seam_spawn(const struct seam_program *program) {
  if (program->descriptor_count > most_descriptors) return -EMFILE;
  /* The child has our memory until it executes the program: no handler of the host may run in it. This is
     the mask of the calling thread alone, as that of pthread_sigmask, which asks for glibc 2.32. */
  sigset_t all, before;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &before);
  volatile int reason = 0;
  pid_t child = vfork();
  if (child == 0) {
    reset_signals();
    if (chdir("/") == 0 && place_descriptors(program) == 0)
      execve(program->path, program->arguments, program->environment);
    reason = errno;
    _exit(127);
  }
  if (child < 0) reason = errno;
  else if (reason != 0)
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR) continue;
  sigprocmask(SIG_SETMASK, &before, NULL);
  return reason == 0 ? child : -reason;
}

/* How many bytes a character takes that begins with this one; 0 for none. */
static size_t utf8_length(const uint8_t *at, size_t left) {
  uint8_t first = at[0];
  if (first < 0x80) return 1;
  size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || length > left) return 0;
  for (size_t i = 1; i < length; i++)
    if ((at[i] & 0xc0) != 0x80) return 0;
  if (first == 0xe0 && at[1] < 0xa0) return 0; /* overlong */
  if (first == 0xed && at[1] > 0x9f) return 0; /* a surrogate */
  if (first == 0xf0 && at[1] < 0x90) return 0; /* overlong */
  if (first == 0xf4 && at[1] > 0x8f) return 0; /* beyond U+10FFFF */
  return length;
}

bool seam_is_utf8(const uint8_t *bytes, size_t length) {
  for (size_t at = 0; at < length;) {
    size_t step = utf8_length(bytes + at, length - at);
    if (step == 0) return false;
    at += step;
  }
  return true;
}

bool seam_holds_at(const uint8_t *data, size_t length, const uint8_t *piece, size_t piece_length, long at) {
  if (at < 0 || (size_t)at > length || piece_length > length - (size_t)at) return false;
  return piece_length == 0 || memcmp(data + at, piece, piece_length) == 0;
}

size_t seam_first_non_zero(const uint8_t *bytes, size_t length) {
  size_t at = 0;
  for (uint64_t word; at + sizeof word <= length; at += sizeof word) {
    memcpy(&word, bytes + at, sizeof word);
    if (word != 0) break;
  }
  while (at < length && bytes[at] == 0) at++;
  return at;
}

/* The polynomial, with its lowest power in the highest bit. */
static const uint32_t castagnoli = 0x82f63b78;

uint32_t seam_crc32c(const uint8_t *bytes, size_t length) {
  /* What a byte adds. To make this takes less time than to check one superblock. */
  uint32_t table[256];
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t rest = byte;
    for (int bit = 0; bit < 8; bit++) rest = (rest & 1) != 0 ? rest >> 1 ^ castagnoli : rest >> 1;
    table[byte] = rest;
  }
  uint32_t sum = UINT32_MAX;
  for (size_t at = 0; at < length; at++) sum = sum >> 8 ^ table[(sum ^ bytes[at]) & 0xff];
  return ~sum;
}
