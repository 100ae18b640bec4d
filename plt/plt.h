/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PLT entries in prefixes, stubs, and near memory. Pure: encodes bytes and chooses addresses; writes nothing anywhere.
 * Each architecture fills these in arch/<name>/{prefix,stub}.c.
 */
#ifndef KLP_PLT_H
#define KLP_PLT_H

#include <stddef.h>
#include <stdint.h>
#include "patchsite/patchsite.h"

/*
 * The PLT entry of a prefix: jumps through the slot at `slot` (near: invariant "a literal is immutable once armed"
 * holds trivially, the displacement never changes). Where only a direct jump fits (ENDBR: 5 bytes) it jumps to `hop`,
 * code in runtime memory that jumps through the slot. Fills out[0..*len) and says with *addr where it starts. -ERANGE
 * (KLP_NO_ROOM) if slot or hop is out of reach.
 */
#define KLP_PREFIX_MAX 24
int klp_prefix_encode(unsigned arch, const struct klp_site *s, uint64_t slot, uint64_t hop, uint8_t out[KLP_PREFIX_MAX],
		      uint64_t *addr, size_t *len, struct klp_error *e);

/*
 * The stub of one site: the ftrace call site. KLP_STUB_SIZE bytes at stub_addr: first the stub proper (loads the
 * identity, goes to the trampoline through the arena's `trampoline` word), at KLP_HOP_OFFSET the hop (jumps through the
 * slot). body: where the original goes on behind its site.
 */
#define KLP_HOP_OFFSET 32
int klp_stub_encode(unsigned arch, uint64_t stub_addr, uint64_t site_record, uint64_t trampoline_word, uint64_t body,
		    uint8_t *out, size_t out_len, struct klp_error *e);
/* What a slot holds to lead to the original body: the body itself, or code in the stub that goes there where an
 * indirect jump may not. */
uint64_t klp_stub_original(unsigned arch, uint64_t stub_addr, uint64_t body);

/* A mapping of the target, as near-memory selection needs it. Sorted by address. */
struct klp_gap_map {
	uint64_t start, end;
	int grows_down;
};
struct klp_gap_query {
	const struct klp_gap_map *map;
	size_t count;
	uint64_t object_start, object_end; /* the object to be near to: every byte of both must reach each other */
	uint64_t brk_start, brk_end;       /* [start of heap, current break]; 0,0 unknown */
	uint64_t size;                     /* bytes wanted; one unmapped page is kept on both sides in addition */
	uint64_t reach;                    /* e.g. 2 GiB - 1 MiB */
	uint64_t page, min_addr, max_addr; /* page size, vm.mmap_min_addr (at least 64 KiB), end of user space */
	uint64_t stack_guard; /* bytes below a grows_down mapping that belong to it: the stack's limit + guard gap */
};
/*
 * Highest fitting address below the object first (section 6), then above. Never within 1 TiB above the break in the gap
 * that the heap grows through (so never near a PIE's own heap; the other end of that gap is where libraries are), nor
 * in a stack's growth range; for objects below 4 GiB (non-PIE) at least 1 GiB clear of the break above it. 0 = there is
 * none.
 */
uint64_t klp_near_find(const struct klp_gap_query *q);

#endif
