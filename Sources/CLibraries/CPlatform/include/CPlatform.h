#pragma once

/// Pins the calling thread to one core. Returns 0, or the errno of sched_setaffinity.
int weir_pin_current_thread(int core);
/// Names the calling thread, at most 15 bytes, for top and gdb.
void weir_name_current_thread(const char *name);
/// Gives a file another name that nobody has yet, in one step. Returns 0, or the errno of renameat2: EINVAL or ENOSYS where the file
/// system cannot do it.
int weir_rename_to_new(const char *from, const char *to);
/// Cores this process may run on.
int weir_core_count(void);
/// How the whole process takes memory from the kernel. Blocks from 1 MiB on are mappings of their own, so that growing one moves pages
/// instead of copying bytes; glibc on its own raises that limit to 32 MiB as large blocks are freed. Up to 32 MiB freed at the end of a
/// thread's heap stay there: given back at once, the kernel would clear them again for each batch of a client library (128 KiB by
/// default once the limit above is set).
void weir_set_up_heap(void);

