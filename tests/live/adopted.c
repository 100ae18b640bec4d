/* SPDX-License-Identifier: Apache-2.0 */
/*
 * adopted PID FILE IN OUT MOMENT: loads the patch into a fork's child whose parent's transition is in flight
 * (forking.sh), and asks its thread by the pipe IN to call patched functions, in a moment of the takeover. Prints what
 * it says through OUT. Two functions of the engine are replaced for that.
 *
 * helper: the child is inside; its control block has been taken over, and its thread has no entry of its own.
 * entry: the child is outside and enters now, when the tool knows which universe the entry is to have, before it is
 *        stored; and is asked once more behind that.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "klp/core.h"
#include "klp/helper.h"
#include "load_file.h"

static const char *in, *out, *moment;
static bool asked;

int __real_klp_helper_start(struct klp_remote *r, unsigned wait_ms, struct klp_error *e);
int __wrap_klp_helper_start(struct klp_remote *r, unsigned wait_ms, struct klp_error *e);
int __real_klp_remote_run(struct klp_remote *r, struct klp_rt_op *ops, size_t count, struct klp_error *e);
int __wrap_klp_remote_run(struct klp_remote *r, struct klp_rt_op *ops, size_t count, struct klp_error *e);

static void ask(const char *questions)
{
	char answer[16] = "";
	int to = open(in, O_WRONLY), from = open(out, O_RDONLY);
	ssize_t n = (ssize_t)strlen(questions);

	if (to < 0 || from < 0 || write(to, questions, (size_t)n) != n || read(from, answer, sizeof(answer) - 1) <= 0)
		exit(2);
	close(to);
	close(from);
	fputs(answer, stdout);
	asked = true;
}

int __wrap_klp_helper_start(struct klp_remote *r, unsigned wait_ms, struct klp_error *e)
{
	if (!strcmp(moment, "helper"))
		ask("i");
	return __real_klp_helper_start(r, wait_ms, e);
}

int __wrap_klp_remote_run(struct klp_remote *r, struct klp_rt_op *ops, size_t count, struct klp_error *e)
{
	bool entry = !asked && !strcmp(moment, "entry") && count && ops[0].code == KLP_OP_INSERT;
	int rc;

	if (entry)
		ask("oi");
	rc = __real_klp_remote_run(r, ops, count, e);
	if (entry)
		ask("i");
	return rc;
}

int main(int argc, char **argv)
{
	const struct klp_options o = {.timeout_ms = 500};
	struct klp_error e = KLP_ERROR_INIT;
	json_t *result = NULL;
	int rc;

	if (argc != 6)
		return 2;
	in = argv[3];
	out = argv[4];
	moment = argv[5];
	rc = load_file(argv[1], argv[2], &o, &result, &e);
	json_decref(result);
	fprintf(stderr, "the load ended: %d %s\n", rc, e.text);
	return !asked;
}
