/* SPDX-License-Identifier: Apache-2.0 */
/*
 * klp inside the test's own process: the real image at a chosen address, a real control block, an arena near the test's
 * code, and sites that are armed by the real stores through /proc/self/mem with a membarrier behind each.
 */
#ifndef KLP_TEST_HARNESS_H
#define KLP_TEST_HARNESS_H

#include "klp/machine.h"
#include "klp/runtime/rt.h"
#include "patchsite/patchsite.h"
#include "plt/plt.h"

#define ARCH KLP_HOST_MACHINE

struct world {
	uint8_t *image;
	struct klp_rt_cb *cb;
	uint8_t *stubs;
	struct klp_rt_arena *arena;
	struct klp_rt_site *record;
	unsigned used;
	struct klp_site site[KLP_ARENA_SITES];
};

/* A failing check prints and ends the process with 1. */
#define need(cond)                                               \
	do {                                                     \
		if (!(cond))                                     \
			harness_fail(__FILE__, __LINE__, #cond); \
	} while (0)
void harness_fail(const char *file, int line, const char *what) __attribute__((noreturn));

/* near: the image lies where klp_near_find says; else wherever the kernel puts it. */
void world_make(struct world *w, int near);
void world_free(struct world *w);
/* Decodes the dormant site of fn with M = prefix_len, makes its record and stub, writes its prefix. Not armed yet. */
struct klp_rt_site *world_add(struct world *w, const void *fn, unsigned prefix_len);
void world_arm(struct world *w, const struct klp_rt_site *r);
void world_disarm(struct world *w, const struct klp_rt_site *r);
void world_sync(void);
void text_write(const void *addr, const void *bytes, size_t len);
struct klp_rt_thread *thread_entry(const struct world *w, uint32_t tid);

#endif
