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
/// Makes blocks from 1 MiB on mappings of their own, for the whole process, so that growing one moves pages instead of copying bytes.
/// glibc on its own raises that limit to 32 MiB as large blocks are freed.
void weir_map_large_blocks(void);

