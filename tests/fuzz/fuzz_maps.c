/* SPDX-License-Identifier: Apache-2.0 */
/* A listing of mappings: in the end it is sorted, without overlap, and every look-up agrees with it. */
#include <stdio.h>
#include <stdlib.h>

#include "klp/maps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FILE *f = size ? fmemopen((void *)(uintptr_t)data, size, "r") : NULL;
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_process p = {.pid = 1};
	int rc;

	if (!f)
		return 0;
	rc = klp_maps_parse(&p, f, &e);
	fclose(f);
	if (rc && !e.text[0])
		abort();
	for (size_t i = 0; i < p.map_count; i++) {
		const struct klp_mapping *m = &p.map[i];

		if (m->start >= m->end || (i && m[-1].end > m->start) || !m->path)
			abort();
		if (klp_process_mapping(&p, m->start) != m || klp_process_mapping(&p, m->end - 1) != m ||
		    klp_process_mapping(&p, m->end) == m)
			abort();
	}
	klp_maps_free(&p);
	return 0;
}
