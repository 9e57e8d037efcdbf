#pragma once
#include <stdint.h>

/// Pins the calling thread to one core. Returns 0, or the errno of sched_setaffinity.
int weir_pin_current_thread(int core);
/// Names the calling thread, at most 15 bytes, for top and gdb.
void weir_name_current_thread(const char *name);
/// Cores this process may run on.
int weir_core_count(void);
/// Bytes of memory the process holds in RAM.
int64_t weir_resident_bytes(void);
