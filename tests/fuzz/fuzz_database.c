/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A compilation database of arbitrary bytes is read; an input that does not begin with '[' is the "command" of an entry
 * alone. What is taken has words and absolute paths. For libFuzzer.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "compdb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_words(const uint8_t *data, size_t size)
{
	char *text = kb_alloc(size + 1);
	const char *why;
	json_t *words;

	memcpy(text, data, size);
	words = kb_compdb_words(text, &why);
	if (!words == !why || (words && !json_array_size(words)))
		abort();
	json_decref(words);
	free(text);
}

static void check(const json_t *unit)
{
	const json_t *argv = json_object_get(unit, "argv"), *word;
	size_t i;

	if (*json_string_value(json_object_get(unit, "source")) != '/' ||
	    *json_string_value(json_object_get(unit, "output")) != '/' || !json_array_size(argv))
		abort();
	json_array_foreach(argv, i, word) if (!json_is_string(word)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd;
	char *path;
	json_t *units, *unit;
	size_t i;

	if (!size || *data != '[') {
		fuzz_words(data, size);
		return 0;
	}
	fd = memfd_create("database", MFD_CLOEXEC);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	path = kb_format("/proc/self/fd/%d", fd);
	units = kb_compdb_read(path);
	json_array_foreach(units, i, unit) check(unit);
	json_decref(units);
	free(path);
	close(fd);
	return 0;
}
