// Gives a program a wall clock that is wrong, jumps and goes slowly, while its monotonic clock stays right, as on a machine whose clock
// somebody sets:
//   cc -O2 -shared -fPIC -o /tmp/false.so false-clock.c
//   FALSE_CLOCK=FILE LD_PRELOAD=/tmp/false.so weir run ...
// FILE holds two doubles of the machine's byte order: seconds that are added, and the rate from the program's start on (1: as it is).
// It is mapped, so that what is written to it holds at once. Waits until a moment of the wall clock end when the false one says so, and
// are looked at every 20 ms; those of the monotonic clock, whose moments are small numbers, are left alone.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

struct rule { volatile double added, rate; };
static struct rule right = {0, 1}, *rule = &right;
static double start;
static int (*waits)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
static int (*c11waits)(cnd_t *, mtx_t *, const struct timespec *);

static double real(void) {
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static double wall(void) {
    double now = real();
    return start + (now - start) * rule->rate + rule->added;
}

static struct timespec spec(double seconds) {
    struct timespec found = {(time_t)seconds, 0};
    found.tv_nsec = (long)((seconds - (double)found.tv_sec) * 1e9);
    return found;
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FALSE_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    start = real();
    waits = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (!waits) waits = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    c11waits = dlsym(RTLD_NEXT, "cnd_timedwait");
    if (file < 0) return;
    void *found = mmap(NULL, sizeof(struct rule), PROT_READ, MAP_SHARED, file, 0);
    if (found != MAP_FAILED) rule = found;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) return (int)syscall(SYS_clock_gettime, clock, now);
    *now = spec(wall());
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec found = spec(wall());
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    time_t found = (time_t)wall();
    if (now) *now = found;
    return found;
}

int timespec_get(struct timespec *now, int base) {
    if (base != TIME_UTC) return 0;
    *now = spec(wall());
    return base;
}

// Waits in slices until the false clock says that the end has come; `code` is what a slice that ends by itself returns.
#define WAIT(call, code)                                                            \
    double end = (double)until->tv_sec + until->tv_nsec / 1e9;                       \
    for (;;) {                                                                      \
        double left = end - wall();                                                 \
        if (left <= 0) return code;                                                 \
        struct timespec slice = spec(real() + (left < 0.02 ? left : 0.02));         \
        int said = call(condition, mutex, &slice);                                  \
        if (said != code) return said;                                              \
    }

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex, const struct timespec *restrict until) {
    // Less than thirty years since the machine's start.
    if (until->tv_sec < 1000000000) return waits(condition, mutex, until);
    WAIT(waits, ETIMEDOUT)
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
    WAIT(c11waits, thrd_timedout)
}
