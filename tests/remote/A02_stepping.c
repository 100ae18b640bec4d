/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A2: a program that steps itself by the trap flag takes a signal at each instruction, and once it is traced it stops
 * at each of them. Every stop finds it fit to be borrowed all the same: no signal that it does not block is pending.
 */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "common.h"
#include "klp/stop.h"
#include "klp/tracer.h"

#define STOPS 300u

struct look {
	struct klp_remote *r;
	unsigned stopped, pending, in_handler;
};

static volatile int sink;

static void on_trap(int sig)
{
	(void)sig;
}

static pid_t stepping(void)
{
	struct sigaction sa = {.sa_handler = on_trap};
	pid_t pid = fork_bound();

	if (pid)
		return pid;
	sigaction(SIGTRAP, &sa, NULL);
	__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "memory", "cc");
	for (;;)
		sink++;
}

static int look(void *arg)
{
	struct look *l = arg;
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_task_info info;
	struct klp_stop st;
	int rc = klp_stop_begin(l->r, l->r->p->pid, &st, &e);

	if (rc == 1 && !klp_task_info(l->r->p, st.tid, &info, &e) && (info.sig_pending & ~st.mask))
		rc = klp_stop_take_signal(&st);
	if (rc <= 0)
		return rc;
	l->stopped++;
	l->in_handler += st.mask != 0;
	l->pending += klp_task_info(l->r->p, st.tid, &info, &e) || (info.sig_pending & ~st.mask);
	klp_stop_end(&st);
	return 0;
}

int main(void)
{
	struct klp_error e = KLP_ERROR_INIT;
	pid_t pid = stepping();
	struct klp_process p;
	struct klp_remote r = {.p = &p};
	struct look l = {.r = &r};

	sleep_ms(20);
	if (klp_process_open(pid, &p, &e)) {
		check(false, "%s", e.text);
		return check_end();
	}
	for (unsigned i = 0; i < STOPS; i++) {
		int rc = klp_tracer_run(look, &l, &e);

		check(!rc, "stop %u: error %d", i, rc);
		sleep_ms(1);
	}
	printf("%u stops, %u of them in the handler\n", l.stopped, l.in_handler);
	check(l.stopped == STOPS, "%u of %u times it could not be stopped", STOPS - l.stopped, STOPS);
	check(!l.pending, "%u of %u times a signal was pending", l.pending, l.stopped);
	klp_process_close(&p);
	finish(pid);
	return check_end();
}
