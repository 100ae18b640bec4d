/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A child of vfork or posix_spawn lives in its parent's memory until it executes another program. Its own list of
 * threads is not that of the memory: whoever took it for a target would change, and unmap, what the parent's threads
 * are in the middle of. It is no target; its parent is.
 */
#ifndef KLP_SHARING_H
#define KLP_SHARING_H

#include "klp/process.h"

/* The parent, if the process lives in its memory; else 0. */
pid_t klp_process_shares_memory(const struct klp_process *p);

#endif
