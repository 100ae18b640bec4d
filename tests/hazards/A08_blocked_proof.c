/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hazard A8: the thread moves while its stack is being proven. klp_task_syscall_fd is replaced, which reads the syscall
 * file: between the first and the second time, the thread is woken and
 *   - waits again in the very same call, so that only the counters can tell;
 *   - or runs in user code, where counters of switches on the way out cannot tell.
 * Neither is a proof. A thread that stays where it is, is one.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "klp/proof.h"
#include "tests/remote/common.h"

#define ROUNDS 50u
#define RUNS_ROUNDS 1000u /* a switch in the moment that it runs tells as well: many, so that most have none */

enum move { STAYS, WAITS_AGAIN, RUNS };

static struct {
	atomic_uint reads; /* that the thread has finished */
	atomic_int run;    /* it runs as long as this is set */
	atomic_int runs;
} * talk;

static int feed[2];
static enum move move;
static bool moved;

int __real_klp_task_syscall_fd(const struct klp_process *p, int fd, struct klp_task_syscall *s);
int __wrap_klp_task_syscall_fd(const struct klp_process *p, int fd, struct klp_task_syscall *s);

static bool waits(const struct klp_process *p, int fd)
{
	struct klp_task_syscall s;

	return !__real_klp_task_syscall_fd(p, fd, &s) && !s.running && s.nr == 0;
}

int __wrap_klp_task_syscall_fd(const struct klp_process *p, int fd, struct klp_task_syscall *s)
{
	int rc = __real_klp_task_syscall_fd(p, fd, s);
	unsigned before = atomic_load(&talk->reads);

	if (rc || move == STAYS || moved)
		return rc;
	moved = true;
	atomic_store(&talk->run, move == RUNS);
	if (write(feed[1], "", 1) != 1)
		exit(1);
	while (atomic_load(&talk->reads) == before)
		usleep(50);
	if (move == RUNS) {
		while (!atomic_load(&talk->runs))
			usleep(50);
	} else {
		while (!waits(p, fd))
			usleep(50);
	}
	return rc;
}

/* The tool and the target each on a processor of their own, if there are two: else the one switches the other out. */
static void take_processor(unsigned which)
{
	cpu_set_t all, one;

	if (sched_getaffinity(0, sizeof(all), &all) || CPU_COUNT(&all) < 2)
		return;
	CPU_ZERO(&one);
	for (unsigned cpu = 0, n = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &all) && n++ == which)
			CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

static void target(void)
{
	char c;

	for (;;) {
		if (read(feed[0], &c, 1) != 1)
			continue;
		atomic_fetch_add(&talk->reads, 1);
		while (atomic_load(&talk->run))
			atomic_store(&talk->runs, 1);
		atomic_store(&talk->runs, 0);
	}
}

static void prove(struct klp_session *s, pid_t pid, enum move how, const char *name)
{
	const struct klp_range nowhere = {1, 2};
	static struct klp_proof proof;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	for (unsigned i = 0; i < (how == RUNS ? RUNS_ROUNDS : ROUNDS); i++) {
		while (!waits(&s->p, fd))
			usleep(50);
		move = how;
		moved = false;
		klp_prove_blocked(s, pid, &nowhere, 1, &proof);
		check(how == STAYS || moved, "%s: the thread was not moved", name);
		if (how == STAYS)
			check(proof.verdict == KLP_OK, "%s: %s, expected a proof", name,
			      klp_reason_name(proof.verdict));
		else
			check(proof.verdict != KLP_OK, "%s: round %u: taken for a proof", name, i);
		move = STAYS;
		atomic_store(&talk->run, 0);
		while (atomic_load(&talk->runs))
			usleep(50);
	}
	close(fd);
}

int main(void)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_session s;
	pid_t pid;

	talk = shared(sizeof(*talk));
	if (pipe(feed))
		return 1;
	pid = fork_bound();
	take_processor(pid == 0);
	if (!pid)
		target();
	sleep_ms(20);
	if (klp_session_open(&s, pid, KLP_SESSION_READ, NULL, &e) || klp_tables_build(&s, &e)) {
		fprintf(stderr, "%s\n", e.text);
		finish(pid);
		return 1;
	}
	prove(&s, pid, STAYS, "stays");
	prove(&s, pid, WAITS_AGAIN, "waits again");
	prove(&s, pid, RUNS, "runs");
	/* A kernel without schedstat: it counts a thread's switches when it leaves the processor, not when it gets it.
	 */
	s.no_schedstat = true;
	prove(&s, pid, STAYS, "by switches, stays");
	prove(&s, pid, WAITS_AGAIN, "by switches, waits again");
	prove(&s, pid, RUNS, "by switches, runs");
	klp_session_close(&s);
	finish(pid);
	return check_end();
}
