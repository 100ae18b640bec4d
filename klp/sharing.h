/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that live in the memory of another one. A child of vfork or posix_spawn does until it executes another
 * program, while the thread that made it waits. Its own list of threads is not that of the memory: whoever took it for
 * a target would change, and unmap, what the parent's threads are in the middle of. It is no target; its parent is.
 *
 * A child of clone with CLONE_VM and without CLONE_THREAD runs beside its parent: nobody finds its stack in the
 * parent's list of threads, and its thread pointer may be the parent's. While there is one, nothing is done, and no
 * transition completes.
 */
#ifndef KLP_SHARING_H
#define KLP_SHARING_H

#include "klp/process.h"

/* The parent, if the process lives in its memory; else 0. */
pid_t klp_process_shares_memory(const struct klp_process *p);
/* Another process that lives in the memory of this one while no thread waits for it; 0: none. What the tool may not
 * compare with its target (kcmp(2)), for it is another user's, is not seen. */
pid_t klp_process_shared_with(const struct klp_process *p);

#endif
