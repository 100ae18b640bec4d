/* SPDX-License-Identifier: Apache-2.0 */
/* How threads wait, and what they check of every wait: nothing ends early, nothing is cut short, no EINTR. */
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shapes.h"

#define TRANSFER (256u << 10)

void torture_count(uint64_t *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

void torture_failed(struct worker *w, int err)
{
	torture_count(err == EINTR ? &w->shared->eintr : &w->shared->broken);
}

void torture_futex_wait(const uint32_t *word, uint32_t value)
{
	if (syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0) && errno != EAGAIN)
		torture_failed(torture_self, errno);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

void torture_pause(struct worker *w, unsigned us)
{
	struct timespec t = {us / 1000000, (long)(us % 1000000) * 1000};
	uint64_t began = now_ns();

	if (nanosleep(&t, NULL))
		torture_failed(w, errno);
	else if (now_ns() - began < us * 1000ull)
		torture_count(&w->shared->early);
}

static void wait_read(struct worker *w)
{
	uint64_t m[2];
	ssize_t n = read(w->message[0], m, sizeof(m));

	if (n < 0)
		torture_failed(w, errno);
	else if (n != sizeof(m))
		torture_count(&w->shared->brief);
	else if (m[0] != w->seen + 1 || m[1] != ~m[0])
		torture_wrong(w);
	else
		w->seen = m[0];
}

static void wait_epoll(struct worker *w)
{
	struct epoll_event event;
	uint64_t value = 0;
	int n = epoll_wait(w->poll, &event, 1, -1);

	if (n < 0)
		torture_failed(w, errno);
	else if (n != 1 || event.data.u64 != (uint64_t)(uintptr_t)w)
		torture_wrong(w);
	else if (read(w->event, &value, sizeof(value)) != sizeof(value) || !value)
		torture_wrong(w);
}

static void wait_write(struct worker *w)
{
	ssize_t n = write(w->stream[1], w->buffer, TRANSFER);

	if (n < 0)
		torture_failed(w, errno);
	else if (n != TRANSFER)
		torture_count(&w->shared->brief);
	torture_count(&w->shared->transfers);
}

static void reap(struct worker *w, pid_t pid)
{
	int status;
	pid_t got;

	if (pid < 0) {
		torture_failed(w, errno);
		return;
	}
	got = waitpid(pid, &status, 0);
	if (got != pid)
		torture_failed(w, got < 0 ? errno : 0);
	else if (status)
		torture_count(&w->shared->broken);
}

/* The child goes on in the middle of the round, and with some more before it exits. */
static void wait_fork(struct worker *w)
{
	pid_t pid = fork();

	if (!pid) {
		w->child = true;
		return;
	}
	torture_count(&w->shared->forks);
	reap(w, pid);
}

/* The child runs on its parent's stack and thread control block until it is another program. */
static NOINLINE void wait_exec(struct worker *w)
{
	static char *const argv[] = {(char *)"nothing", NULL}, *const envp[] = {NULL};
	pid_t pid = vfork();

	if (!pid) {
		c_round(w, HOW_NOTHING);
		execve("/proc/self/exe", argv, envp);
		_exit(1);
	}
	torture_count(&w->shared->execs);
	reap(w, pid);
}

static void wait_hold(struct worker *w)
{
	uint32_t hold;

	__atomic_store_n(&w->shared->held, 1, __ATOMIC_RELEASE);
	while ((hold = __atomic_load_n(&w->shared->hold, __ATOMIC_ACQUIRE)))
		torture_futex_wait(&w->shared->hold, hold);
	__atomic_store_n(&w->shared->held, 0, __ATOMIC_RELEASE);
}

void torture_block(struct worker *w, int how)
{
	uint32_t word;

	if (w->child && how != HOW_NOTHING)
		return;
	switch (how) {
	case HOW_SPIN:
		for (unsigned n = (unsigned)torture_random(w) % 3000; n; n--)
			__asm__ volatile("" ::: "memory");
		break;
	case HOW_READ:
		wait_read(w);
		break;
	case HOW_FUTEX:
		word = __atomic_load_n(&w->word, __ATOMIC_ACQUIRE);
		torture_futex_wait((const uint32_t *)&w->word, word);
		break;
	case HOW_EPOLL:
		wait_epoll(w);
		break;
	case HOW_SLEEP:
		torture_pause(w, 200 + (unsigned)torture_random(w) % 2000);
		break;
	case HOW_WRITE:
		wait_write(w);
		break;
	case HOW_FORK:
		wait_fork(w);
		break;
	case HOW_EXEC:
		wait_exec(w);
		break;
	case HOW_HOLD:
		wait_hold(w);
		break;
	case HOW_JUMP:
		if (w->armed)
			siglongjmp(w->home, 1);
		break;
	default:
		break;
	}
}
