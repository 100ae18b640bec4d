/* SPDX-License-Identifier: Apache-2.0 */
/*
 * late PID PATCH: ends the patch's transition by force, as klpctl does. What a killed tool has posted is executed at
 * the moment when the command asks whether something is: klp_remote_owed is replaced for that.
 */
#include <stdio.h>
#include <stdlib.h>

#include "klp/core.h"
#include "klp/include/klp/klp.h"

#define WAIT_MS 5000u

int __real_klp_remote_owed(struct klp_remote *r, struct klp_error *e);
int __wrap_klp_remote_owed(struct klp_remote *r, struct klp_error *e);

int __wrap_klp_remote_owed(struct klp_remote *r, struct klp_error *e)
{
	int rc = klp_remote_start(r, WAIT_MS, e);

	if (!rc)
		rc = klp_remote_ping(r, e);
	return rc ? rc : __real_klp_remote_owed(r, e);
}

int main(int argc, char **argv)
{
	struct klp_error e = KLP_ERROR_INIT;
	json_t *result = NULL;
	int rc;

	if (argc != 3)
		return 2;
	rc = klp_force((pid_t)atoi(argv[1]), argv[2], NULL, &result, &e);
	json_decref(result);
	if (rc)
		fprintf(stderr, "%s: %s\n", klp_reason_name(e.reason), e.text);
	return rc != 0;
}
