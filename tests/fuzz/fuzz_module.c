/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A module of arbitrary bytes is read, measured and linked against the fuzzer's own process. For libFuzzer (clang
 * -fsanitize=fuzzer) and, through its driver, AFL. An input that begins with '{' is metadata alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "klp/include/klp/klp.h"
#include "klp/link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_meta(const uint8_t *data, size_t size)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_module m;

	if (klp_module_parse_meta((const char *)data, size, &m, &e))
		return;
	json_decref(klp_module_info(&m));
	klp_module_free(&m);
}

static void fuzz_link(const struct klp_process *self, const struct klp_module *m)
{
	const struct klp_object *o = klp_process_object_at(self, (uint64_t)(uintptr_t)fuzz_link);
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_linked l;
	uint64_t length;

	if (klp_module_check_unwind(m, self, &e) || klp_link_measure(m, 0, 4096, &length, &e) || !o)
		return;
	if (klp_link(m, 0, self, o, (o->start - (256u << 20)) & ~4095ull, NULL, &l, &e))
		return;
	if (l.size != length)
		abort();
	klp_linked_free(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct klp_process self;
	struct klp_error e = KLP_ERROR_INIT;
	static int fd = -1;
	struct klp_module m;
	char path[64];

	if (fd < 0) {
		fd = memfd_create("module", MFD_CLOEXEC);
		if (fd < 0 || klp_process_open(getpid(), &self, &e))
			abort();
	}
	if (size && data[0] == '{') {
		fuzz_meta(data, size);
		return 0;
	}
	if (ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (klp_module_read(path, &m, &e))
		return 0;
	fuzz_link(&self, &m);
	klp_module_free(&m);
	return 0;
}
