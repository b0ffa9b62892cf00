/*
 * The engine's memory with the program loaded. The build runs the program once to fill it (`--freeze`) and links it
 * in at the same address, so that a start reads and evaluates no bytecode. Empty, the program loads itself.
 */
#pragma once

#include <stdint.h>

enum {
  snapshot_most_bytes = 4 << 20,
  /* Of the allocator: lists of free pieces. */
  snapshot_lists = 68,
};

struct snapshot {
  /* What the program finds its objects by; NULL in an empty one. */
  void *root;
  /* Behind the last byte that is used. */
  uint8_t *end;
  void *free_pieces[snapshot_lists];
  /* Aligned as malloc(3) aligns. */
  _Alignas(16) uint8_t memory[snapshot_most_bytes];
};

extern struct snapshot snapshot;
