/*
 * host FILE WORD…: runs a module in QuickJS with the seam, for tests of its C. Unlike the program it takes its
 * memory from malloc(3), where a sanitizer sees each piece, and gives all of it back, so that a leak is seen too.
 */
#include <quickjs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quickjs-module.h"

static JSModuleDef *load(JSContext *context, const char *name, void *opaque) {
  (void)opaque;
  if (strcmp(name, SEAM_MODULE_NAME) == 0) return seam_module(context);
  JS_ThrowReferenceError(context, "there is no module %s", name);
  return NULL;
}

static JSValue js_print(JSContext *context, JSValueConst self, int count, JSValueConst *values) {
  (void)self;
  const char *text = count == 1 ? JS_ToCString(context, values[0]) : NULL;
  if (text == NULL) return JS_EXCEPTION;
  puts(text);
  JS_FreeCString(context, text);
  return JS_UNDEFINED;
}

static char *contents(const char *path, size_t *length) {
  enum { most = 1 << 20 };
  FILE *file = fopen(path, "rb");
  char *text = malloc(most);
  if (file == NULL || text == NULL) exit(2);
  *length = fread(text, 1, most - 1, file);
  text[*length] = 0;
  fclose(file);
  return text;
}

static int failed(JSContext *context, JSValue reason) {
  JSValue stack = JS_GetPropertyStr(context, reason, "stack");
  const char *text = JS_ToCString(context, reason);
  const char *trace = JS_ToCString(context, stack);
  fprintf(stderr, "%s\n%s\n", text, trace);
  JS_FreeCString(context, text);
  JS_FreeCString(context, trace);
  JS_FreeValue(context, stack);
  JS_FreeValue(context, reason);
  return 1;
}

int main(int count, char **values) {
  if (count != 3) return 2;
  size_t length;
  char *source = contents(values[1], &length);
  JSRuntime *runtime = JS_NewRuntime();
  JSContext *context = JS_NewContext(runtime);
  JS_SetModuleLoaderFunc(runtime, NULL, load, NULL);
  seam_arguments(1, values + 2);
  JSValue global = JS_GetGlobalObject(context);
  JS_SetPropertyStr(context, global, "print", JS_NewCFunction(context, js_print, "print", 1));
  JS_FreeValue(context, global);

  JSValue done = JS_Eval(context, source, length, values[1], JS_EVAL_TYPE_MODULE);
  int status = 0;
  if (JS_IsException(done)) {
    status = failed(context, JS_GetException(context));
  } else {
    JSContext *other;
    while (JS_ExecutePendingJob(runtime, &other) > 0) continue;
    if (JS_PromiseState(context, done) != JS_PROMISE_FULFILLED)
      status = failed(context, JS_PromiseResult(context, done));
  }
  JS_FreeValue(context, done);
  free(source);
  JS_FreeContext(context);
  JS_FreeRuntime(runtime);
  return status;
}
