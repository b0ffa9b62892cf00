/* The seam as a QuickJS module. */
#pragma once

#include <quickjs.h>

/* The name that TypeScript imports it by. */
#define SEAM_MODULE_NAME "#native"

/* Makes the module; `arguments` are the program's, without its name, and live as long as it. */
JSModuleDef *seam_module(JSContext *context, int argument_count, char **arguments);
