#define _GNU_SOURCE
#include "memory.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

/* In front of every piece: how much can be used behind it. 16 bytes, so that pieces are aligned as malloc(3)'s. */
struct piece {
  size_t usable;
  struct piece *next; /* in the list of free ones of its class */
};

/* The engine cuts small objects from blocks of 4 KiB by itself; larger than this is the kernel's business. */
enum { most_small = 64 << 10, region_bytes = 256 << 10, steps = 4, classes = 17 * steps };

static struct piece *free_pieces[classes];
static uint8_t *region;
static size_t region_left;

/* Classes are 16 * 2^n * {4, 5, 6, 7} / 4 bytes: never more than a quarter is wasted. Rounds `size` up to its class. */
static unsigned class_of(size_t *size) {
  size_t base = 64;
  unsigned class = 0;
  while (*size > base * 2) base *= 2, class += steps;
  size_t step = base / steps;
  size_t count = *size <= base ? 0 : (*size - base + step - 1) / step;
  *size = base + count * step;
  return class + (unsigned)count;
}

static void *mapped(size_t length) {
  void *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return at == MAP_FAILED ? NULL : at;
}

static void *allocate_large(size_t size) {
  struct piece *piece = mapped(sizeof *piece + size);
  if (piece == NULL) return NULL;
  piece->usable = size;
  return piece + 1;
}

static void *allocate(void *opaque, size_t size) {
  (void)opaque;
  if (size > most_small) return allocate_large(size);
  unsigned class = class_of(&size);
  struct piece *piece = free_pieces[class];
  if (piece != NULL) {
    free_pieces[class] = piece->next;
    return piece + 1;
  }
  size_t whole = sizeof *piece + size;
  if (region_left < whole) {
    uint8_t *fresh = mapped(region_bytes);
    if (fresh == NULL) return NULL;
    region = fresh;
    region_left = region_bytes;
  }
  piece = (struct piece *)region;
  region += whole;
  region_left -= whole;
  piece->usable = size;
  return piece + 1;
}

static void *allocate_zeroed(void *opaque, size_t count, size_t size) {
  if (size != 0 && count > SIZE_MAX / size) return NULL;
  void *at = allocate(opaque, count * size);
  /* What was just mapped is zero. */
  return at == NULL || count * size > most_small ? at : memset(at, 0, count * size);
}

static void release(void *opaque, void *at) {
  (void)opaque;
  if (at == NULL) return;
  struct piece *piece = (struct piece *)at - 1;
  size_t usable = piece->usable;
  if (usable > most_small) {
    munmap(piece, sizeof *piece + usable);
    return;
  }
  unsigned class = class_of(&usable);
  piece->next = free_pieces[class];
  free_pieces[class] = piece;
}

static void *reallocate(void *opaque, void *at, size_t size) {
  if (at == NULL) return allocate(opaque, size);
  struct piece *piece = (struct piece *)at - 1;
  if (piece->usable > most_small && size > most_small) {
    piece = mremap(piece, sizeof *piece + piece->usable, sizeof *piece + size, MREMAP_MAYMOVE);
    if (piece == MAP_FAILED) return NULL;
    piece->usable = size;
    return piece + 1;
  }
  if (size <= piece->usable && piece->usable <= most_small) return at;
  void *other = allocate(opaque, size);
  if (other == NULL) return NULL;
  memcpy(other, at, size < piece->usable ? size : piece->usable);
  release(opaque, at);
  return other;
}

static size_t usable_size(const void *at) { return at == NULL ? 0 : ((const struct piece *)at - 1)->usable; }

const JSMallocFunctions seam_memory = {allocate_zeroed, allocate, release, reallocate, usable_size};
