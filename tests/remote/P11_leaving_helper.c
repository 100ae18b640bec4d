/* SPDX-License-Identifier: Apache-2.0 */
/*
 * P11: a helper that has executed "leave" before the engine looks whether it is still there gets no successor: nobody
 * would tell that one to leave. The engine's store of a request is delayed behind the store.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common.h"
#include "klp/runtime/rt.h"

#define CYCLES 20u
#define LATE_NS 5000000 /* the helper looks each millisecond */

static uint64_t request_at;

int __wrap_klp_process_write(const struct klp_process *p, uint64_t addr, const void *buf, size_t len,
			     struct klp_error *e);
int __real_klp_process_write(const struct klp_process *p, uint64_t addr, const void *buf, size_t len,
			     struct klp_error *e);

int __wrap_klp_process_write(const struct klp_process *p, uint64_t addr, const void *buf, size_t len,
			     struct klp_error *e)
{
	int rc = __real_klp_process_write(p, addr, buf, len, e);

	if (!rc && addr == request_at) {
		struct timespec t = {0, LATE_NS};

		nanosleep(&t, NULL);
	}
	return rc;
}

int main(void)
{
	pid_t target = fork_bound();

	if (!target)
		for (;;)
			pause();
	sleep_ms(30);
	for (unsigned i = 0; i < CYCLES; i++) {
		struct klp_error e = KLP_ERROR_INIT;
		struct klp_process p;
		struct klp_remote r;
		int rc = cycle_start(target, 5000, &p, &r, &e);

		if (!rc) {
			request_at = r.cb + offsetof(struct klp_rt_cb, request);
			rc = klp_remote_ping(&r, &e);
			if (!rc)
				rc = klp_remote_stop(&r, &e);
			request_at = 0;
			check(thread_count(target) == 1, "cycle %u: %u threads are left", i, thread_count(target));
			if (!rc)
				rc = klp_remote_remove(&r, 5000, &e);
			klp_process_close(&p);
		}
		check(!rc, "cycle %u: %s %s", i, klp_reason_name(e.reason), e.text);
		if (rc)
			break;
	}
	finish(target);
	return check_end();
}
