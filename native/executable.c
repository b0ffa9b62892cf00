/*
 * The program: TypeScript as bytecode, on QuickJS. Ends as soon as no job is left, with the status that main
 * exports.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <quickjs.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include "chunks.h"
#include "memory.h"
#include "quickjs-module.h"
#include "snapshot.h"

/* What would eat the machine is an error of the program. */
static const size_t most_memory_bytes = 256u << 20;
static const size_t extra_memory_bytes = 1u << 20;
/* Until then no cycle of objects is looked for: a boot makes few, and ends before. */
static const size_t first_collection_bytes = 8u << 20;
static const size_t most_stack_bytes = 1u << 20;
/* What C needs of a stack that is smaller than that, below the functions of JavaScript. */
static const size_t stack_reserve_bytes = 64u << 10;
static const size_t least_stack_bytes = 48u << 10;

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

/* A promise that was rejected, and that nothing waits for. */
struct rejection {
  struct rejection *next;
  JSValue promise;
  JSValue reason;
};
static struct rejection *rejections;

static void note_rejection(JSContext *context, JSValueConst promise, JSValueConst reason, bool is_handled,
                           void *opaque) {
  (void)opaque;
  if (!is_handled) {
    struct rejection *fresh = js_malloc(context, sizeof *fresh);
    /* Without memory an error is on its way to the code that made the promise. */
    if (fresh == NULL) return;
    *fresh = (struct rejection){rejections, JS_DupValue(context, promise), JS_DupValue(context, reason)};
    rejections = fresh;
    return;
  }
  for (struct rejection **at = &rejections; *at != NULL; at = &(*at)->next) {
    struct rejection *found = *at;
    if (JS_VALUE_GET_PTR(found->promise) != JS_VALUE_GET_PTR(promise)) continue;
    *at = found->next;
    JS_FreeValue(context, found->promise);
    JS_FreeValue(context, found->reason);
    js_free(context, found);
    return;
  }
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
  bool is_rejected = JS_PromiseState(context, evaluation) == JS_PROMISE_REJECTED;
  if (is_rejected) note_rejection(context, evaluation, JS_UNDEFINED, true, NULL);
  JSValue answer = is_rejected ? JS_Throw(context, JS_PromiseResult(context, evaluation))
                               : JS_GetModuleNamespace(context, module);
  JS_FreeValue(context, evaluation);
  return answer;
}

static void show(JSContext *context, JSValueConst value) {
  const char *text = JS_ToCString(context, value);
  fprintf(stderr, "%s\n", text == NULL ? "an error that has no text" : text);
  JS_FreeCString(context, text);
}

/* An error that nobody caught is a fault of the program: its trace helps to mend it. */
static int uncaught(JSContext *context, JSValue reason) {
  /* Where that was reached, its words still need some. */
  JS_SetMemoryLimit(JS_GetRuntime(context), most_memory_bytes + extra_memory_bytes);
  fprintf(stderr, "arcbox-agent: internal: ");
  /* The engine throws null where it has no memory for an error, and nothing where not even for that. */
  if (JS_IsNull(reason) || JS_IsUninitialized(reason)) fprintf(stderr, "out of memory\n");
  else show(context, reason);
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

/* Above us on the stack are the words of the command line and the environment, and the program's path at its end. */
static size_t used_stack_bytes(void) {
  uintptr_t end = getauxval(AT_EXECFN);
  uintptr_t here = (uintptr_t)__builtin_frame_address(0);
  return end > here ? end - here + PATH_MAX : 0;
}

/* 0 where it is too small for the engine. */
static size_t stack_bytes(void) {
  struct rlimit limit;
  size_t used = used_stack_bytes();
  if (getrlimit(RLIMIT_STACK, &limit) != 0 ||
      limit.rlim_cur >= used + most_stack_bytes + stack_reserve_bytes)
    return most_stack_bytes;
  size_t left = limit.rlim_cur > used ? limit.rlim_cur - used : 0;
  if (left < least_stack_bytes) return 0;
  return left > 2 * stack_reserve_bytes ? left - stack_reserve_bytes : left / 2;
}

/*
 * Where a standard descriptor is closed, the next file would be opened as it: a disk, and what is printed would be
 * written to it. What stands there instead can be neither read nor written, as if it were closed.
 */
static bool take_standard_descriptors(void) {
  struct pollfd standard[] = {{.fd = 0}, {.fd = 1}, {.fd = 2}};
  int wrong = poll(standard, 3, 0);
  if (wrong <= 0) return wrong == 0;
  for (int i = 0; i < 3; i++)
    if ((standard[i].revents & POLLNVAL) != 0 && open("/", O_PATH | O_CLOEXEC) != i) return false;
  return true;
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

/* What main exports as `status`; 0 where it does not. */
static int status_of(JSContext *context, JSModuleDef *module) {
  int32_t status = 0;
  JSValue exports = JS_GetModuleNamespace(context, module);
  JSValue value = JS_IsException(exports) ? JS_EXCEPTION : JS_GetPropertyStr(context, exports, "status");
  if (JS_IsException(value) || (!JS_IsUndefined(value) && JS_ToInt32(context, &status, value) != 0))
    return uncaught(context, JS_GetException(context));
  return status;
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
  if (JS_PromiseState(context, evaluation) == JS_PROMISE_REJECTED)
    return uncaught(context, JS_PromiseResult(context, evaluation));
  if (rejections != NULL) return uncaught(context, rejections->reason);
  if (JS_PromiseState(context, evaluation) == JS_PROMISE_PENDING) {
    fprintf(stderr, "arcbox-agent: internal: it waits for what never comes\n");
    return 1;
  }
  return status_of(context, module);
}

static struct program *new_program(int main(int, char **)) {
  JSRuntime *runtime = JS_NewRuntime2(&seam_memory, NULL);
  if (runtime == NULL) return NULL;
  JS_SetMemoryLimit(runtime, most_memory_bytes);
  JS_SetGCThreshold(runtime, first_collection_bytes);
  JS_SetModuleLoaderFunc(runtime, NULL, load, NULL);
  JS_SetHostPromiseRejectionTracker(runtime, note_rejection, NULL);
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
  if (!take_standard_descriptors()) {
    fprintf(stderr, "arcbox-agent: internal: too few descriptors to start\n");
    return 1;
  }
  bool freezes = snapshot.root == NULL && count > 3 && strcmp(values[1], "--freeze") == 0;
  if (freezes) seam_memory_begin_snapshot();
  program = snapshot.root != NULL ? snapshot.root : new_program(main);
  if (program == NULL) {
    fprintf(stderr, "arcbox-agent: internal: too little memory to start\n");
    return 1;
  }
  if (program->main != main) abort();
  size_t stack = stack_bytes();
  if (stack == 0) {
    fprintf(stderr, "arcbox-agent: internal: too small a stack to start (ulimit -s)\n");
    return 1;
  }
  JS_UpdateStackTop(program->runtime);
  JS_SetMaxStackSize(program->runtime, stack);
  /* Nothing is freed one by one: the kernel takes all of it. */
  return freezes ? freeze(values[2], count - 3, values + 3) : run("./main.js");
}
