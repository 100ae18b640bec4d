/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where klp may map memory near an object. The highest place below the object first, then the lowest above it.
 *
 * A mapping in the wrong place harms the target long after klp has gone: a page above the program break makes sbrk fail
 * for ever, a page in a stack's growth range turns a deep call into SIGSEGV (both reproduced). So some gaps are taken
 * only in part.
 */
#include "plt/plt.h"

/*
 * Room that is left to the heap above the break. A program below 4 GiB has nothing else within the reach of its code;
 * others have, so there only the far end of the heap's gap is taken, where the kernel itself puts libraries and new
 * mappings.
 */
#define BRK_CLEAR_LOW (1ull << 30)
#define BRK_CLEAR (1ull << 40)
#define LOW_OBJECT (1ull << 32)

static uint64_t sat_add(uint64_t a, uint64_t b)
{
	return a + b < a ? UINT64_MAX : a + b;
}

static uint64_t sat_sub(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static uint64_t max64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

struct range {
	uint64_t lo, hi; /* start addresses; empty: lo > hi */
};

/* The start addresses in the free space [start, end) that keep one unmapped page on both sides and reach the whole
 * object. */
static struct range fit(const struct klp_gap_query *q, uint64_t size, uint64_t start, uint64_t end)
{
	static const struct range none = {1, 0};
	struct range r;

	start = sat_add(max64(start, q->min_addr), q->page);
	end = sat_sub(min64(end, q->max_addr), q->page);
	if (end < start || end - start < size)
		return none;
	/* Every byte of the new memory reaches every byte of the object and the other way round. */
	r.lo = max64(start, sat_sub(q->object_end, q->reach));
	r.hi = min64(end - size, sat_sub(sat_add(q->object_start, q->reach), size));
	r.lo = sat_add(r.lo, q->page - 1) & ~(q->page - 1);
	r.hi &= ~(q->page - 1);
	return r.lo && r.lo <= r.hi ? r : none;
}

uint64_t klp_near_find(const struct klp_gap_query *q)
{
	uint64_t size, brk, clear, below = 0, above = 0, at = 0;

	if (!q->page || (q->page & (q->page - 1)) || !q->size || q->object_end <= q->object_start || q->size > q->reach)
		return 0;
	size = (q->size + q->page - 1) & ~(q->page - 1);
	brk = sat_add(max64(q->brk_start, q->brk_end), q->page - 1) & ~(q->page - 1);
	clear = sat_add(brk, q->object_start < LOW_OBJECT ? BRK_CLEAR_LOW : BRK_CLEAR);

	for (size_t i = 0; i <= q->count; i++) {
		uint64_t end = i < q->count ? q->map[i].start : q->max_addr;

		if (end > at) {
			uint64_t free_end = i < q->count && q->map[i].grows_down ? sat_sub(end, q->stack_guard) : end;
			struct range low, high = {1, 0};

			if (brk && at <= brk && end > brk) {
				/* The gap that the heap grows through, up to the next mapping. */
				low = fit(q, size, at, min64(free_end, min64(q->brk_start ? q->brk_start : brk, brk)));
				if (clear < free_end)
					high = fit(q, size, clear, free_end);
			} else if (brk && at > brk && q->object_start < LOW_OBJECT) {
				low = fit(q, size, max64(at, clear), free_end);
			} else {
				low = fit(q, size, at, free_end);
			}
			if (end <= q->object_start) {
				if (high.lo <= high.hi)
					below = high.hi; /* the last one is the highest */
				else if (low.lo <= low.hi)
					below = low.hi;
			} else if (at >= q->object_end && !above) {
				if (low.lo <= low.hi)
					above = low.lo;
				else if (high.lo <= high.hi)
					above = high.lo;
			}
		}
		if (i < q->count)
			at = max64(at, q->map[i].end);
	}
	return below ? below : above;
}
