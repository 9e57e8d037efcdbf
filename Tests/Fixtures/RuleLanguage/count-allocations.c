// Counts calls of malloc, calloc and realloc on the calling thread, for SpeedTests:
//   cc -O2 -shared -fPIC -o /tmp/count.so count-allocations.c -ldl
//   LD_PRELOAD=/tmp/count.so swift test -c release -Xswiftc -enable-testing --filter SpeedTests
// Wraps glibc's own entry points, so it needs no symbol look-up while the program starts.
#include <stddef.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
static __thread long calls __attribute__((tls_model("initial-exec")));

long weir_allocation_count(void) { return calls; }
void *malloc(size_t size) { calls++; return __libc_malloc(size); }
void *calloc(size_t count, size_t size) { calls++; return __libc_calloc(count, size); }
void *realloc(void *block, size_t size) { calls++; return __libc_realloc(block, size); }
