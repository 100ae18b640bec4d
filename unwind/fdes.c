/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "unwind/image.h"
#include "unwind/internal.h"

int klp_unw_list_fdes(const void *eh_frame, size_t len, uint64_t addr, uint64_t text_start, uint64_t text_end,
		      struct klp_unw_function **list, size_t *count, struct klp_error *e)
{
	struct klp_unw_image im = {.text_start = text_start,
				   .text_end = text_end,
				   .eh_frame = (uint8_t *)(uintptr_t)eh_frame,
				   .eh_frame_len = len,
				   .eh_frame_addr = addr};
	int rc = klp_unw_build_index(&im, NULL, 0, e);

	*list = NULL;
	*count = 0;
	if (!rc && im.fde_count) {
		*list = calloc(im.fde_count, sizeof(**list));
		if (!*list)
			rc = klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for a list of unwind tables");
	}
	for (size_t i = 0; i < im.fde_count && !rc; i++)
		if (!im.fde[i].overlaps)
			(*list)[(*count)++] =
			    (struct klp_unw_function){im.fde[i].start, im.fde[i].end, addr + im.fde[i].offset};
	free(im.fde);
	return rc;
}
