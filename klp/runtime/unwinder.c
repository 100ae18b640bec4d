/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariant L3: how the process's own unwinder finds the frames of modules. libgcc calls _Unwind_Find_FDE through its
 * own procedure linkage table; that slot leads here while patches are loaded. What lies in a module is answered from
 * the table that the engine made of the module's .eh_frame, everything else by the function that the slot led to
 * before.
 *
 * Runs on any thread of the target that throws, is cancelled or asks for a backtrace. No lock: a module whose frames
 * are on the stack is not taken away, so its entry does not change under the thread that finds itself in it; an entry
 * that changes at this moment is another module's.
 */
#include "klp/runtime/rt.h"

#pragma GCC poison malloc calloc realloc free printf fprintf memcpy memset errno

/* unwind-dw2-fde.h of gcc; what its callers read. */
struct eh_bases {
	uint64_t text, data;
	uint64_t function; /* where the FDE's function begins */
};

typedef const void *(*find_fn)(uint64_t pc, struct eh_bases *bases);
const void *klp_rt_find_fde(uint64_t pc, struct eh_bases *bases);

extern const unsigned char klp_rt_begin[] __attribute__((visibility("hidden")));

static const void *find(const struct klp_rt_fde *fde, uint64_t count, uint64_t pc, struct eh_bases *bases)
{
	uint64_t low = 0, high = count;

	while (low < high) {
		uint64_t mid = (low + high) / 2;

		if (pc < fde[mid].start) {
			high = mid;
		} else if (pc >= fde[mid].end) {
			low = mid + 1;
		} else {
			bases->text = bases->data = 0;
			bases->function = fde[mid].start;
			return (const void *)fde[mid].fde;
		}
	}
	return 0;
}

const void *klp_rt_find_fde(uint64_t pc, struct eh_bases *bases)
{
	const struct klp_rt_cb *cb = (const struct klp_rt_cb *)(klp_rt_begin + KLP_RT_TEXT_SIZE);
	uint32_t i;

	for (i = 0; i < KLP_MAX_PATCHES; i++) {
		const struct klp_rt_unwind *u = &cb->unwind[i];
		uint64_t version = __atomic_load_n(&u->version, __ATOMIC_ACQUIRE), start, end, fdes, count;

		if (!(version & 1))
			continue;
		start = __atomic_load_n(&u->start, __ATOMIC_RELAXED);
		end = __atomic_load_n(&u->end, __ATOMIC_RELAXED);
		fdes = __atomic_load_n(&u->fdes, __ATOMIC_RELAXED);
		count = __atomic_load_n(&u->count, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_ACQUIRE); /* pairs with the order of the helper's stores */
		if (__atomic_load_n(&u->version, __ATOMIC_RELAXED) != version)
			continue;
		if (pc >= start && pc < end)
			return find((const struct klp_rt_fde *)fdes, count, pc, bases);
	}
	return ((find_fn)__atomic_load_n(&cb->unwind_original, __ATOMIC_ACQUIRE))(pc, bases);
}
