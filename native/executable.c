/* The program: TypeScript as bytecode, on QuickJS. Ends as soon as no job is left. */
#include <quickjs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include "chunks.h"
#include "memory.h"
#include "quickjs-module.h"
#include "snapshot.h"

/* What would eat the machine is an error of the program. */
static const size_t most_memory_bytes = 256u << 20;
/* Until then no cycle of objects is looked for: a boot makes few, and ends before. */
static const size_t first_collection_bytes = 8u << 20;
static const size_t most_stack_bytes = 1u << 20;
/* What C needs of a stack that is smaller than that, below the functions of JavaScript. */
static const size_t stack_reserve_bytes = 64u << 10;

enum { most_chunks = 64 };

/* What the program has of the engine; in the engine's memory, so that a snapshot has it too. */
struct program {
  JSRuntime *runtime;
  JSContext *context;
  /* What is loaded stands here, so that nothing is there twice. */
  JSModuleDef *loaded[most_chunks];
  /* Where it was when the snapshot was made: code must not have moved since. */
  int (*main)(int, char **);
};
static struct program *program;

/* The module of a chunk; loaded with the first call. NULL where that throws. */
static JSModuleDef *load(JSContext *context, const char *name, void *opaque) {
  (void)opaque;
  if (strcmp(name, SEAM_MODULE_NAME) == 0) return seam_module(context);
  size_t at = 0;
  while (at < chunk_count && strcmp(chunks[at].name, name) != 0) at++;
  if (at == chunk_count || at >= most_chunks) {
    JS_ThrowReferenceError(context, "there is no module %s", name);
    return NULL;
  }
  if (program->loaded[at] != NULL) return program->loaded[at];
  JSValue module = JS_ReadObject(context, chunks[at].code, chunks[at].length, JS_READ_OBJ_BYTECODE);
  if (JS_IsException(module)) return NULL;
  program->loaded[at] = JS_VALUE_GET_PTR(module);
  /* The context's list of modules holds it. */
  JS_FreeValue(context, module);
  return program->loaded[at];
}

/* Evaluates a module that awaits nothing, or goes on as far as it does: its promise. */
static JSValue evaluate(JSContext *context, JSModuleDef *module) {
  JSValue value = JS_DupValue(context, JS_MKPTR(JS_TAG_MODULE, module));
  if (JS_ResolveModule(context, value) == 0) return JS_EvalFunction(context, value);
  JS_FreeValue(context, value);
  return JS_EXCEPTION;
}

/* require(name): a module that is not needed by every boot, at once. */
static JSValue js_require(JSContext *context, JSValueConst self, int count, JSValueConst *values) {
  (void)self;
  const char *name = count == 1 ? JS_ToCString(context, values[0]) : NULL;
  if (name == NULL) return JS_ThrowTypeError(context, "require(name)");
  JSModuleDef *module = load(context, name, NULL);
  JS_FreeCString(context, name);
  if (module == NULL) return JS_EXCEPTION;
  JSValue evaluation = evaluate(context, module);
  if (JS_IsException(evaluation)) return evaluation;
  JSValue answer = JS_PromiseState(context, evaluation) == JS_PROMISE_REJECTED
                       ? JS_Throw(context, JS_PromiseResult(context, evaluation))
                       : JS_GetModuleNamespace(context, module);
  JS_FreeValue(context, evaluation);
  return answer;
}

static void show(JSContext *context, JSValueConst value) {
  const char *text = JS_ToCString(context, value);
  fprintf(stderr, "%s\n", text == NULL ? "an error that has no text" : text);
  JS_FreeCString(context, text);
}

/* An error that nobody caught is a fault of the program: its trace is for whoever mends it. */
static int uncaught(JSContext *context, JSValue reason) {
  fprintf(stderr, "arcbox-agent: internal: ");
  show(context, reason);
  if (JS_IsError(reason)) {
    JSValue stack = JS_GetPropertyStr(context, reason, "stack");
    if (JS_IsString(stack)) show(context, stack);
    JS_FreeValue(context, stack);
  }
  JS_FreeValue(context, reason);
  return 1;
}

static int run_jobs(JSRuntime *runtime) {
  JSContext *context;
  int result;
  do result = JS_ExecutePendingJob(runtime, &context);
  while (result > 0);
  return result < 0 ? uncaught(context, JS_GetException(context)) : 0;
}

static size_t stack_bytes(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur >= most_stack_bytes + stack_reserve_bytes)
    return most_stack_bytes;
  return limit.rlim_cur > 2 * stack_reserve_bytes ? limit.rlim_cur - stack_reserve_bytes
                                                  : limit.rlim_cur / 2;
}

/* Only what the program uses of the language: each costs start-up time. */
static JSContext *new_context(JSRuntime *runtime) {
  JSContext *context = JS_NewContextRaw(runtime);
  if (context == NULL || JS_AddIntrinsicBaseObjects(context) != 0 ||
      JS_AddIntrinsicRegExp(context) != 0 || JS_AddIntrinsicJSON(context) != 0 ||
      JS_AddIntrinsicMapSet(context) != 0 || JS_AddIntrinsicTypedArrays(context) != 0 ||
      JS_AddIntrinsicPromise(context) != 0 || JS_AddIntrinsicBigInt(context) != 0)
    return NULL;
  JS_AddIntrinsicRegExpCompiler(context);
  JSValue global = JS_GetGlobalObject(context);
  JS_SetPropertyStr(context, global, "require", JS_NewCFunction(context, js_require, "require", 1));
  JS_FreeValue(context, global);
  return context;
}

/* Loads and evaluates a module with all that it imports, and runs what it has begun. */
static int run(const char *name) {
  JSContext *context = program->context;
  JSModuleDef *module = load(context, name, NULL);
  if (module == NULL) return uncaught(context, JS_GetException(context));
  JSValue evaluation = evaluate(context, module);
  if (JS_IsException(evaluation)) return uncaught(context, JS_GetException(context));
  int status = run_jobs(program->runtime);
  if (status != 0) return status;
  return JS_PromiseState(context, evaluation) == JS_PROMISE_REJECTED
             ? uncaught(context, JS_PromiseResult(context, evaluation))
             : 0;
}

static struct program *new_program(int main(int, char **)) {
  JSRuntime *runtime = JS_NewRuntime2(&seam_memory, NULL);
  if (runtime == NULL) return NULL;
  JS_SetMemoryLimit(runtime, most_memory_bytes);
  JS_SetGCThreshold(runtime, first_collection_bytes);
  JS_SetModuleLoaderFunc(runtime, NULL, load, NULL);
  JSContext *context = new_context(runtime);
  struct program *made = context == NULL ? NULL : js_mallocz(context, sizeof *made);
  if (made != NULL) *made = (struct program){.runtime = runtime, .context = context, .main = main};
  return made;
}

/*
 * The engine remembers where its stack is, and main() tells it anew with each start. In a snapshot it would be another
 * place with each length of a path, and so other bytes.
 */
static void forget_stack(const void *memory_end) {
  uintptr_t here = (uintptr_t)__builtin_frame_address(0);
  for (uintptr_t *word = (uintptr_t *)snapshot.memory; (void *)word < memory_end; word++)
    if (*word > here - 2 * most_stack_bytes && *word < here + most_stack_bytes) *word = 0;
}

/* Loads what every boot needs into the snapshot and writes that down: the modules of these names. */
static int freeze(const char *path, int count, char **names) {
  for (int i = 0; i < count; i++)
    if (run(names[i]) != 0) return 1;
  seam_memory_end_snapshot(program);
  forget_stack(snapshot.end);
  size_t length = (size_t)(snapshot.end - (uint8_t *)&snapshot);
  FILE *file = fopen(path, "wb");
  return file != NULL && fwrite(&snapshot, 1, length, file) == length && fclose(file) == 0 ? 0 : 1;
}

/* The engine seeds its hash tables by this, and every build is to make the same snapshot. */
int gettimeofday(struct timeval *now, void *zone) {
  (void)zone;
  *now = (struct timeval){.tv_sec = 1};
  return 0;
}

int main(int count, char **values) {
  seam_arguments(count > 0 ? count - 1 : 0, values + 1);
  /* A write that fails says so by its errno. */
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
  bool freezes = snapshot.root == NULL && count > 3 && strcmp(values[1], "--freeze") == 0;
  if (freezes) seam_memory_begin_snapshot();
  program = snapshot.root != NULL ? snapshot.root : new_program(main);
  if (program == NULL) {
    fprintf(stderr, "arcbox-agent: internal: too little memory to start\n");
    return 1;
  }
  if (program->main != main) abort();
  JS_UpdateStackTop(program->runtime);
  JS_SetMaxStackSize(program->runtime, stack_bytes());
  /* Nothing is freed one by one: the kernel takes all of it. */
  return freezes ? freeze(values[2], count - 3, values + 3) : run("./main.js");
}
