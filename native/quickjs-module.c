#include "quickjs-module.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "seam.h"

static int argument_count;
static char **argument_values;

struct bytes {
  uint8_t *at;
  size_t length;
};

/*
 * An array that follows the length of its buffer: QuickJS gives the length that it had at first. Elements are
 * looked up in the memory that is there; nothing can stand in for those of a typed array.
 */
static bool has_length(JSContext *context, JSValueConst value, size_t length) {
  if (length > UINT32_MAX) return false;
  return (length == 0 || JS_IsNumber(JS_GetPropertyUint32(context, value, (uint32_t)length - 1))) &&
         JS_IsUndefined(JS_GetPropertyUint32(context, value, (uint32_t)length));
}

/* A Uint8Array whose memory is there; a TypeError otherwise. */
static bool bytes_of(JSContext *context, JSValueConst value, struct bytes *bytes) {
  bytes->at = JS_GetUint8Array(context, &bytes->length, value);
  /* An empty one may have no memory, which is no error. */
  if (bytes->at == NULL && JS_HasException(context)) return false;
  /* A Uint8ClampedArray is taken for one by QuickJS, and by nobody else. */
  if (JS_GetTypedArrayType(value) == JS_TYPED_ARRAY_UINT8 && has_length(context, value, bytes->length))
    return true;
  JS_ThrowTypeError(context, "not a Uint8Array, or one whose buffer has changed its size");
  return false;
}

static bool integer_of(JSContext *context, JSValueConst value, long *word) {
  double number = 0;
  if (!JS_IsNumber(value)) {
    JS_ThrowTypeError(context, "not a number");
    return false;
  }
  if (JS_ToFloat64(context, &number, value) != 0) return false;
  if (!seam_is_whole(number)) {
    JS_ThrowTypeError(context, "not a whole number");
    return false;
  }
  *word = (long)number;
  return true;
}

/* A C string of a string that has no NUL and only whole characters. To be freed by JS_FreeCString(). */
static const char *text_of(JSContext *context, JSValueConst value) {
  size_t length;
  if (!JS_IsString(value)) {
    JS_ThrowTypeError(context, "not a string");
    return NULL;
  }
  const char *text = JS_ToCStringLen(context, &length, value);
  if (text == NULL) return NULL;
  if (strlen(text) == length && seam_is_utf8((const uint8_t *)text, length)) return text;
  JS_FreeCString(context, text);
  JS_ThrowTypeError(context, "a NUL or half of a character in a string");
  return NULL;
}

/* syscall(number, ...words): the result, or minus the errno. */
static JSValue js_syscall(JSContext *context, JSValueConst self, int count, JSValueConst *values) {
  (void)self;
  long number;
  long words[seam_most_words] = {0};
  const char *texts[seam_most_words] = {NULL};
  JSValue answer = JS_EXCEPTION;
  if (count < 1 || count > 1 + seam_most_words)
    return JS_ThrowTypeError(context, "a system call has a number and up to six words");
  if (!integer_of(context, values[0], &number)) return JS_EXCEPTION;
  for (int i = 1; i < count; i++) {
    long *word = &words[i - 1];
    if (JS_IsString(values[i])) {
      texts[i - 1] = text_of(context, values[i]);
      if (texts[i - 1] == NULL) goto end;
      *word = (long)texts[i - 1];
    } else if (JS_IsObject(values[i])) {
      struct bytes bytes;
      if (!bytes_of(context, values[i], &bytes)) goto end;
      *word = (long)bytes.at;
    } else if (!integer_of(context, values[i], word)) {
      goto end;
    }
  }
  answer = JS_NewInt64(context, seam_syscall(number, words));
end:
  for (int i = 0; i < seam_most_words; i++)
    if (texts[i] != NULL) JS_FreeCString(context, texts[i]);
  return answer;
}

enum { most_strings = 64 };

struct strings {
  char *texts[most_strings + 1];
  size_t count;
};

static bool length_of(JSContext *context, JSValueConst value, int64_t most, int64_t *length) {
  if (!JS_IsArray(value)) {
    JS_ThrowTypeError(context, "not an array");
    return false;
  }
  if (JS_GetLength(context, value, length) != 0) return false;
  if (*length <= most) return true;
  JS_ThrowTypeError(context, "an array that is too long");
  return false;
}

static bool strings_of(JSContext *context, JSValueConst value, struct strings *strings) {
  int64_t length;
  if (!length_of(context, value, most_strings, &length)) return false;
  for (uint32_t i = 0; i < length; i++) {
    JSValue entry = JS_GetPropertyUint32(context, value, i);
    const char *text = JS_IsException(entry) ? NULL : text_of(context, entry);
    JS_FreeValue(context, entry);
    if (text == NULL) return false;
    strings->texts[strings->count++] = (char *)text;
  }
  return true;
}

static void free_strings(JSContext *context, struct strings *strings) {
  for (size_t i = 0; i < strings->count; i++) JS_FreeCString(context, strings->texts[i]);
}

static bool descriptors_of(JSContext *context, JSValueConst value, int *descriptors, size_t *count) {
  int64_t length;
  if (!length_of(context, value, most_strings, &length)) return false;
  for (uint32_t i = 0; i < length; i++) {
    long word = 0;
    JSValue entry = JS_GetPropertyUint32(context, value, i);
    bool whole = !JS_IsException(entry) && integer_of(context, entry, &word);
    JS_FreeValue(context, entry);
    if (!whole) return false;
    if (!seam_is_descriptor(word)) {
      JS_ThrowTypeError(context, "not a descriptor");
      return false;
    }
    descriptors[i] = (int)word;
  }
  *count = (size_t)length;
  return true;
}

/* spawn(program, arguments, environment, descriptors): the process id, or minus the errno. */
static JSValue js_spawn(JSContext *context, JSValueConst self, int count, JSValueConst *values) {
  (void)self;
  struct strings arguments = {0};
  struct strings environment = {0};
  int descriptors[most_strings];
  struct seam_program program = {.arguments = arguments.texts,
                                 .environment = environment.texts,
                                 .descriptors = descriptors};
  JSValue answer = JS_EXCEPTION;
  if (count != 4)
    return JS_ThrowTypeError(context, "spawn(program, arguments, environment, descriptors)");
  program.path = text_of(context, values[0]);
  if (program.path != NULL && strings_of(context, values[1], &arguments) &&
      strings_of(context, values[2], &environment) &&
      descriptors_of(context, values[3], descriptors, &program.descriptor_count))
    answer = JS_NewInt64(context, seam_spawn(&program));
  free_strings(context, &arguments);
  free_strings(context, &environment);
  if (program.path != NULL) JS_FreeCString(context, program.path);
  return answer;
}

/* encode(text): its UTF-8. */
static JSValue js_encode(JSContext *context, JSValueConst self, int count, JSValueConst *values) {
  (void)self;
  size_t length;
  if (count != 1 || !JS_IsString(values[0])) return JS_ThrowTypeError(context, "not a string");
  const char *text = JS_ToCStringLen(context, &length, values[0]);
  if (text == NULL) return JS_EXCEPTION;
  JSValue answer = seam_is_utf8((const uint8_t *)text, length)
                       ? JS_NewUint8ArrayCopy(context, (const uint8_t *)text, length)
                       : JS_ThrowTypeError(context, "half of a character in a string");
  JS_FreeCString(context, text);
  return answer;
}

/* The text, or null where the bytes are no UTF-8. */
static JSValue decoded(JSContext *context, const uint8_t *bytes, size_t length) {
  return seam_is_utf8(bytes, length) ? JS_NewStringLen(context, (const char *)bytes, length) : JS_NULL;
}

static JSValue js_decode(JSContext *context, JSValueConst self, int count, JSValueConst *values) {
  (void)self;
  struct bytes bytes;
  if (count != 1) return JS_ThrowTypeError(context, "decode(bytes)");
  return bytes_of(context, values[0], &bytes) ? decoded(context, bytes.at, bytes.length) : JS_EXCEPTION;
}

/* holdsAt(data, piece, at): whether all of `piece` lies in `data` at this offset. */
static JSValue js_holds_at(JSContext *context, JSValueConst self, int count, JSValueConst *values) {
  (void)self;
  struct bytes data, piece;
  long at;
  if (count != 3) return JS_ThrowTypeError(context, "holdsAt(data, piece, at)");
  if (!bytes_of(context, values[0], &data) || !bytes_of(context, values[1], &piece) ||
      !integer_of(context, values[2], &at))
    return JS_EXCEPTION;
  return JS_NewBool(context, seam_holds_at(data.at, data.length, piece.at, piece.length, at));
}

static JSValue js_first_non_zero(JSContext *context, JSValueConst self, int count, JSValueConst *values) {
  (void)self;
  struct bytes bytes;
  if (count != 1) return JS_ThrowTypeError(context, "firstNonZero(bytes)");
  if (!bytes_of(context, values[0], &bytes)) return JS_EXCEPTION;
  size_t at = seam_first_non_zero(bytes.at, bytes.length);
  return JS_NewInt64(context, at == bytes.length ? -1 : (int64_t)at);
}

static JSValue js_crc32c(JSContext *context, JSValueConst self, int count, JSValueConst *values) {
  (void)self;
  struct bytes bytes;
  if (count != 1) return JS_ThrowTypeError(context, "crc32c(bytes)");
  if (!bytes_of(context, values[0], &bytes)) return JS_EXCEPTION;
  return JS_NewInt64(context, seam_crc32c(bytes.at, bytes.length));
}

/* addressModulo(bytes, alignment): how far behind a multiple of the alignment they lie in memory. */
static JSValue js_address_modulo(JSContext *context, JSValueConst self, int count, JSValueConst *values) {
  (void)self;
  struct bytes bytes;
  long alignment;
  if (count != 2) return JS_ThrowTypeError(context, "addressModulo(bytes, alignment)");
  if (!bytes_of(context, values[0], &bytes) || !integer_of(context, values[1], &alignment))
    return JS_EXCEPTION;
  if (alignment < 1) return JS_ThrowTypeError(context, "not an alignment");
  return JS_NewInt64(context, (int64_t)((uintptr_t)bytes.at % (uintptr_t)alignment));
}

static JSValue copied(JSContext *context, const char *text) {
  return JS_NewUint8ArrayCopy(context, (const uint8_t *)text, strlen(text));
}

/* argument(i): the bytes of a word of the command line, without the program's name; null behind the last. */
static JSValue js_argument(JSContext *context, JSValueConst self, int count, JSValueConst *values) {
  (void)self;
  long at;
  if (count != 1) return JS_ThrowTypeError(context, "argument(i)");
  if (!integer_of(context, values[0], &at)) return JS_EXCEPTION;
  return at < 0 || at >= argument_count ? JS_NULL : copied(context, argument_values[at]);
}

/* environment(name): the bytes of a variable; null where there is none. */
static JSValue js_environment(JSContext *context, JSValueConst self, int count, JSValueConst *values) {
  (void)self;
  if (count != 1) return JS_ThrowTypeError(context, "environment(name)");
  const char *name = text_of(context, values[0]);
  if (name == NULL) return JS_EXCEPTION;
  const char *value = getenv(name);
  JS_FreeCString(context, name);
  return value == NULL ? JS_NULL : copied(context, value);
}

/* pageBytes(): of memory, as the kernel manages it. */
static JSValue js_page_bytes(JSContext *context, JSValueConst self, int count, JSValueConst *values) {
  (void)self, (void)values;
  if (count != 0) return JS_ThrowTypeError(context, "pageBytes()");
  return JS_NewInt64(context, sysconf(_SC_PAGESIZE));
}

static const JSCFunctionListEntry functions[] = {
    JS_CFUNC_DEF("syscall", 7, js_syscall),
    JS_CFUNC_DEF("spawn", 4, js_spawn),
    JS_CFUNC_DEF("encode", 1, js_encode),
    JS_CFUNC_DEF("decode", 1, js_decode),
    JS_CFUNC_DEF("holdsAt", 3, js_holds_at),
    JS_CFUNC_DEF("firstNonZero", 1, js_first_non_zero),
    JS_CFUNC_DEF("crc32c", 1, js_crc32c),
    JS_CFUNC_DEF("addressModulo", 2, js_address_modulo),
    JS_CFUNC_DEF("argument", 1, js_argument),
    JS_CFUNC_DEF("environment", 1, js_environment),
    JS_CFUNC_DEF("pageBytes", 0, js_page_bytes),
    JS_PROP_STRING_DEF("architecture", SEAM_ARCHITECTURE, JS_PROP_ENUMERABLE),
};
enum { function_count = sizeof functions / sizeof *functions };

static int fill(JSContext *context, JSModuleDef *module) {
  return JS_SetModuleExportList(context, module, functions, function_count);
}

void seam_arguments(int count, char **values) {
  argument_count = count;
  argument_values = values;
}

JSModuleDef *seam_module(JSContext *context) {
  JSModuleDef *module = JS_NewCModule(context, SEAM_MODULE_NAME, fill);
  if (module != NULL) JS_AddModuleExportList(context, module, functions, function_count);
  return module;
}
