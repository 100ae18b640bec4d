/* SPDX-License-Identifier: Apache-2.0 */
/*
 * P05: the death of a child is a signal that most programs ignore. The kernel drops it only if the thread that it is
 * meant for, the parent, is not traced; while that one stands still it wakes any other thread, whose epoll_wait then
 * fails. Here the children of the main thread die while klp borrows threads of the process again and again. If it can,
 * it borrows another one than the main thread, and nobody fails with EINTR. If it cannot, for the others wait with
 * timeouts, it guards them, and they fail with EINTR where another thread takes the signal away from one that was woken
 * for it: seldom.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common.h"
#include "klp/guard.h"
#include "klp/registers.h"

#define FIRST_MS 500u  /* behind the birth of the last child the first dies */
#define SPAN_MS 3000u  /* and behind that the last */
#define TIMEOUT_S 1000 /* of the calls that klp does not borrow a thread from */
#define SELDOM 20u     /* of so many children one: without the guard it was one of three to five */

struct count {
	atomic_uint ready, dead, eintr[2], wrong;
	_Atomic uint64_t born; /* when all children were: fork() blocks signals, so that a death would not be ignored */
};

enum how { CONTROL, WITH_A_TOOL, WITH_TIMEOUTS };

static struct count *count;
static bool timeouts;

static void *waits_in_epoll(void *arg)
{
	int fd = epoll_create1(0);
	struct epoll_event event;

	(void)arg;
	atomic_fetch_add(&count->ready, 1);
	for (;;) {
		if (epoll_wait(fd, &event, 1, timeouts ? TIMEOUT_S * 1000 : -1) < 0 && errno == EINTR)
			atomic_fetch_add(&count->eintr[0], 1);
		else
			atomic_fetch_add(&count->wrong, 1);
	}
	return NULL;
}

static void *waits_in_semop(void *arg)
{
	int id = *(int *)arg;
	struct sembuf op = {0, -1, 0};
	const struct timespec timeout = {TIMEOUT_S, 0};

	atomic_fetch_add(&count->ready, 1);
	while (semtimedop(id, &op, 1, timeouts ? &timeout : NULL) < 0 && errno == EINTR)
		atomic_fetch_add(&count->eintr[1], 1);
	return NULL;
}

static void child(const int all_born[2], unsigned i, unsigned of)
{
	struct timespec until;
	uint64_t at;
	char c;

	close(all_born[1]);
	while (read(all_born[0], &c, 1))
		; /* until the parent closes the other end */
	at = atomic_load(&count->born) + (FIRST_MS + (uint64_t)SPAN_MS * i / of) * 1000000ull;
	until = (struct timespec){(time_t)(at / 1000000000ull), (long)(at % 1000000000ull)};
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
	atomic_fetch_add(&count->dead, 1);
	_exit(0);
}

/* The main thread has the children, and then waits in a call that klp may borrow it from. */
static pid_t target(int sem, unsigned children)
{
	pid_t pid;
	pthread_t t[2];
	int all_born[2];

	pid = fork_bound();
	if (pid)
		return pid;
	if (pipe(all_born))
		_exit(2);
	for (unsigned i = 0; i < children; i++) {
		pid_t got = fork();

		if (!got)
			child(all_born, i, children);
		if (got < 0)
			_exit(2);
	}
	if (pthread_create(&t[0], NULL, waits_in_epoll, NULL) || pthread_create(&t[1], NULL, waits_in_semop, &sem))
		_exit(2);
	atomic_store(&count->born, now_ns());
	close(all_born[1]);
	pthread_join(t[1], NULL);
	_exit(0);
}

static void run(enum how how, int sem, struct tool_result *r)
{
	const char *const name[] = {"control", "with a tool", "with a tool, others wait with timeouts"};
	unsigned children = rounds(1500, 6000), cycles = 0, eintr;
	pid_t pid;

	memset(count, 0, sizeof(*count));
	timeouts = how == WITH_TIMEOUTS;
	pid = target(sem, children);
	while (atomic_load(&count->ready) < 2)
		sleep_ms(1);
	while (how && now_ns() < atomic_load(&count->born) + (FIRST_MS + SPAN_MS) * 1000000ull) {
		tool_cycles(pid, 10, 5000, false, r);
		check(!r->rc, "cycle %u: %s %s", cycles + r->cycles, klp_reason_name(r->error.reason), r->error.text);
		cycles += r->cycles;
		if (r->rc)
			break;
	}
	while (atomic_load(&count->dead) < children)
		sleep_ms(10);
	sleep_ms(50);
	eintr = count->eintr[0];
	if (how != WITH_TIMEOUTS || klp_registers_call_is_known(SYS_semtimedop)) /* else nobody may issue it again */
		eintr += count->eintr[1];
	check(how == CONTROL || cycles, "%s: no cycle was done", name[how]);
	printf("%s: %u children died, %u cycles, %u EINTR\n", name[how], children, cycles, eintr);
	check(!eintr || (how == WITH_TIMEOUTS && eintr * SELDOM <= children), "%s: EINTR of epoll_wait %u, of semop %u",
	      name[how], count->eintr[0], count->eintr[1]);
	check(!count->wrong, "%s: epoll_wait returned %u times", name[how], count->wrong);
	finish(pid);
}

static int told(void *arg)
{
	return *(int *)arg;
}

/* A thread that has ended since it was chosen is nobody to stop, and that is no failure. */
static void thread_that_has_ended(int sem)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_process p;
	pid_t gone = fork_bound(), pid;
	int answer = 7, rc;

	if (!gone)
		_exit(0);
	finish(gone); /* a number that no thread has */
	memset(count, 0, sizeof(*count));
	timeouts = false;
	pid = target(sem, 0);
	while (atomic_load(&count->ready) < 2)
		sleep_ms(1);
	sleep_ms(20);
	rc = klp_process_open(pid, &p, &e);
	check(!rc, "%s", e.text);
	if (!rc) {
		rc = klp_guard_run(&p, gone, told, &answer, &e);
		check(rc == answer, "rc %d: %s", rc, e.text);
		klp_process_close(&p);
	}
	finish(pid);
}

int main(void)
{
	struct tool_result *r = shared(sizeof(*r));
	int sem = semget(IPC_PRIVATE, 1, 0600);

	if (sem < 0)
		return TEST_SKIPPED;
	count = shared(sizeof(*count));
	thread_that_has_ended(sem);
	for (enum how how = CONTROL; how <= WITH_TIMEOUTS; how++)
		run(how, sem, r);
	semctl(sem, 0, IPC_RMID);
	return check_end();
}
