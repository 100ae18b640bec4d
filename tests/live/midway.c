/* SPDX-License-Identifier: Apache-2.0 */
/*
 * midway load PID FILE WRITE READ: loads the patch; when the slot of the process's unwinder has been read and is about
 * to be stored to, asks the target `w` by the two descriptors and waits for its answer, which must be 1.
 * midway unload PID NAME WRITE READ: unloads the patch; when nothing of it is left but klp's runtime, and the slots of
 * the process's unwinder are about to be given back, asks the target `w` by the two descriptors and waits for its
 * answer, which must be 1. Prints the result. Two functions of the engine are replaced for that.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "klp/unwinder.h"
#include "klp/unwinding.h"
#include "load_file.h"

static int to, from;
static bool asked;

int __real_klp_unwinding_unhook(struct klp_session *s, bool *any, struct klp_error *e);
int __wrap_klp_unwinding_unhook(struct klp_session *s, bool *any, struct klp_error *e);

int __real_klp_unwinder_read(struct klp_scope *scope, struct klp_dso *d, struct klp_unwinder *u, struct klp_error *e);
int __wrap_klp_unwinder_read(struct klp_scope *scope, struct klp_dso *d, struct klp_unwinder *u, struct klp_error *e);

static void ask(void)
{
	char answer[16] = "";

	if (!asked && (write(to, "w\n", 2) != 2 || read(from, answer, sizeof(answer) - 1) <= 0 || answer[0] != '1')) {
		fprintf(stderr, "the target answers '%s'\n", answer);
		exit(1);
	}
	asked = true;
}

int __wrap_klp_unwinding_unhook(struct klp_session *s, bool *any, struct klp_error *e)
{
	ask();
	return __real_klp_unwinding_unhook(s, any, e);
}

int __wrap_klp_unwinder_read(struct klp_scope *scope, struct klp_dso *d, struct klp_unwinder *u, struct klp_error *e)
{
	int rc = __real_klp_unwinder_read(scope, d, u, e);

	if (!rc && u->slot)
		ask();
	return rc;
}

int main(int argc, char **argv)
{
	struct klp_error e = KLP_ERROR_INIT;
	json_t *result = NULL;
	int rc;

	if (argc != 6) {
		fprintf(stderr, "usage: %s load|unload PID NAME WRITE READ\n", argv[0]);
		return 2;
	}
	to = atoi(argv[4]);
	from = atoi(argv[5]);
	if (!strcmp(argv[1], "unload"))
		rc = klp_unload((pid_t)atoi(argv[2]), argv[3], NULL, &result, &e);
	else
		rc = load_file(argv[2], argv[3], NULL, &result, &e);
	if (rc)
		fprintf(stderr, "%s\n", e.text);
	print_result(result);
	return rc || !asked;
}
