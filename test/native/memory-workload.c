/* What an allocator promises, held against native/memory.c with a random workload. Any other status than 0: broken. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "memory.h"

enum { pieces = 512, steps = 20 * 1000 };

static struct {
  uint8_t *at;
  size_t size;
  uint8_t mark;
} held[pieces];

static uint64_t state = 88172645463325252u;
static uint64_t random_number(void) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return state;
}

/* Sizes around the places where something changes: powers of two, the border of what is small, and large ones. */
static size_t random_size(void) {
  size_t base = (size_t)1 << (random_number() % 19);
  switch (random_number() % 4) {
    case 0: return base + random_number() % 3 - 1;
    case 1: return (64 << 10) + random_number() % 3 - 1;
    default: return random_number() % (base + 1);
  }
}

static void expect(int holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "not so: %s\n", what);
  exit(1);
}

static void check(int i) {
  expect(((uintptr_t)held[i].at & 15) == 0, "16 bytes aligned");
  expect(seam_memory.js_malloc_usable_size(held[i].at) >= held[i].size, "as large as asked for");
  for (size_t at = 0; at < held[i].size; at++) expect(held[i].at[at] == held[i].mark, "nobody else writes there");
}

static void fill(int i) {
  held[i].mark = (uint8_t)random_number();
  /* All that may be used, not only what was asked for. */
  held[i].size = seam_memory.js_malloc_usable_size(held[i].at);
  memset(held[i].at, held[i].mark, held[i].size);
}

static void step(void) {
  int i = (int)(random_number() % pieces);
  size_t size = random_size();
  if (held[i].at != NULL) check(i);
  switch (random_number() % 4) {
    case 0:
      seam_memory.js_free(NULL, held[i].at);
      held[i].at = seam_memory.js_malloc(NULL, size);
      break;
    case 1:
      seam_memory.js_free(NULL, held[i].at);
      held[i].at = seam_memory.js_calloc(NULL, 1, size);
      for (size_t at = 0; at < size; at++) expect(held[i].at[at] == 0, "zeroed");
      break;
    case 2: {
      size_t kept = held[i].at == NULL ? 0 : held[i].size;
      held[i].at = seam_memory.js_realloc(NULL, held[i].at, size);
      held[i].size = kept < size ? kept : size;
      check(i);
      break;
    }
    default:
      seam_memory.js_free(NULL, held[i].at);
      held[i].at = NULL;
      return;
  }
  expect(held[i].at != NULL, "there is memory");
  fill(i);
}

static void sizes_that_nothing_has(void) {
  static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 8, SIZE_MAX - 16, (size_t)PTRDIFF_MAX, SIZE_MAX / 2 + 1};
  void *small = seam_memory.js_malloc(NULL, 100);
  void *large = seam_memory.js_malloc(NULL, 100 << 10);
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    expect(seam_memory.js_malloc(NULL, sizes[i]) == NULL, "malloc refuses it");
    expect(seam_memory.js_calloc(NULL, 1, sizes[i]) == NULL, "calloc refuses it");
    expect(seam_memory.js_realloc(NULL, small, sizes[i]) == NULL, "realloc of a small one refuses it");
    expect(seam_memory.js_realloc(NULL, large, sizes[i]) == NULL, "realloc of a large one refuses it");
  }
  expect(seam_memory.js_calloc(NULL, SIZE_MAX / 2, 3) == NULL, "calloc sees an overflow");
  expect(seam_memory.js_malloc_usable_size(NULL) == 0, "NULL has no size");
  seam_memory.js_free(NULL, NULL);
  seam_memory.js_free(NULL, small);
  seam_memory.js_free(NULL, large);
}

/* The kernel has no more: NULL, and what is there stays. */
static void no_memory(void) {
  struct rlimit before;
  getrlimit(RLIMIT_AS, &before);
  struct rlimit none = {0, before.rlim_max};
  held[0].at = seam_memory.js_realloc(NULL, held[0].at, 200 << 10);
  fill(0);
  setrlimit(RLIMIT_AS, &none);
  expect(seam_memory.js_malloc(NULL, 100 << 10) == NULL, "a large one is refused");
  expect(seam_memory.js_realloc(NULL, held[0].at, 900 << 20) == NULL, "nothing grows");
  for (int i = 0; i < 1000 && seam_memory.js_malloc(NULL, 60 << 10) != NULL; i++)
    expect(i < 999, "a small one is refused when the last region is used up");
  /* The sanitizer needs some at the end. */
  setrlimit(RLIMIT_AS, &before);
  check(0);
}

int main(void) {
  sizes_that_nothing_has();
  for (int i = 0; i < steps; i++) step();
  for (int i = 0; i < pieces; i++)
    if (held[i].at != NULL) check(i);
  no_memory();
  return 0;
}
