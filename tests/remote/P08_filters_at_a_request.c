/* SPDX-License-Identifier: Apache-2.0 */
/*
 * P08, A4: a seccomp filter for all threads comes between the look at the helper's filters and its escort, or between
 * that and the request. The engine is held up there until the target has it. Nobody is killed; the request that was
 * posted is executed, and the next one is refused.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"
#include "klp/runtime/rt.h"

#define SUSPEND_SECCOMP (1l << 21) /* PTRACE_O_SUSPEND_SECCOMP */

static atomic_int *there;
static int call, asks[2];
static uint64_t request_at; /* where the filter comes at the post */
static bool at_seize;

long __real_ptrace(int request, ...);
long __wrap_ptrace(int request, ...);
int __wrap_klp_process_write(const struct klp_process *p, uint64_t addr, const void *buf, size_t len,
			     struct klp_error *e);
int __real_klp_process_write(const struct klp_process *p, uint64_t addr, const void *buf, size_t len,
			     struct klp_error *e);

static void filter_comes(void)
{
	uint64_t until = now_ns() + 10000000000ull;

	at_seize = false;
	request_at = 0;
	if (write(asks[1], &call, sizeof(call)) != sizeof(call))
		return;
	while (!atomic_load(there) && now_ns() < until)
		sleep_ms(1);
}

long __wrap_ptrace(int request, ...)
{
	va_list ap;
	pid_t pid;
	void *addr, *data;

	va_start(ap, request);
	pid = va_arg(ap, pid_t);
	addr = va_arg(ap, void *);
	data = va_arg(ap, void *);
	va_end(ap);
	if (request == PTRACE_SEIZE && at_seize)
		filter_comes();
	return __real_ptrace(request, pid, addr, data);
}

int __wrap_klp_process_write(const struct klp_process *p, uint64_t addr, const void *buf, size_t len,
			     struct klp_error *e)
{
	if (request_at && addr == request_at)
		filter_comes();
	return __real_klp_process_write(p, addr, buf, len, e);
}

static void filter(int nr)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);

	if (!ctx || seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1) ||
	    seccomp_rule_add(ctx, SCMP_ACT_KILL_PROCESS, nr, 0) || seccomp_load(ctx))
		_exit(8);
	seccomp_release(ctx);
}

static _Noreturn void program(bool confined)
{
	int nr;

	if (confined)
		filter(SYS_ptrace);

	while (read(asks[0], &nr, sizeof(nr)) == sizeof(nr)) {
		filter(nr);
		atomic_store(there, 1);
	}
	_exit(0);
}

static bool may_suspend(void)
{
	pid_t pid = fork_bound();
	bool may;

	if (!pid)
		for (;;)
			pause();
	may = !__real_ptrace(PTRACE_SEIZE, pid, NULL, (void *)SUSPEND_SECCOMP);
	finish(pid);
	return may;
}

static void comes(const char *name, int nr, bool before, bool confined)
{
	struct klp_error e = KLP_ERROR_INIT;
	uint64_t until = now_ns() + 5000000000ull;
	struct klp_process p;
	struct klp_remote r;
	int rc, status = 0;
	pid_t target;

	call = nr;
	atomic_store(there, 0);
	target = fork_bound();
	if (!target)
		program(confined);
	sleep_ms(30);
	rc = cycle_start(target, 5000, &p, &r, &e);
	check(!rc, "%s: %s %s", name, klp_reason_name(e.reason), e.text);
	if (rc) {
		finish(target);
		return;
	}
	rc = klp_remote_ping(&r, &e);
	check(!rc, "%s: before the filter: %s", name, e.text);
	at_seize = before;
	request_at = before ? 0 : r.cb + offsetof(struct klp_rt_cb, request);
	e = (struct klp_error)KLP_ERROR_INIT;
	rc = klp_remote_sync(&r, &e);
	check(atomic_load(there), "%s: the filter did not come", name);
	check(before ? e.reason == KLP_SECCOMP : !rc, "%s: the request: %s %s", name, klp_reason_name(e.reason),
	      e.text);
	if (!before) {
		e = (struct klp_error)KLP_ERROR_INIT;
		klp_remote_sync(&r, &e);
		check(e.reason == KLP_SECCOMP, "%s: behind the filter: %s %s", name, klp_reason_name(e.reason), e.text);
	}
	while (thread_count(target) > 1 && now_ns() < until)
		sleep_ms(1);
	check(thread_count(target) == 1, "%s: the helper is there", name);
	klp_process_close(&p);
	sleep_ms(50); /* it may be ending */
	check(!waitpid(target, &status, WNOHANG), "%s: the target ended with status %x", name, (unsigned)status);
	finish(target);
}

int main(void)
{
	static const struct {
		const char *name;
		int nr;
	} calls[] = {{"rt_sigtimedwait", SYS_rt_sigtimedwait}, {"membarrier", SYS_membarrier}, {"munmap", SYS_munmap}};
	char name[64];

	if (!may_suspend()) {
		puts("SKIPPED: a filter that comes in the middle of a request is kept off with CAP_SYS_ADMIN only");
		return TEST_SKIPPED;
	}
	there = shared(sizeof(*there));
	if (pipe(asks))
		return 1;
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		for (int before = 0; before < 2; before++) {
			snprintf(name, sizeof(name), "%s at the %s", calls[i].name, before ? "escort" : "request");
			comes(name, calls[i].nr, before, false);
		}
	/* Its filters are not suspended: it had one. */
	comes("another filter at the escort", SYS_rt_sigtimedwait, true, true);
	return check_end();
}
