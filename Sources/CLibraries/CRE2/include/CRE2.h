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
/// 1 when `part` occurs in `text`, else 0; linear whatever the texts (glibc's two-way search, which Swift cannot import).
int weir_text_contains(const void *text, size_t length, const void *part, size_t part_length);
void weir_re2_free(weir_re2 *expression);

#ifdef __cplusplus
}
#endif
