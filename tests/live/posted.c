/* SPDX-License-Identifier: Apache-2.0 */
/*
 * posted PID FILE: loads the patch as a tool does that is killed between posting the request that begins the transition
 * and the helper's looking at it: nobody has executed it when this process kills itself. klp_remote_run is replaced for
 * that.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "klp/core.h"
#include "load_file.h"

int __real_klp_remote_run(struct klp_remote *r, struct klp_rt_op *ops, size_t count, struct klp_error *e);
int __wrap_klp_remote_run(struct klp_remote *r, struct klp_rt_op *ops, size_t count, struct klp_error *e);

static bool begins_transition(const struct klp_remote *r, const struct klp_rt_op *ops, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (ops[i].code == KLP_OP_STORE && ops[i].a[0] == klp_cb_at(r, offsetof(struct klp_rt_cb, transition)))
			return true;
	return false;
}

/* As klp_remote_run does, with the helper gone. */
static int post(struct klp_remote *r, struct klp_rt_op *ops, size_t count, struct klp_error *e)
{
	uint32_t n = (uint32_t)count;
	uint8_t request = 0;
	int rc = klp_remote_stop(r, e);

	if (!rc)
		rc = klp_process_read(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, request)), &request, 1, e);
	request++;
	if (!rc)
		rc = klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, ops)), ops, count * sizeof(*ops),
				       e);
	if (!rc)
		rc = klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, op_count)), &n, sizeof(n), e);
	if (!rc)
		rc = klp_process_write(r->p, klp_cb_at(r, offsetof(struct klp_rt_cb, request)), &request, 1, e);
	return rc;
}

int __wrap_klp_remote_run(struct klp_remote *r, struct klp_rt_op *ops, size_t count, struct klp_error *e)
{
	int rc;

	if (!begins_transition(r, ops, count))
		return __real_klp_remote_run(r, ops, count, e);
	rc = post(r, ops, count, e);
	if (rc) {
		fprintf(stderr, "posting: %s\n", e->text);
		exit(1);
	}
	raise(SIGKILL);
	return 0;
}

int main(int argc, char **argv)
{
	struct klp_error e = KLP_ERROR_INIT;
	json_t *result = NULL;
	int rc;

	if (argc != 3)
		return 2;
	rc = load_file(argv[1], argv[2], NULL, &result, &e);
	fprintf(stderr, "the load ended: %d %s\n", rc, e.text);
	return 1;
}
