#include "CRE2.h"
#include <cstring>
#include <new>
#include <re2/re2.h>

struct weir_re2 {
    RE2 expression;
    weir_re2(const re2::StringPiece &pattern, const RE2::Options &options) : expression(pattern, options) {}
};

extern "C" weir_re2 *weir_re2_compile(
    const char *pattern, size_t length, int64_t memory_limit, char *message, size_t message_capacity) {
    RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(memory_limit);
    weir_re2 *compiled = new (std::nothrow) weir_re2(re2::StringPiece(pattern, length), options);
    if (compiled && compiled->expression.ok()) return compiled;
    if (message && message_capacity > 0) {
        const std::string text = compiled ? compiled->expression.error() : std::string("out of memory");
        const size_t n = text.size() < message_capacity - 1 ? text.size() : message_capacity - 1;
        std::memcpy(message, text.data(), n);
        message[n] = 0;
    }
    delete compiled;
    return nullptr;
}

extern "C" int weir_re2_matches(const weir_re2 *expression, const char *text, size_t length) {
    return RE2::PartialMatch(re2::StringPiece(text, length), expression->expression) ? 1 : 0;
}

extern "C" int weir_text_contains(const void *text, size_t length, const void *part, size_t part_length) {
    return part_length == 0 || memmem(text, length, part, part_length) ? 1 : 0;
}

extern "C" void weir_re2_free(weir_re2 *expression) { delete expression; }
