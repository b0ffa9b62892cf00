/* The bytecode of the program's modules, which the build makes. The first that runs is "./main.js". */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct chunk {
  const char *name;
  const uint8_t *code;
  size_t length;
};

extern const struct chunk chunks[];
extern const size_t chunk_count;
