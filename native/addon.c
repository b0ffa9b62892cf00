/* The seam as an addon for Node and Bun (Node-API 8). */
#include <node_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "seam.h"

enum { most_values = 1 + seam_most_words, most_strings = 64 };

struct call {
  size_t count;
  napi_value values[most_values];
};

static napi_value type_error(napi_env env, const char *message) {
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
  return NULL;
}

/* False for more values than a function can have. */
static bool call_of(napi_env env, napi_callback_info info, struct call *call) {
  call->count = most_values;
  if (napi_get_cb_info(env, info, &call->count, call->values, NULL, NULL) == napi_ok &&
      call->count <= most_values)
    return true;
  type_error(env, "too many arguments");
  return false;
}

static napi_valuetype type_of(napi_env env, napi_value value) {
  napi_valuetype type = napi_undefined;
  napi_typeof(env, value, &type);
  return type;
}

struct bytes {
  uint8_t *at;
  size_t length;
};

static bool bytes_of(napi_env env, napi_value value, struct bytes *bytes) {
  bool is_typed = false;
  bool is_detached = false;
  napi_typedarray_type type;
  napi_value buffer;
  void *at = NULL;
  napi_is_typedarray(env, value, &is_typed);
  if (is_typed && napi_get_typedarray_info(env, value, &type, &bytes->length, &at, &buffer, NULL) == napi_ok &&
      type == napi_uint8_array && napi_is_detached_arraybuffer(env, buffer, &is_detached) == napi_ok &&
      !is_detached) {
    bytes->at = at;
    return true;
  }
  type_error(env, "not a Uint8Array, or one that is detached");
  return false;
}

static bool integer_of(napi_env env, napi_value value, long *word) {
  double number;
  if (napi_get_value_double(env, value, &number) == napi_ok && seam_is_whole(number)) {
    *word = (long)number;
    return true;
  }
  type_error(env, "not a whole number");
  return false;
}

/* One character of UTF-16 as UTF-8: how many units it took; 0 for half of one. */
static size_t to_utf8(const char16_t *from, size_t left, uint8_t *to, size_t *length) {
  uint32_t code = from[0];
  size_t units = 1;
  if (code >= 0xd800 && code < 0xe000) {
    if (code >= 0xdc00 || left < 2 || from[1] < 0xdc00 || from[1] >= 0xe000) return 0;
    code = 0x10000 + ((code - 0xd800) << 10) + (from[1] - 0xdc00u);
    units = 2;
  }
  *length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  static const uint8_t first[] = {0, 0, 0xc0, 0xe0, 0xf0};
  for (size_t i = *length - 1; i > 0; i--, code >>= 6) to[i] = (uint8_t)(0x80 | (code & 0x3f));
  to[0] = (uint8_t)(first[*length] | code);
  return units;
}

/* The UTF-8 of a string, with a NUL behind it; to be freed. Node's own way would put U+FFFD for half of one. */
static char *text_of(napi_env env, napi_value value, size_t *length) {
  size_t units;
  if (napi_get_value_string_utf16(env, value, NULL, 0, &units) != napi_ok) {
    type_error(env, "not a string");
    return NULL;
  }
  char16_t *wide = malloc((units + 1) * sizeof *wide);
  char *text = malloc(units * 3 + 1);
  if (wide == NULL || text == NULL) goto fail;
  napi_get_value_string_utf16(env, value, wide, units + 1, &units);
  *length = 0;
  for (size_t at = 0; at < units;) {
    size_t step;
    size_t taken = to_utf8(wide + at, units - at, (uint8_t *)text + *length, &step);
    if (taken == 0) goto fail;
    at += taken;
    *length += step;
  }
  text[*length] = 0;
  free(wide);
  return text;
fail:
  free(wide);
  free(text);
  type_error(env, "half of a character in a string");
  return NULL;
}

/* The same without a NUL inside. */
static char *c_string_of(napi_env env, napi_value value) {
  size_t length;
  char *text = text_of(env, value, &length);
  if (text == NULL || strlen(text) == length) return text;
  free(text);
  type_error(env, "a NUL in a string");
  return NULL;
}

static napi_value number(napi_env env, int64_t value) {
  napi_value result = NULL;
  napi_create_int64(env, value, &result);
  return result;
}

static napi_value null(napi_env env) {
  napi_value result = NULL;
  napi_get_null(env, &result);
  return result;
}

static napi_value copied(napi_env env, const void *bytes, size_t length) {
  void *to = NULL;
  napi_value buffer = NULL;
  napi_value result = NULL;
  if (napi_create_arraybuffer(env, length, &to, &buffer) != napi_ok) return NULL;
  if (length > 0) memcpy(to, bytes, length);
  napi_create_typedarray(env, napi_uint8_array, length, buffer, 0, &result);
  return result;
}

static napi_value js_syscall(napi_env env, napi_callback_info info) {
  struct call call;
  long name;
  long words[seam_most_words] = {0};
  char *texts[seam_most_words] = {NULL};
  napi_value answer = NULL;
  if (!call_of(env, info, &call)) return NULL;
  if (call.count < 1) return type_error(env, "a system call has a number and up to six words");
  if (!integer_of(env, call.values[0], &name)) return NULL;
  for (size_t i = 1; i < call.count; i++) {
    napi_value value = call.values[i];
    struct bytes bytes;
    switch (type_of(env, value)) {
      case napi_string:
        texts[i - 1] = c_string_of(env, value);
        if (texts[i - 1] == NULL) goto end;
        words[i - 1] = (long)texts[i - 1];
        break;
      case napi_object:
        if (!bytes_of(env, value, &bytes)) goto end;
        words[i - 1] = (long)bytes.at;
        break;
      default:
        if (!integer_of(env, value, &words[i - 1])) goto end;
    }
  }
  answer = number(env, seam_syscall(name, words));
end:
  for (int i = 0; i < seam_most_words; i++) free(texts[i]);
  return answer;
}

struct strings {
  char *texts[most_strings + 1];
  size_t count;
};

static bool length_of(napi_env env, napi_value value, uint32_t *length) {
  if (napi_get_array_length(env, value, length) == napi_ok && *length <= most_strings) return true;
  type_error(env, "not an array, or one that is too long");
  return false;
}

static bool strings_of(napi_env env, napi_value value, struct strings *strings) {
  uint32_t length;
  if (!length_of(env, value, &length)) return false;
  for (uint32_t i = 0; i < length; i++) {
    napi_value entry;
    /* A getter may throw. */
    if (napi_get_element(env, value, i, &entry) != napi_ok) return false;
    char *text = c_string_of(env, entry);
    if (text == NULL) return false;
    strings->texts[strings->count++] = text;
  }
  return true;
}

static void free_strings(struct strings *strings) {
  for (size_t i = 0; i < strings->count; i++) free(strings->texts[i]);
}

static bool descriptors_of(napi_env env, napi_value value, int *descriptors, size_t *count) {
  uint32_t length;
  if (!length_of(env, value, &length)) return false;
  for (uint32_t i = 0; i < length; i++) {
    napi_value entry;
    long word;
    if (napi_get_element(env, value, i, &entry) != napi_ok || !integer_of(env, entry, &word)) return false;
    if (!seam_is_descriptor(word)) {
      type_error(env, "not a descriptor");
      return false;
    }
    descriptors[i] = (int)word;
  }
  *count = length;
  return true;
}

static napi_value js_spawn(napi_env env, napi_callback_info info) {
  struct call call;
  struct strings arguments = {0};
  struct strings environment = {0};
  int descriptors[most_strings];
  struct seam_program program = {.arguments = arguments.texts,
                                 .environment = environment.texts,
                                 .descriptors = descriptors};
  napi_value answer = NULL;
  if (!call_of(env, info, &call)) return NULL;
  if (call.count != 4) return type_error(env, "spawn(program, arguments, environment, descriptors)");
  char *path = c_string_of(env, call.values[0]);
  program.path = path;
  if (path != NULL && strings_of(env, call.values[1], &arguments) &&
      strings_of(env, call.values[2], &environment) &&
      descriptors_of(env, call.values[3], descriptors, &program.descriptor_count))
    answer = number(env, seam_spawn(&program));
  free_strings(&arguments);
  free_strings(&environment);
  free(path);
  return answer;
}

static napi_value js_encode(napi_env env, napi_callback_info info) {
  struct call call;
  size_t length;
  if (!call_of(env, info, &call)) return NULL;
  if (call.count != 1) return type_error(env, "encode(text)");
  char *text = text_of(env, call.values[0], &length);
  if (text == NULL) return NULL;
  napi_value answer = copied(env, text, length);
  free(text);
  return answer;
}

static napi_value js_decode(napi_env env, napi_callback_info info) {
  struct call call;
  struct bytes bytes;
  napi_value answer = NULL;
  if (!call_of(env, info, &call)) return NULL;
  if (call.count != 1) return type_error(env, "decode(bytes)");
  if (!bytes_of(env, call.values[0], &bytes)) return NULL;
  if (!seam_is_utf8(bytes.at, bytes.length)) return null(env);
  const char *text = bytes.length == 0 ? "" : (const char *)bytes.at;
  if (napi_create_string_utf8(env, text, bytes.length, &answer) == napi_ok) return answer;
  return type_error(env, "more bytes than a string can have");
}

static napi_value js_holds_at(napi_env env, napi_callback_info info) {
  struct call call;
  struct bytes data, piece;
  long at;
  napi_value answer = NULL;
  if (!call_of(env, info, &call)) return NULL;
  if (call.count != 3) return type_error(env, "holdsAt(data, piece, at)");
  if (!bytes_of(env, call.values[0], &data) || !bytes_of(env, call.values[1], &piece) ||
      !integer_of(env, call.values[2], &at))
    return NULL;
  napi_get_boolean(env, seam_holds_at(data.at, data.length, piece.at, piece.length, at), &answer);
  return answer;
}

static napi_value js_first_non_zero(napi_env env, napi_callback_info info) {
  struct call call;
  struct bytes bytes;
  if (!call_of(env, info, &call)) return NULL;
  if (call.count != 1) return type_error(env, "firstNonZero(bytes)");
  if (!bytes_of(env, call.values[0], &bytes)) return NULL;
  size_t at = seam_first_non_zero(bytes.at, bytes.length);
  return number(env, at == bytes.length ? -1 : (int64_t)at);
}

static napi_value js_crc32c(napi_env env, napi_callback_info info) {
  struct call call;
  struct bytes bytes;
  if (!call_of(env, info, &call)) return NULL;
  if (call.count != 1) return type_error(env, "crc32c(bytes)");
  if (!bytes_of(env, call.values[0], &bytes)) return NULL;
  return number(env, seam_crc32c(bytes.at, bytes.length));
}

static napi_value js_address_modulo(napi_env env, napi_callback_info info) {
  struct call call;
  struct bytes bytes;
  long alignment;
  if (!call_of(env, info, &call)) return NULL;
  if (call.count != 2) return type_error(env, "addressModulo(bytes, alignment)");
  if (!bytes_of(env, call.values[0], &bytes) || !integer_of(env, call.values[1], &alignment)) return NULL;
  if (alignment < 1) return type_error(env, "not an alignment");
  return number(env, (int64_t)((uintptr_t)bytes.at % (uintptr_t)alignment));
}

/* The command line is the host's. */
static napi_value js_argument(napi_env env, napi_callback_info info) {
  struct call call;
  long at;
  if (!call_of(env, info, &call)) return NULL;
  if (call.count != 1) return type_error(env, "argument(i)");
  return integer_of(env, call.values[0], &at) ? null(env) : NULL;
}

static napi_value js_environment(napi_env env, napi_callback_info info) {
  struct call call;
  if (!call_of(env, info, &call)) return NULL;
  if (call.count != 1) return type_error(env, "environment(name)");
  char *name = c_string_of(env, call.values[0]);
  if (name == NULL) return NULL;
  const char *value = getenv(name);
  free(name);
  return value == NULL ? null(env) : copied(env, value, strlen(value));
}

static napi_value js_page_bytes(napi_env env, napi_callback_info info) {
  struct call call;
  if (!call_of(env, info, &call)) return NULL;
  if (call.count != 0) return type_error(env, "pageBytes()");
  return number(env, sysconf(_SC_PAGESIZE));
}

NAPI_MODULE_INIT() {
  static const struct {
    const char *name;
    napi_callback function;
  } functions[] = {
      {"syscall", js_syscall},           {"spawn", js_spawn},
      {"encode", js_encode},             {"decode", js_decode},
      {"holdsAt", js_holds_at},          {"firstNonZero", js_first_non_zero},
      {"addressModulo", js_address_modulo}, {"argument", js_argument},
      {"environment", js_environment},   {"pageBytes", js_page_bytes},
      {"crc32c", js_crc32c},
  };
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    napi_value function;
    if (napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].function, NULL, &function) != napi_ok ||
        napi_set_named_property(env, exports, functions[i].name, function) != napi_ok)
      return NULL;
  }
  napi_value architecture;
  napi_create_string_utf8(env, SEAM_ARCHITECTURE, NAPI_AUTO_LENGTH, &architecture);
  napi_set_named_property(env, exports, "architecture", architecture);
  return exports;
}
