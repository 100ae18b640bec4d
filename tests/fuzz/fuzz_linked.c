/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A linked file (or any other) of arbitrary bytes, through all of klp-build's readers of it but the debug information:
 * segments, symbols and what the link left open; patch sites; notes; the compiler's comment; unwind tables with
 * the code that they describe; an archive.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "patchsite/patchsite.h"
#include "tools/klp-build/klp-build.h"
#include "tools/klp-build/objdiff/linked.h"
#include "tools/klp-build/unwind-check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask_linked(const char *path, bool debug)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct od_pool pool = {0};
	struct lk l;

	if (lk_load(&pool, path, debug, &l, &e)) {
		if (!e.text[0])
			abort();
		od_pool_free(&pool);
		return;
	}
	for (size_t i = 0; i < l.sym_count && i < 256; i++) {
		const struct lk_sym *y = &l.sym[i];

		lk_bytes(&l, y->value, y->size);
		lk_sec_at(&l, y->value);
		lk_at(&l, y->value, y->name);
		lk_plt_slot(&l, y->value);
		lk_rel_at(&l, y->value);
		lk_recorded(&l, y->value);
		lk_sympos(&l, y);
		if (y->name) {
			lk_global(&l, y->name);
			lk_local(&l, y->name, y->group);
			lk_dynamic(&l, y->name);
		}
	}
	lk_find_string(&l, "answer", sizeof("answer"), 8);
	od_pool_free(&pool);
}

static void count_member(void *ctx, const char *name, const void *data, size_t size)
{
	char hex[KB_SHA];

	if (!name)
		abort();
	kb_digest(data, size, hex);
	(*(size_t *)ctx)++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct klp_error e = KLP_ERROR_INIT;
	char path[64], hex[130], link[256];
	struct klp_site_list sites;
	static int fd = -1;
	size_t members = 0;

	if (fd < 0)
		fd = memfd_create("linked", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ask_linked(path, false);
	ask_linked(path, true);
	if (!klp_site_list_file(path, &sites, &e))
		klp_site_list_free(&sites);
	kb_build_id(path, hex, link);
	free(kb_object_comment(path));
	kb_file_kind(path);
	kb_same_program(path, path);
	kb_check_unwind(path);
	kb_archive_each(path, count_member, &members);
	return 0;
}
