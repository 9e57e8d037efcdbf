#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// A compiled RE2 pattern. Immutable; may be used from several threads.
typedef struct weir_re2 weir_re2;

/// Compiles `pattern`. On failure returns NULL and writes a message of at most `message_capacity` - 1 bytes and a NUL.
weir_re2 *weir_re2_compile(const char *pattern, size_t length, int64_t memory_limit, char *message, size_t message_capacity);
/// 1 when the pattern matches anywhere in the text, else 0.
int weir_re2_matches(const weir_re2 *expression, const char *text, size_t length);
void weir_re2_free(weir_re2 *expression);

#ifdef __cplusplus
}
#endif
