/* What the program is linked with before the build has run it, and where it cannot be run. */
#include "snapshot.h"

__attribute__((section(".snapshot"))) struct snapshot snapshot;
