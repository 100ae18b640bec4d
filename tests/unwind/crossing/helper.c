/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unwind/crossing/helper.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "klp/session.h"
#include "tests/unwind/memory.h"
#include "tests/unwind/space.h"

#define HELPER_STEPS 3000u /* of one helper: then it goes on alone */

static struct helper_result *result;
static pid_t watcher;

/* The helper's thread, when there is one, with the tables of that moment. */
static pid_t helper_find(pid_t target, struct klp_session *s)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_options opt = {0};

	for (;;) {
		if (!klp_session_open(s, target, KLP_SESSION_READ, &opt, &e)) {
			if (s->r.image && s->r.helper > 0 && !klp_tables_build(s, &e))
				return s->r.helper;
			klp_session_close(s);
		}
		usleep(2000);
	}
}

static void helper_ask(const struct klp_session *s, pid_t tid, struct memory *m)
{
	static struct klp_unw_trace trace;
	struct klp_unw_thread th = {0};
	struct klp_unw_regs regs = {0};
	struct user_regs_struct u;

	if (ptrace(PTRACE_GETREGS, tid, 0, &u))
		return;
	const uint64_t v[16] = {u.rax, u.rdx, u.rcx, u.rbx, u.rsi, u.rdi, u.rbp, u.rsp,
				u.r8,  u.r9,  u.r10, u.r11, u.r12, u.r13, u.r14, u.r15};
	if (u.rip < s->r.image || u.rip >= s->r.image + KLP_RT_TEXT_SIZE)
		return;
	memcpy(regs.r, v, sizeof(v));
	regs.known = 0xffff;
	regs.pc = u.rip;
	th.stack_low = u.rsp;
	th.stack_high = u.fs_base;
	th.top_slack = 65536;
	memory_move(m, tid, u.rsp);
	klp_unw_walk(s->space, &regs, &th, memory_read, m, &trace);
	result->steps++;
	result->reliable += trace.verdict == KLP_OK;
}

/*
 * A trap that finds SIGTRAP blocked takes its handler away from the whole process: here it is let through. Everything
 * else stays blocked, as the helper has it.
 */
static void helper_mask(pid_t tid, bool steps)
{
	uint64_t mask = ~(uint64_t)0;

	if (steps)
		mask &= ~((uint64_t)1 << (SIGTRAP - 1));
	ptrace(PTRACE_SETSIGMASK, tid, (void *)sizeof(mask), &mask);
}

/* klpctl cannot wake who is traced here: as it would, when it has posted a request. */
static pid_t helper_wait(const struct klp_session *s, pid_t tid, int *status)
{
	pid_t got;

	while (!(got = waitpid(tid, status, __WALL | WNOHANG))) {
		struct klp_error e = KLP_ERROR_INIT;
		struct {
			uint8_t request, done, asleep;
		} now;

		usleep(100);
		if (!klp_process_read(&s->p, s->r.cb + offsetof(struct klp_rt_cb, request), &now, sizeof(now), &e) &&
		    now.request != now.done && now.asleep)
			ptrace(PTRACE_INTERRUPT, tid, 0, 0);
	}
	return got;
}

static void helper_watch(pid_t target)
{
	struct klp_session s;
	pid_t tid = helper_find(target, &s);
	struct memory m;
	int status;

	memory_open(&m, target);
	if (!ptrace(PTRACE_SEIZE, tid, 0, 0) && !ptrace(PTRACE_INTERRUPT, tid, 0, 0))
		for (unsigned n = 0; n < HELPER_STEPS; n++) {
			if (helper_wait(&s, tid, &status) != tid || !WIFSTOPPED(status))
				_exit(0);
			if (!n)
				helper_mask(tid, true);
			helper_ask(&s, tid, &m);
			if (ptrace(PTRACE_SINGLESTEP, tid, 0, 0))
				_exit(0);
		}
	if (helper_wait(&s, tid, &status) == tid && WIFSTOPPED(status)) {
		helper_mask(tid, false);
		ptrace(PTRACE_DETACH, tid, 0, 0);
	}
	_exit(0);
}

void helper_begin(pid_t target)
{
	if (!result) {
		result = mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (result == MAP_FAILED)
			test_die("mmap");
	}
	watcher = fork();
	if (!watcher) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		helper_watch(target);
	}
}

void helper_end(void)
{
	if (watcher <= 0)
		return;
	kill(watcher, SIGKILL);
	waitpid(watcher, NULL, 0);
	watcher = 0;
}

struct helper_result helper_result(void)
{
	return result ? *result : (struct helper_result){0};
}
