/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A2: a program that steps itself by the trap flag takes a signal at each instruction, and once it is traced it stops
 * at each of them. Every stop finds it fit to be borrowed all the same: no signal that it does not block is pending. No
 * other signal that comes meanwhile is lost.
 */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "common.h"
#include "klp/stop.h"
#include "klp/tracer.h"

#define STOPS 300u
#define SIGNALS 3u /* before each stop */

struct look {
	struct klp_remote *r;
	unsigned stopped, pending, in_handler;
};

static volatile int sink;
static atomic_uint *taken;

static void on_trap(int sig)
{
	(void)sig;
}

static void on_signal(int sig)
{
	(void)sig;
	atomic_fetch_add(taken, 1);
}

static pid_t stepping(void)
{
	struct sigaction sa = {.sa_handler = on_trap};
	pid_t pid = fork_bound();

	if (pid)
		return pid;
	sigaction(SIGTRAP, &sa, NULL);
	sa.sa_handler = on_signal;
	sigaction(SIGRTMIN, &sa, NULL);
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
	unsigned sent = 0;
	struct klp_process p;
	pid_t pid;
	struct klp_remote r = {.p = &p};
	struct look l = {.r = &r};

	taken = shared(sizeof(*taken));
	pid = stepping();
	sleep_ms(20);
	if (klp_process_open(pid, &p, &e)) {
		check(false, "%s", e.text);
		return check_end();
	}
	for (unsigned i = 0; i < STOPS; i++) {
		int rc;

		while (sent < (i + 1) * SIGNALS)
			sent += !kill(pid, SIGRTMIN);
		rc = klp_tracer_run(look, &l, &e);
		check(!rc, "stop %u: error %d", i, rc);
		sleep_ms(1);
	}
	printf("%u stops, %u of them in the handler\n", l.stopped, l.in_handler);
	check(l.stopped == STOPS, "%u of %u times it could not be stopped", STOPS - l.stopped, STOPS);
	check(!l.pending, "%u of %u times a signal was pending", l.pending, l.stopped);
	for (unsigned i = 0; i < 1000 && atomic_load(taken) < sent; i++)
		sleep_ms(1);
	check(atomic_load(taken) == sent, "%u signals sent, %u taken", sent, atomic_load(taken));
	klp_process_close(&p);
	finish(pid);
	return check_end();
}
