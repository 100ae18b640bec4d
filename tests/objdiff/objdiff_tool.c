/* SPDX-License-Identifier: Apache-2.0 */
/* klp_objdiff_run and klp_objdiff_compare as a command, for the test's script: prints the report, exits with the
 * result. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/klp-build/objdiff/objdiff.h"

#define MAX_UNITS 64

/* A unit is NAME=ORIGINAL=PATCHED; "-" where a tree does not have it. A NAME that ends in .S is assembly. */
static int parse_unit(char *arg, struct klp_unit *u)
{
	char *a = strchr(arg, '='), *b = a ? strchr(a + 1, '=') : NULL;

	if (!b)
		return -1;
	*a++ = *b++ = 0;
	*u = (struct klp_unit){arg, strcmp(a, "-") ? a : NULL, strcmp(b, "-") ? b : NULL,
			       strlen(arg) > 2 && !strcmp(arg + strlen(arg) - 2, ".S")};
	return 0;
}

int main(int argc, char **argv)
{
	struct klp_unit units[MAX_UNITS];
	struct klp_error e = KLP_ERROR_INIT;
	json_t *report = NULL;
	size_t n = 0;
	int rc;

	if (argc == 4 && !strcmp(argv[1], "compare")) {
		rc = klp_objdiff_compare(argv[2], argv[3], &report, &e);
	} else {
		if (argc < 7 || argc - 6 > MAX_UNITS) {
			fprintf(stderr, "usage: %s compare A.o B.o | ORIGINAL PATCHED RUNNING DEBUG|- OUTPUT UNIT...\n",
				argv[0]);
			return 2;
		}
		for (int i = 6; i < argc; i++)
			if (parse_unit(argv[i], &units[n++]))
				return 2;
		struct klp_objdiff_input in = {.units = units,
					       .unit_count = n,
					       .original_linked = argv[1],
					       .patched_linked = argv[2],
					       .running = argv[3],
					       .debug = strcmp(argv[4], "-") ? argv[4] : NULL,
					       .patch_name = "fix",
					       .output = argv[5]};
		rc = klp_objdiff_run(&in, &report, &e);
	}
	if (report)
		json_dumpf(report, stdout, JSON_INDENT(1));
	if (e.err)
		fprintf(stderr, "%s\n", e.text);
	json_decref(report);
	return rc;
}
