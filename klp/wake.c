/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/wake.h"

#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "klp/clock.h"
#include "klp/escort.h"

#define KLP_STOP_NS 1000000000ull /* a frozen process does not stop */
#define KLP_POLL_NS 5000ull

int klp_wake_stop(pid_t helper, struct klp_error *e)
{
	uint64_t until = klp_clock_now() + KLP_STOP_NS;
	pid_t rc = -1;
	int status;

	if (ptrace(PTRACE_SEIZE, helper, NULL, NULL))
		return klp_fail(e, errno, KLP_PERMISSION, "the helper (thread %d) cannot be seized: %s", helper,
				strerror(errno));
	if (!ptrace(PTRACE_INTERRUPT, helper, NULL, NULL))
		while (!(rc = waitpid(helper, &status, __WALL | WNOHANG)) && klp_clock_now() < until)
			klp_clock_pause(KLP_POLL_NS);
	return rc == helper && WIFSTOPPED(status)
		   ? 0
		   : klp_fail(e, EBUSY, KLP_HELPER, "the helper (thread %d) does not stop", helper);
}

void klp_wake(struct klp_remote *r)
{
	if (!klp_escort_seize(r))
		klp_escort_interrupt(r);
}
