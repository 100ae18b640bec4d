/* SPDX-License-Identifier: Apache-2.0 */
/* What the stepped program of the crossing test and its oracle share, by memory and a futex. */
#ifndef TEST_CROSSING_PAGE_H
#define TEST_CROSSING_PAGE_H

#include <stdint.h>

enum { CROSSING_RUNS, CROSSING_ASKS };

struct crossing_page {
	uint32_t turn;    /* futex: CROSSING_ASKS while the stepped thread waits */
	uint32_t tid;     /* of the stepped thread */
	int64_t reg[18];  /* as in ucontext's gregs, up to the flags */
	uint64_t tp;      /* its thread pointer */
	uint64_t handler; /* the first instruction of a signal handler that is stepped again */
	uint32_t inject;  /* a signal for the thread, before its next instruction; 0: none */
	uint32_t jump;    /* the handler leaves by siglongjmp */
	uint32_t inside;  /* the sitting thread: 1 go into the patched function, 0 come out */
	uint32_t is_inside;
	uint32_t stop;
	uint64_t calls;
};

#endif
