/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signal frames of such a machine: siginfo, ucontext, the general registers where KLP_FRAME_REGS says, and what the
 * architecture keeps behind them. prepared/frame.c has the rest of klp/frame.h; arch/<name>/frame.c these functions and
 * klp_frame_gadgets.
 */
#ifndef KLP_PREPARED_FRAME_H
#define KLP_PREPARED_FRAME_H

#include <string.h>
#include "klp/frame.h"

/* A thread's state beyond the general registers. */
struct klp_extended;
extern const size_t klp_extended_size;

/* 0 or -errno. */
int klp_extended_get(pid_t tid, struct klp_extended *x);
/* Of a complete frame, a multiple of 64. */
size_t klp_extended_frame_size(const struct klp_extended *x);
/* Into the frame that will be at `at`, whose first KLP_FRAME_SIZE bytes are there but for this. NULL: without any. */
void klp_extended_put(const struct klp_extended *x, uint64_t at, uint8_t *out);

static inline void klp_frame_put32(uint8_t *at, uint32_t v)
{
	memcpy(at, &v, sizeof(v));
}

static inline void klp_frame_put64(uint8_t *at, uint64_t v)
{
	memcpy(at, &v, sizeof(v));
}

#endif
