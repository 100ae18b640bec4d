/* SPDX-License-Identifier: Apache-2.0 */
/* Debug information of arbitrary bytes: the types of an object, and who compiled its units. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tools/klp-build/klp-build.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void no_difference(void *ctx, const char *type, const char *reason)
{
	(void)ctx;
	(void)type;
	(void)reason;
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *layouts, *producers, *unit;
	static int fd = -1;
	char path[64];
	size_t i;

	if (fd < 0)
		fd = memfd_create("dwarf", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	layouts = kb_layouts(path);
	if (layouts)
		kb_layout_differences(layouts, layouts, no_difference, NULL);
	json_decref(layouts);
	producers = kb_producers(path);
	json_array_foreach(producers, i, unit)
	{
		const char *text = json_string_value(json_object_get(unit, "producer"));
		struct kb_compiler c;

		if (text) {
			kb_parse_compiler(text, &c);
			kb_producer_ipa_ra(text);
		}
	}
	kb_producer_find(producers, "main.c");
	json_decref(producers);
	return 0;
}
