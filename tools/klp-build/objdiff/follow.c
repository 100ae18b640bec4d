/* SPDX-License-Identifier: Apache-2.0 */
#include "follow.h"

#include <stdlib.h>

#include "object.h"

bool od_follow(const struct od_sec *s, uint64_t from, uint32_t taint, unsigned unit, od_step_fn step, void *ctx)
{
	size_t units = (size_t)(s->size / unit), todo = 0;
	uint32_t *seen, *list;
	bool good, *queued;

	if (units > OD_FOLLOW_MAX || from % unit || from / unit >= units || !taint)
		return false;
	seen = calloc(units, sizeof(*seen));
	list = calloc(units, sizeof(*list));
	queued = calloc(units, sizeof(*queued));
	good = seen && list && queued;
	if (good) {
		list[todo++] = (uint32_t)(from / unit);
		seen[from / unit] = taint;
		queued[from / unit] = true;
	}
	while (good && todo) {
		uint64_t next[2], at = list[--todo];
		struct od_step t = {.taint = seen[at], .len = unit};
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
			good = next[i] < units;
			if (!good || (seen[next[i]] | t.taint) == seen[next[i]])
				continue;
			seen[next[i]] |= t.taint;
			if (!queued[next[i]])
				list[todo++] = (uint32_t)next[i];
			queued[next[i]] = true;
		}
	}
	free(seen);
	free(list);
	free(queued);
	return good;
}
