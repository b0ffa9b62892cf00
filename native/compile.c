/* A tool of the build: compile NAME SOURCE TARGET turns a module into bytecode, line numbers kept. */
#include <quickjs.h>
#include <stdio.h>
#include <stdlib.h>

static int nothing(JSContext *context, JSModuleDef *module) {
  (void)context;
  (void)module;
  return 0;
}

/* What a module imports is there when it runs. */
static JSModuleDef *stand_in(JSContext *context, const char *name, void *opaque) {
  (void)opaque;
  return JS_NewCModule(context, name, nothing);
}

static char *contents(const char *path, size_t *length) {
  FILE *file = fopen(path, "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) return NULL;
  long size = ftell(file);
  char *text = size < 0 ? NULL : malloc((size_t)size + 1);
  if (text == NULL || fseek(file, 0, SEEK_SET) != 0 || fread(text, 1, (size_t)size, file) != (size_t)size)
    return NULL;
  text[size] = 0;
  *length = (size_t)size;
  fclose(file);
  return text;
}

static int store(const char *path, const uint8_t *code, size_t length) {
  FILE *file = fopen(path, "wb");
  return file != NULL && fwrite(code, 1, length, file) == length && fclose(file) == 0 ? 0 : 1;
}

int main(int count, char **values) {
  size_t length;
  size_t code_length;
  char *source = count == 4 ? contents(values[2], &length) : NULL;
  if (source == NULL) {
    fprintf(stderr, "usage: compile NAME SOURCE TARGET\n");
    return 2;
  }
  JSRuntime *runtime = JS_NewRuntime();
  JSContext *context = JS_NewContext(runtime);
  JS_SetModuleLoaderFunc(runtime, NULL, stand_in, NULL);
  JSValue module = JS_Eval(context, source, length, values[1],
                           JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
  if (JS_IsException(module)) {
    JSValue reason = JS_GetException(context);
    JSValue stack = JS_GetPropertyStr(context, reason, "stack");
    fprintf(stderr, "%s: %s\n%s\n", values[2], JS_ToCString(context, reason), JS_ToCString(context, stack));
    return 1;
  }
  uint8_t *code = JS_WriteObject(context, &code_length, module,
                                 JS_WRITE_OBJ_BYTECODE | JS_WRITE_OBJ_STRIP_SOURCE);
  return code == NULL ? 1 : store(values[3], code, code_length);
}
