/* What both hosts of the seam share: plain C on plain bytes, without a word of JavaScript. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#if defined(__x86_64__)
#define SEAM_ARCHITECTURE "x64"
#elif defined(__aarch64__)
#define SEAM_ARCHITECTURE "arm64"
#else
#error "only x86-64 and arm64"
#endif

/* A call of Linux takes six words at most. */
enum { seam_most_words = 6 };

/* Gives what the kernel gave: a result, or minus an errno. */
long seam_syscall(long number, const long words[seam_most_words]);

/* A number of JavaScript that is a whole one, and that a double holds for certain. */
bool seam_is_whole(double number);

/* A descriptor for a program that is started: a whole number of an int, or -1. */
bool seam_is_descriptor(long number);

/* What a program is started with. All arrays of strings end with NULL. */
struct seam_program {
  const char *path;
  char **arguments;
  char **environment;
  /* The child's descriptors 0, 1, 2 and so on; -1 leaves one closed. */
  const int *descriptors;
  size_t descriptor_count;
};

/* Starts a program in the folder "/": its process id, or minus the errno of what failed. */
pid_t seam_spawn(const struct seam_program *program);

/* True for well-formed UTF-8 (RFC 3629): no surrogates, nothing overlong. */
bool seam_is_utf8(const uint8_t *bytes, size_t length);

/* Whether `data` holds all of `piece` from the offset `at` on; nothing lies before its beginning. */
bool seam_holds_at(const uint8_t *data, size_t length, const uint8_t *piece, size_t piece_length, long at);

/* Offset of the first byte that is not zero; `length` where there is none. */
size_t seam_first_non_zero(const uint8_t *bytes, size_t length);

/* CRC-32C (Castagnoli), as RFC 3720 has it in its appendix B.4. */
uint32_t seam_crc32c(const uint8_t *bytes, size_t length);
