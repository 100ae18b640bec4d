/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/wake.h"

#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "klp/clock.h"

#define KLP_STOP_NS 1000000000ull /* a frozen process does not stop */
#define KLP_WAKE_NS 50000000ull
#define KLP_POLL_NS 5000ull

static bool klp_wake_interrupt(pid_t helper, uint64_t wait_ns)
{
	uint64_t until = klp_clock_now() + wait_ns;
	int status;
	pid_t rc = -1;

	if (!ptrace(PTRACE_INTERRUPT, helper, NULL, NULL))
		while (!(rc = waitpid(helper, &status, __WALL | WNOHANG)) && klp_clock_now() < until)
			klp_clock_pause(KLP_POLL_NS);
	return rc == helper && WIFSTOPPED(status);
}

int klp_wake_stop(pid_t helper, struct klp_error *e)
{
	if (ptrace(PTRACE_SEIZE, helper, NULL, NULL))
		return klp_fail(e, errno, KLP_PERMISSION, "the helper (thread %d) cannot be seized: %s", helper,
				strerror(errno));
	return klp_wake_interrupt(helper, KLP_STOP_NS)
		   ? 0
		   : klp_fail(e, EBUSY, KLP_HELPER, "the helper (thread %d) does not stop", helper);
}

int klp_wake_seize(struct klp_remote *r)
{
	if (!r->helper_seized && ptrace(PTRACE_SEIZE, r->helper, NULL, NULL))
		return -errno;
	r->helper_seized = true;
	return 0;
}

void klp_wake_release(struct klp_remote *r)
{
	/* One that cannot stop now, for its process is frozen, is let go the next time, or by the end of this thread.
	 */
	if (r->helper_seized && klp_wake_interrupt(r->helper, KLP_WAKE_NS)) {
		ptrace(PTRACE_DETACH, r->helper, NULL, NULL);
		r->helper_seized = false;
	}
}

void klp_wake(struct klp_remote *r)
{
	if (r->helper && !klp_wake_seize(r))
		klp_wake_release(r);
}
