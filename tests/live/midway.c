/* SPDX-License-Identifier: Apache-2.0 */
/*
 * midway PID NAME WRITE READ: unloads the patch; when nothing of it is left but klp's runtime, and the slots of the
 * process's unwinder are about to be given back, asks the target `w` by the two descriptors and waits for its answer,
 * which must be 1. Prints the result. klp_unwinding_unhook is replaced for that.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "klp/include/klp/klp.h"
#include "klp/unwinding.h"

static int to, from;
static bool asked;

int __real_klp_unwinding_unhook(struct klp_session *s, bool *any, struct klp_error *e);
int __wrap_klp_unwinding_unhook(struct klp_session *s, bool *any, struct klp_error *e);

int __wrap_klp_unwinding_unhook(struct klp_session *s, bool *any, struct klp_error *e)
{
	char answer[16] = "";

	if (!asked && (write(to, "w\n", 2) != 2 || read(from, answer, sizeof(answer) - 1) <= 0 || answer[0] != '1')) {
		fprintf(stderr, "the target answers '%s'\n", answer);
		exit(1);
	}
	asked = true;
	return __real_klp_unwinding_unhook(s, any, e);
}

int main(int argc, char **argv)
{
	struct klp_error e = KLP_ERROR_INIT;
	json_t *result = NULL, *top = json_object(), *list = json_array();
	int rc;

	if (argc != 5) {
		fprintf(stderr, "usage: %s PID NAME WRITE READ\n", argv[0]);
		return 2;
	}
	to = atoi(argv[3]);
	from = atoi(argv[4]);
	rc = klp_unload((pid_t)atoi(argv[1]), argv[2], NULL, &result, &e);
	if (rc)
		fprintf(stderr, "%s\n", e.text);
	json_array_append_new(list, result);
	json_object_set_new(top, "processes", list);
	json_dumpf(top, stdout, JSON_INDENT(2));
	json_decref(top);
	return rc || !asked;
}
