/* Memory for the engine. */
#pragma once

#include <quickjs.h>

/* For a program of one thread that soon ends: few system calls, and nothing is given back but large pieces. */
extern const JSMallocFunctions seam_memory;
