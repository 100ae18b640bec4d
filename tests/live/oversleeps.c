/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oversleeps PID MODULE: loads it as klpctl does, on a machine whose timers are late: each sleep of the engine between
 * two looks at the threads lasts OVERSLEPT_NS longer than it was to.
 */
#include <stdio.h>
#include <time.h>

#include "load_file.h"

#define OVERSLEPT_NS 5000000l /* longer than KLP_WATCH_GAP_NS of klp/borrow.c */

int __real_nanosleep(const struct timespec *t, struct timespec *left);
int __wrap_nanosleep(const struct timespec *t, struct timespec *left);

int __wrap_nanosleep(const struct timespec *t, struct timespec *left)
{
	const struct timespec more = {0, OVERSLEPT_NS};

	__real_nanosleep(&more, NULL);
	return __real_nanosleep(t, left);
}

int main(int argc, char **argv)
{
	const struct klp_options o = {.timeout_ms = 10000};
	struct klp_error e = KLP_ERROR_INIT;
	json_t *result = NULL;
	int rc;

	if (argc != 3)
		return 2;
	rc = load_file(argv[1], argv[2], &o, &result, &e);
	print_result(result);
	if (rc < 0)
		fprintf(stderr, "%s: %s\n", klp_reason_name(e.reason), e.text);
	return rc < 0;
}
