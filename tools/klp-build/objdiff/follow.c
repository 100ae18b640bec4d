/* SPDX-License-Identifier: Apache-2.0 */
#include "follow.h"

#include <stdlib.h>

#include "object.h"

bool od_follow(const struct od_sec *s, uint64_t from, uint32_t taint, unsigned unit, od_step_fn step, void *ctx)
{
	size_t units = (size_t)(s->size / unit), todo = 0;
	uint32_t *seen, *exact, *list;
	bool good, *queued;

	if (units > OD_FOLLOW_MAX || from % unit || from / unit >= units || !taint)
		return false;
	seen = calloc(units, sizeof(*seen));
	exact = calloc(units, sizeof(*exact));
	list = calloc(units, sizeof(*list));
	queued = calloc(units, sizeof(*queued));
	good = seen && exact && list && queued;
	if (good) {
		list[todo++] = (uint32_t)(from / unit);
		seen[from / unit] = exact[from / unit] = taint;
		queued[from / unit] = true;
	}
	while (good && todo) {
		uint64_t next[2], at = list[--todo];
		struct od_step t = {.taint = seen[at], .exact = exact[at], .len = unit};
		unsigned count = 0;

		queued[at] = false;
		good = step(s, at * unit, seen, ctx, &t) && !t.escapes;
		if (!t.taint)
			continue;
		if (!t.ends)
			next[count++] = at + t.len / unit;
		if (t.jumps)
			next[count++] = t.target / unit;
		for (unsigned i = 0; good && i < count; i++) {
			uint32_t may, sure;

			good = next[i] < units;
			if (!good)
				continue;
			may = seen[next[i]] | t.taint;
			sure = t.exact & t.taint & (seen[next[i]] ? exact[next[i]] : UINT32_MAX);
			if (may == seen[next[i]] && sure == exact[next[i]])
				continue;
			seen[next[i]] = may;
			exact[next[i]] = sure;
			if (!queued[next[i]])
				list[todo++] = (uint32_t)next[i];
			queued[next[i]] = true;
		}
	}
	free(seen);
	free(exact);
	free(list);
	free(queued);
	return good;
}
