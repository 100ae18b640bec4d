/* SPDX-License-Identifier: Apache-2.0 */
/*
 * adopted PID FILE IN OUT: loads the patch into a fork's child whose parent's transition is in flight. When its control
 * block has been taken over, and before its thread has an entry of its own, that thread is asked by the pipe IN to call
 * a patched function. Prints what it says through OUT. klp_helper_start is replaced for that.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "klp/helper.h"
#include "load_file.h"

static const char *in, *out;
static bool asked;

int __real_klp_helper_start(struct klp_remote *r, unsigned wait_ms, struct klp_error *e);
int __wrap_klp_helper_start(struct klp_remote *r, unsigned wait_ms, struct klp_error *e);

int __wrap_klp_helper_start(struct klp_remote *r, unsigned wait_ms, struct klp_error *e)
{
	char answer[16] = "";
	int to = open(in, O_WRONLY), from = open(out, O_RDONLY);

	if (to < 0 || from < 0 || write(to, "i", 1) != 1 || read(from, answer, sizeof(answer) - 1) <= 0)
		exit(2);
	close(to);
	close(from);
	fputs(answer, stdout);
	asked = true;
	return __real_klp_helper_start(r, wait_ms, e);
}

int main(int argc, char **argv)
{
	const struct klp_options o = {.timeout_ms = 500};
	struct klp_error e = KLP_ERROR_INIT;
	json_t *result = NULL;
	int rc;

	if (argc != 5)
		return 2;
	in = argv[3];
	out = argv[4];
	rc = load_file(argv[1], argv[2], &o, &result, &e);
	json_decref(result);
	fprintf(stderr, "the load ended: %d %s\n", rc, e.text);
	return !asked;
}
