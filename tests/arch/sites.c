/* SPDX-License-Identifier: Apache-2.0 */
#include "sites.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "patchsite/patchsite.h"

uint64_t wide_random(void)
{
	return (uint64_t)random() << 42 ^ (uint64_t)random() << 21 ^ (uint64_t)random();
}

uint64_t within(unsigned i, uint64_t reach, uint64_t step)
{
	return i == 0 ? -reach : i == 1 ? reach - step : (wide_random() % (2 * reach / step)) * step - reach;
}

static int check_file(const char *path, const char *want)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_site_list l;
	unsigned seen = 0, other = 0;

	if (klp_site_list_file(path, &l, &e)) {
		dprintf(2, "%s\n", e.text);
		return 1;
	}
	for (size_t i = 0; i < l.count; i++) {
		const char *got = l.entry[i].reason ? klp_reason_name(l.entry[i].reason)
						    : klp_site_layout_name(l.entry[i].site.layout);

		if (strncmp(l.entry[i].name, "victim_", 7))
			continue;
		seen++;
		if (strcmp(got, want)) {
			dprintf(2, "%s: %s: found %s, wanted %s\n", path, l.entry[i].name, got, want);
			other++;
		}
	}
	printf("%s: %u functions %s\n", path, seen - other, want);
	klp_site_list_free(&l);
	return seen < 10 || other;
}

int sites_main(const char *suite, TCase *tc, int argc, char **argv)
{
	Suite *s;
	SRunner *sr;
	int failed;

	if (argc == 3)
		return check_file(argv[1], argv[2]);
	s = suite_create(suite);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
