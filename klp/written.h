/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a large part of the target's memory of which little was ever written, the thread table above all: a page that
 * was never written holds zeros, which the kernel tells (proc_pid_pagemap(5)). Private to klp/.
 */
#ifndef KLP_WRITTEN_H
#define KLP_WRITTEN_H

#include "klp/process.h"

/*
 * As klp_process_read, of anonymous memory that is klp's own (behind a page of a file that is not present there is the
 * file). `buf` holds zeros: calloc, so that what is left out takes no memory here either. A page that is written while
 * this reads may be left out, as if it had been read before.
 */
int klp_process_read_written(const struct klp_process *p, uint64_t addr, void *buf, size_t len, struct klp_error *e);

#endif
