/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind-flow.h"

void kb_flow_forget(struct kb_frame_state *s, uint32_t mask)
{
	s->known &= ~mask;
}

void kb_flow_set(struct kb_frame_state *s, int to, int from, int64_t by)
{
	uint32_t bit = 1u << to;

	/* Numbers beyond these are no frame. */
	if (from < 0 || !(s->known >> from & 1) || by < INT32_MIN || by > INT32_MAX || s->off[from] > INT32_MAX ||
	    s->off[from] < INT32_MIN) {
		kb_flow_forget(s, bit);
		return;
	}
	s->off[to] = s->off[from] + by;
	s->known |= bit;
}
