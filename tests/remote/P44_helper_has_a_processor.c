/* SPDX-License-Identifier: Apache-2.0 */
/*
 * P44: on a machine whose processors are taken a request is not kept waiting, and the helper does not wait with the
 * address space locked: while it executes what takes microseconds it has real time. A patch author's own code has the
 * target's scheduling, and so has the helper behind each request. Where the target has real time that is kept.
 */
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"
#include "klp/runtime/rt.h"

static bool may_have_real_time(void)
{
	struct sched_param one = {.sched_priority = 1}, none = {0};
	bool may = !sched_setscheduler(0, SCHED_FIFO, &one);

	if (may)
		sched_setscheduler(0, SCHED_OTHER, &none);
	return may;
}

/* On the helper, which has no thread control block: nothing of the C library. */
__attribute__((noinline, no_stack_protector, no_sanitize("address", "undefined", "thread"))) static long
authors_code(void)
{
	long nr = SYS_sched_getscheduler, rc;

#if defined(__x86_64__)
	__asm__ volatile("syscall" : "=a"(rc) : "0"(nr), "D"(0l) : "rcx", "r11", "memory");
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = nr, x0 __asm__("x0") = 0;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8) : "memory");
	rc = x0;
#else
	register long a7 __asm__("a7") = nr, a0 __asm__("a0") = 0;

	__asm__ volatile("ecall" : "+r"(a0) : "r"(a7) : "memory");
	rc = a0;
#endif
	return rc;
}

/* The policy that the helper answers in a request of these operations. */
static long policy_in(struct klp_remote *r, unsigned code, unsigned beside)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_rt_op ops[2] = {{.code = code}, {.code = beside}};
	uint64_t arg = code == KLP_OP_CALL ? (uint64_t)(uintptr_t)authors_code : SYS_sched_getscheduler;
	int rc;

	ops[0].a[0] = arg;
	ops[1].a[0] = beside == KLP_OP_CALL ? (uint64_t)(uintptr_t)authors_code : SYS_gettid;
	rc = klp_remote_run(r, ops, 2, &e);
	check(!rc, "the request: %s", e.text);
	return ops[0].result & ~(long)SCHED_RESET_ON_FORK;
}

static void has(int policy, int priority, int nice_value)
{
	struct sched_param own = {.sched_priority = priority}, found;
	struct klp_error e = KLP_ERROR_INIT;
	bool real = policy == SCHED_FIFO || policy == SCHED_RR;
	struct klp_process p;
	struct klp_remote r;
	pid_t target = fork_bound();
	long said;
	int rc;

	if (!target) {
		if (sched_setscheduler(0, policy, &own) || setpriority(PRIO_PROCESS, 0, nice_value))
			_exit(8);
		for (;;)
			pause();
	}
	sleep_ms(30);
	rc = cycle_start(target, 5000, &p, &r, &e);
	check(!rc, "policy %d: %s %s", policy, klp_reason_name(e.reason), e.text);
	if (rc) {
		finish(target);
		return;
	}
	said = policy_in(&r, KLP_OP_SYSCALL, KLP_OP_SYSCALL);
	check(real ? said == policy : said == SCHED_FIFO, "policy %d: in a request it is %ld", policy, said);
	said = policy_in(&r, KLP_OP_CALL, KLP_OP_SYSCALL);
	check(said == policy, "policy %d: in the author's code it is %ld", policy, said);
	said = policy_in(&r, KLP_OP_SYSCALL, KLP_OP_CALL);
	check(said == policy, "policy %d: beside the author's code it is %ld", policy, said);
	policy_in(&r, KLP_OP_SYSCALL, KLP_OP_SYSCALL);
	said = sched_getscheduler(r.helper);
	check(said == policy, "policy %d: behind the request it is %ld", policy, said);
	check(!sched_getparam(r.helper, &found) && found.sched_priority == priority, "policy %d: the priority is %d",
	      policy, found.sched_priority);
	check(getpriority(PRIO_PROCESS, (id_t)r.helper) == nice_value, "policy %d: nice is %d", policy,
	      getpriority(PRIO_PROCESS, (id_t)r.helper));
	found.sched_priority = 1; /* as a tool leaves it that is killed */
	if (!real && !sched_setscheduler(r.helper, SCHED_FIFO | SCHED_RESET_ON_FORK, &found)) {
		said = policy_in(&r, KLP_OP_CALL, KLP_OP_SYSCALL);
		check(said == SCHED_OTHER, "policy %d: behind a killed tool it is %ld", policy, said);
		check(getpriority(PRIO_PROCESS, (id_t)r.helper) == nice_value,
		      "policy %d: nice is %d behind a killed tool", policy, getpriority(PRIO_PROCESS, (id_t)r.helper));
	}
	said = sched_getscheduler(target);
	check(said == policy, "policy %d: the target's is %ld", policy, said);
	rc = klp_remote_stop(&r, &e);
	check(!rc, "policy %d: %s", policy, e.text);
	klp_process_close(&p);
	finish(target);
}

int main(void)
{
	if (!may_have_real_time()) {
		puts("SKIPPED: real time is for whoever has CAP_SYS_NICE or RLIMIT_RTPRIO");
		return TEST_SKIPPED;
	}
	has(SCHED_OTHER, 0, 0);
	has(SCHED_OTHER, 0, 7);
	has(SCHED_BATCH, 0, 0);
	has(SCHED_IDLE, 0, 0);
	has(SCHED_FIFO, 3, 0);
	has(SCHED_RR, 2, 0);
	return check_end();
}
