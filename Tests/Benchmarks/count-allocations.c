// Counts calls of malloc, calloc, realloc and the aligned ones:
//   cc -O2 -shared -fPIC -o /tmp/count.so count-allocations.c
//   LD_PRELOAD=/tmp/count.so swift test -c release -Xswiftc -enable-testing --filter SpeedTests
// A program asks for those of its own thread with weir_allocation_count(). With WEIR_ALLOCATIONS=FILE in the environment the
// number over all threads is written to FILE when the program ends. Wraps glibc's own entry points, so it needs no symbol look-up
// while the program starts.
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
static __thread long calls __attribute__((tls_model("initial-exec")));
static atomic_long total;

static void count(void) {
    calls++;
    atomic_fetch_add_explicit(&total, 1, memory_order_relaxed);
}

long weir_allocation_count(void) { return calls; }
void *malloc(size_t size) { count(); return __libc_malloc(size); }
void *calloc(size_t items, size_t size) { count(); return __libc_calloc(items, size); }
void *realloc(void *block, size_t size) { count(); return __libc_realloc(block, size); }
void *memalign(size_t alignment, size_t size) { count(); return __libc_memalign(alignment, size); }
void *aligned_alloc(size_t alignment, size_t size) { count(); return __libc_memalign(alignment, size); }
int posix_memalign(void **block, size_t alignment, size_t size) {
    count();
    void *made = __libc_memalign(alignment, size);
    if (!made) return ENOMEM;
    *block = made;
    return 0;
}

__attribute__((destructor)) static void report(void) {
    long number = atomic_load(&total);
    const char *path = getenv("WEIR_ALLOCATIONS");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file) return;
    fprintf(file, "%ld\n", number);
    fclose(file);
}
