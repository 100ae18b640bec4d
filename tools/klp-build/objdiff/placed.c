/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/klp-build/objdiff/placed.h"

void od_placed_cut(struct od_placed *p, uint64_t off, uint64_t len)
{
	const struct od_cut *last = p->count ? &p->cut[p->count - 1] : NULL;

	p->cut = od_room(p->pool, p->cut, p->count, &p->room, sizeof(*p->cut));
	p->cut[p->count++] = (struct od_cut){off, len, last ? last->before + last->len : 0};
}

/* The last one that begins at the offset or before it; NULL none. */
static const struct od_cut *cut_before(const struct od_placed *p, uint64_t off)
{
	size_t low = 0, high = p->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (p->cut[mid].off <= off)
			low = mid + 1;
		else
			high = mid;
	}
	return low ? &p->cut[low - 1] : NULL;
}

bool od_placed_at(const struct od_placed *p, uint64_t off, uint64_t *addr)
{
	const struct od_cut *c = cut_before(p, off);
	uint64_t gone = 0;

	if (p->why || (p->count && (off < p->from || off - p->from > p->size)))
		return false;
	if (c)
		gone = c->before + (off - c->off < c->len ? off - c->off : c->len);
	*addr = p->addr + (off - p->from) - gone;
	return true;
}

bool od_placed_gone(const struct od_placed *p, uint64_t off)
{
	const struct od_cut *c = cut_before(p, off);

	return c && off - c->off < c->len;
}
