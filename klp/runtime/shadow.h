/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of shadow variables (klp/include/klp/shadow.h), as the runtime and the engine see it. One mapping of the
 * process, made by the helper when the first module that needs it is loaded and recorded in the control block like any
 * other:
 *
 *   [ struct klp_rt_shadow ][ the page that a fork wipes ][ tables and values, handed out from the start ]
 *
 * Threads of the program never map anything: nothing can be lost between a mapping and its record, and no seccomp
 * filter sees a mmap. Who writes what: as in rt.h.
 */
#ifndef KLP_RT_SHADOW_H
#define KLP_RT_SHADOW_H

#include <stdint.h>

#define KLP_SHADOW_PAGE 4096u
#define KLP_SHADOW_AREA_MAX (64ull << 20) /* bytes of the mapping; the most that a process gets */
#define KLP_SHADOW_AREA_MIN (1ull << 20)
#define KLP_SHADOW_FIRST (2 * KLP_SHADOW_PAGE) /* `used` of an empty area */
#define KLP_SHADOW_BUCKET 8u                   /* slots that one hash value may take in a table */
#define KLP_SHADOW_TABLES 7u                   /* each with four times the slots of the one before */
#define KLP_SHADOW_TABLE_SLOTS(i) (256ull << (2 * (i)))
#define KLP_SHADOW_CLASSES 31u /* sizes of blocks: 32, 48, 64, 96 ... 1 MiB */

/* What a module may call: symbols, in the order of struct klp_rt_image.shadow. */
#define KLP_SHADOW_CALLS 5u
#define KLP_SHADOW_CALL_NAMES                                                                           \
	{                                                                                               \
		"klp_rt_shadow_get", "klp_rt_shadow_begin", "klp_rt_shadow_take", "klp_rt_shadow_next", \
		    "klp_rt_shadow_end"                                                                 \
	}

/*
 * A variable's place in a table. state: [incarnation 32][sequence 29][waited 1][kind 2]. The sequence grows with each
 * variable that the slot gets, so that a reader who saw the same state before and after has read one variable. The
 * incarnation is that of the process in which a thread is at work on it (BUILDING, FREEING).
 */
struct klp_rt_shadow_slot {
	uint64_t state; /* T */
	uint64_t obj;   /* T  these three: only while the state is FREE */
	uint64_t id;
	uint64_t data; /* address of the value */
};
enum klp_shadow_kind { KLP_SHADOW_FREE, KLP_SHADOW_BUILDING, KLP_SHADOW_READY, KLP_SHADOW_FREEING };
#define KLP_SHADOW_KIND(s) ((s)&3u)
#define KLP_SHADOW_WAITED 4u
#define KLP_SHADOW_SEQUENCE 8u
#define KLP_SHADOW_INCARNATION(s) ((uint32_t)((s) >> 32))

/* Before each value. */
struct klp_rt_shadow_block {
	uint64_t link; /* T  address of its slot; of a free block: of the next one */
	uint32_t size_class;
	uint32_t owner; /* T  tid of who builds or frees it */
};

struct klp_rt_shadow {
	uint64_t size;         /* E  of the whole mapping; not 0: the area is complete */
	uint64_t used;         /* T  bytes handed out */
	uint32_t lock;         /* T  incarnation of the process whose thread holds it << 1 | waiters; 0 free */
	uint32_t incarnations; /* T  given out so far */
	uint64_t table[KLP_SHADOW_TABLES];  /* T  offset from the start, 0 none */
	uint64_t spare[KLP_SHADOW_CLASSES]; /* T  address of the first free block */
};

/* The wiped page: 0 in a fork's child until its first look. */
struct klp_rt_shadow_fork {
	uint32_t incarnation; /* T */
};

#endif
