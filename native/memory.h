/* Memory for the engine. */
#pragma once

#include <quickjs.h>

/* For a program of one thread that soon ends: few system calls, and nothing is given back but large pieces. */
extern const JSMallocFunctions seam_memory;

/* From here on all memory comes from the snapshot, until it is complete and the process ends. */
void seam_memory_begin_snapshot(void);
void seam_memory_end_snapshot(void *root);
