/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A2: signals that are handed over (klp/handover.h) arrive once each, in their order, and say what they said: sender,
 * value, how they were sent. Of those that the thread has not been given when it ends only the process's own go on.
 */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"
#include "klp/handover.h"

#define SEEN_MAX 16u
#define VALUES 3

struct seen {
	atomic_uint ready, count;
	siginfo_t info[SEEN_MAX];
};

static struct seen *seen;

static void on_signal(int sig, siginfo_t *info, void *context)
{
	unsigned n = atomic_load(&seen->count);

	(void)sig;
	(void)context;
	if (n < SEEN_MAX)
		seen->info[n] = *info;
	atomic_store(&seen->count, n + 1);
}

static pid_t target(void)
{
	struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
	pid_t pid;
	int fds[2];
	char c;

	if (pipe(fds))
		exit(1);
	pid = fork_bound();
	if (pid)
		return pid;
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGUSR2, &sa, NULL);
	sigaction(SIGRTMIN, &sa, NULL);
	atomic_store(&seen->ready, 1);
	for (;;)
		if (read(fds[0], &c, 1) >= 0)
			_exit(1);
}

/* The signal that it stops for next, 0: none in a second. */
static int next_signal(pid_t pid)
{
	int status;

	for (unsigned i = 0; i < 10000; i++) {
		if (waitpid(pid, &status, __WALL | WNOHANG) == pid)
			return WIFSTOPPED(status) && !(status >> 16) ? WSTOPSIG(status) : 0;
		usleep(100);
	}
	return 0;
}

static void take(struct klp_held *h, const struct klp_process *p, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		check(next_signal(p->pid), "signal %u does not come", i);
		check(klp_held_take(h, p, p->pid), "signal %u is not taken", i);
		ptrace(PTRACE_CONT, p->pid, NULL, NULL);
	}
}

static void in_their_order(struct klp_held *h, const struct klp_process *p)
{
	union sigval v;
	int sig;

	for (v.sival_int = 1; v.sival_int <= VALUES; v.sival_int++)
		sigqueue(p->pid, SIGRTMIN, v);
	take(h, p, VALUES);
	for (unsigned i = 0; i < 2; i++) { /* the second is one too many, as for the kernel */
		kill(p->pid, SIGUSR1);
		take(h, p, 1);
	}
	check(h->count == VALUES + 1, "%u are held", h->count);
	check(!atomic_load(&seen->count), "a handler ran");
	usleep(1000); /* it is in its call */
	klp_held_send(h, p, p->pid);
	while (h->count && (sig = next_signal(p->pid))) {
		check(!klp_held_take(h, p, p->pid), "what was sent is taken again");
		klp_held_deliver(h, p->pid);
		ptrace(PTRACE_CONT, p->pid, NULL, (void *)(long)sig);
	}
	sleep_ms(20);
	check(!h->count && atomic_load(&seen->count) == VALUES + 1, "%u are held, %u were handled", h->count,
	      atomic_load(&seen->count));
	for (unsigned i = 0, value = 0; i < VALUES + 1; i++) {
		const siginfo_t *s = &seen->info[i];

		check(s->si_pid == getpid(), "signal %u is of process %d", i, s->si_pid);
		check(s->si_code == (s->si_signo == SIGUSR1 ? SI_USER : SI_QUEUE), "signal %u has code %d", i,
		      s->si_code);
		if (s->si_signo == SIGRTMIN)
			check(s->si_value.sival_int == (int)++value, "signal %u has value %d", i,
			      s->si_value.sival_int);
	}
}

static void of_a_thread_that_ends(struct klp_held *h, const struct klp_process *p)
{
	int sig;

	atomic_store(&seen->count, 0);
	kill(p->pid, SIGUSR1);
	take(h, p, 1);
	syscall(SYS_tgkill, p->pid, p->pid, SIGUSR2);
	take(h, p, 1);
	klp_held_end(h, p);
	while ((sig = next_signal(p->pid)))
		ptrace(PTRACE_CONT, p->pid, NULL, (void *)(long)sig);
	check(atomic_load(&seen->count) == 1 && seen->info[0].si_signo == SIGUSR1, "%u were handled",
	      atomic_load(&seen->count));
}

int main(void)
{
	struct klp_process p = {0};
	struct klp_held held = {.count = 0};

	seen = shared(sizeof(*seen));
	p.pid = target();
	while (!atomic_load(&seen->ready))
		sleep_ms(1);
	if (ptrace(PTRACE_SEIZE, p.pid, NULL, NULL)) {
		check(false, "it cannot be seized");
		return check_end();
	}
	in_their_order(&held, &p);
	of_a_thread_that_ends(&held, &p);
	finish(p.pid);
	return check_end();
}
