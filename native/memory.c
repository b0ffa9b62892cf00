#define _GNU_SOURCE
#include "memory.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "snapshot.h"

/* In front of every piece: how much can be used behind it. 16 bytes, so that pieces are aligned as malloc(3)'s. */
struct piece {
  size_t usable;
  struct piece *next; /* in the list of free ones of its class */
};

/* The engine cuts small objects from blocks of 4 KiB by itself; larger than this is the kernel's business. */
enum { most_small = 64 << 10, region_bytes = 256 << 10, steps = 4 };

/* No object of C is larger; what stands in front of it can be added. */
static const size_t most_large = PTRDIFF_MAX - sizeof(struct piece);

/* What is cut off next: in the snapshot while that is made, in memory of the kernel's later. */
static uint8_t *region;
static size_t region_left;
static bool is_freezing;

void seam_memory_begin_snapshot(void) {
  is_freezing = true;
  region = snapshot.memory;
  region_left = snapshot_most_bytes;
}

void seam_memory_end_snapshot(void *root) {
  snapshot.root = root;
  snapshot.end = region;
}

/* Classes are 64 * 2^n * {4, 5, 6, 7} / 4 bytes: never more than a quarter is wasted. Rounds `size` up to its class. */
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

/* The kernel gives it and takes it back. */
static bool is_mapped(const struct piece *piece) {
  return piece->usable > most_small && !is_freezing && (const uint8_t *)piece >= snapshot.end;
}

static struct piece *map_piece(size_t size) {
  if (size > most_large) return NULL;
  struct piece *piece = mapped(sizeof *piece + size);
  if (piece != NULL) piece->usable = size;
  return piece;
}

static struct piece *cut_piece(size_t size) {
  size_t whole = sizeof(struct piece) + size;
  if (whole < size || (is_freezing && region_left < whole)) return NULL;
  if (region_left < whole) {
    region = mapped(region_bytes);
    region_left = region == NULL ? 0 : region_bytes;
    if (region == NULL) return NULL;
  }
  struct piece *piece = (struct piece *)region;
  region += whole;
  region_left -= whole;
  piece->usable = size;
  return piece;
}

static struct piece *small_piece(size_t size) {
  unsigned class = class_of(&size);
  struct piece *piece = snapshot.free_pieces[class];
  if (piece == NULL) return cut_piece(size);
  snapshot.free_pieces[class] = piece->next;
  return piece;
}

static void *allocate(void *opaque, size_t size) {
  (void)opaque;
  struct piece *piece = size <= most_small ? small_piece(size)
                        : is_freezing      ? cut_piece((size + 15) & ~(size_t)15)
                                           : map_piece(size);
  return piece == NULL ? NULL : piece + 1;
}

static void *allocate_zeroed(void *opaque, size_t count, size_t size) {
  if (size != 0 && count > SIZE_MAX / size) return NULL;
  void *at = allocate(opaque, count * size);
  /* What was just mapped is zero. */
  return at == NULL || is_mapped((struct piece *)at - 1) ? at : memset(at, 0, count * size);
}

static void release(void *opaque, void *at) {
  (void)opaque;
  if (at == NULL) return;
  struct piece *piece = (struct piece *)at - 1;
  size_t usable = piece->usable;
  if (is_mapped(piece)) {
    munmap(piece, sizeof *piece + usable);
  } else if (usable <= most_small) {
    unsigned class = class_of(&usable);
    piece->next = snapshot.free_pieces[class];
    snapshot.free_pieces[class] = piece;
  }
}

static void *reallocate(void *opaque, void *at, size_t size) {
  if (at == NULL) return allocate(opaque, size);
  struct piece *piece = (struct piece *)at - 1;
  if (is_mapped(piece) && size > most_small) {
    if (size > most_large) return NULL;
    piece = mremap(piece, sizeof *piece + piece->usable, sizeof *piece + size, MREMAP_MAYMOVE);
    if (piece == MAP_FAILED) return NULL;
    piece->usable = size;
    return piece + 1;
  }
  if (size <= piece->usable && !is_mapped(piece)) return at;
  void *other = allocate(opaque, size);
  if (other == NULL) return NULL;
  memcpy(other, at, size < piece->usable ? size : piece->usable);
  release(opaque, at);
  return other;
}

static size_t usable_size(const void *at) { return at == NULL ? 0 : ((const struct piece *)at - 1)->usable; }

const JSMallocFunctions seam_memory = {allocate_zeroed, allocate, release, reallocate, usable_size};
