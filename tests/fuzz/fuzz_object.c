/* SPDX-License-Identifier: Apache-2.0 */
/* An object file of arbitrary bytes, compared with itself and with a good one of its machine ($KLP_FUZZ_OBJECT,
 * $KLP_FUZZ_OBJECT_RISCV64) in both directions. */
#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tools/klp-build/objdiff/objdiff.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compare(const char *a, const char *b)
{
	struct klp_error e = KLP_ERROR_INIT;
	json_t *report = NULL;
	int rc = klp_objdiff_compare(a, b, &report, &e);

	/* A failure is explained. */
	if (rc == KLP_OBJDIFF_FAILED && !e.text[0])
		abort();
	json_decref(report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *other, *riscv64;
	const char *good;
	static int fd = -1;
	char path[64];

	if (fd < 0) {
		fd = memfd_create("object", MFD_CLOEXEC);
		other = getenv("KLP_FUZZ_OBJECT");
		riscv64 = getenv("KLP_FUZZ_OBJECT_RISCV64");
	}
	if (fd < 0 || ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	compare(path, path);
	good = size > offsetof(Elf64_Ehdr, e_machine) && data[offsetof(Elf64_Ehdr, e_machine)] == EM_RISCV ? riscv64
													   : other;
	if (good) {
		compare(good, path);
		compare(path, good);
	}
	return 0;
}
