/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C library's wrappers of system calls. One that only makes its call holds no lock and has nothing half made while
 * the call waits, however many functions deep it is: from glibc 2.41 on a call that can be cancelled is made by
 * __syscall_cancel_arch, called by __internal_syscall_cancel, by __syscall_cancel, by `read`
 * (sysdeps/nptl/cancellation.c there). What else ends in a read, `fread` say, has another outermost function. Private
 * to klp/.
 */
#ifndef KLP_WRAPPER_H
#define KLP_WRAPPER_H

#include "klp/process.h"

/* Of the C library, from the call to the wrapper: sigwait, sigtimedwait and the three above. */
#define KLP_WRAPPER_FRAMES 5u

/*
 * Whether the function of that object that begins at `entry` is, by its dynamic symbols, a wrapper of the call `nr` and
 * nothing else, or what such a wrapper passes its call on to by a jump (`read` to __syscall_cancel, where seven
 * arguments fit into registers): whoever else came to that one by a jump is not to be returned to, and so holds nothing
 * that it would give back. It reads the target's memory; false in doubt.
 */
bool klp_is_wrapper(const struct klp_process *p, const struct klp_object *libc, long nr, uint64_t entry);

#endif
