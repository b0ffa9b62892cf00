/* The seam as a QuickJS module. */
#pragma once

#include <quickjs.h>

/* The name that TypeScript imports it by. */
#define SEAM_MODULE_NAME "#native"

JSModuleDef *seam_module(JSContext *context);

/* The command line of this start, without the program's name. */
void seam_arguments(int count, char **values);
