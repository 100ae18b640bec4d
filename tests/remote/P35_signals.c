/* SPDX-License-Identifier: Apache-2.0 */
/*
 * P35: signals at random moments of borrow cycles. A flag loop around epoll_wait(-1) or read() always sees its EINTR,
 * also with one thread only; a handler with SA_RESTART and an ignored signal never cause one.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

#define ANSWER_MS 2000u

struct talk {
	atomic_uint ready;   /* its handlers are there */
	atomic_uint seen;    /* rounds of the loop that a signal ended */
	atomic_uint handled; /* handlers that ran */
	atomic_uint wrong;   /* a call that returned what it may not */
	atomic_int result;
};

static struct talk *talk;
static volatile sig_atomic_t quit;

static void on_signal(int sig)
{
	(void)sig;
	quit = 1;
	atomic_fetch_add(&talk->handled, 1);
}

static void on_timer(int sig)
{
	(void)sig;
	atomic_fetch_add(&talk->handled, 1);
}

static int quiet_fd;

/* while (!quit) wait for ever: the quit flag is set by a handler without SA_RESTART; it sleeps on for ever if its EINTR
 * is lost. */
static void flag_loop(int epoll)
{
	struct sigaction sa = {.sa_handler = on_signal};
	struct epoll_event ev;
	char c;

	sigaction(SIGTERM, &sa, NULL);
	atomic_store(&talk->ready, 1);
	for (;;) {
		while (!quit) {
			ssize_t rc = epoll >= 0 ? epoll_wait(epoll, &ev, 1, -1) : read(quiet_fd, &c, 1);

			if (rc != -1 || errno != EINTR || !quit) {
				atomic_store(&talk->result, (int)rc * 1000 + errno);
				atomic_fetch_add(&talk->wrong, 1);
			}
		}
		quit = 0;
		atomic_fetch_add(&talk->seen, 1);
	}
}

static void flag_loop_in_epoll(void)
{
	flag_loop(epoll_create1(0));
}

/* This call fails with EINTR only because of the handler's flags. */
static void flag_loop_in_read(void)
{
	flag_loop(-1);
}

/* read() with SA_RESTART handlers and ignored children: it never returns. */
static void restart_loop(void)
{
	struct sigaction sa = {.sa_handler = on_timer, .sa_flags = SA_RESTART};
	char c;

	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGALRM, &sa, NULL);
	sigaction(SIGURG, &sa, NULL);
	sigaction(SIGWINCH, &sa, NULL);
	atomic_store(&talk->ready, 1);
	for (;;) {
		ssize_t rc = read(quiet_fd, &c, 1);

		atomic_store(&talk->result, (int)rc * 1000 + errno);
		atomic_fetch_add(&talk->wrong, 1);
	}
}

/* epoll_wait(-1) with default-ignored signals: they must not end it. */
static void ignored_loop(void)
{
	struct epoll_event ev;
	int fd = epoll_create1(0);

	atomic_store(&talk->ready, 1);
	for (;;) {
		int rc = epoll_wait(fd, &ev, 1, -1);

		atomic_store(&talk->result, rc * 1000 + errno);
		atomic_fetch_add(&talk->wrong, 1);
	}
}

/* sigsuspend: the atomic form; each signal ends it exactly once. */
static void suspend_loop(void)
{
	struct sigaction sa = {.sa_handler = on_signal};
	sigset_t block, none;

	sigemptyset(&none);
	sigemptyset(&block);
	sigaddset(&block, SIGTERM);
	sigprocmask(SIG_BLOCK, &block, NULL);
	sigaction(SIGTERM, &sa, NULL);
	atomic_store(&talk->ready, 1);
	for (;;) {
		while (!quit)
			sigsuspend(&none);
		quit = 0;
		atomic_fetch_add(&talk->seen, 1);
	}
}

static unsigned wait_seen(unsigned want)
{
	for (uint64_t until = now_ns() + ANSWER_MS * 1000000ull; atomic_load(&talk->seen) < want && now_ns() < until;) {
		struct timespec t = {0, 100000};

		nanosleep(&t, NULL);
	}
	return atomic_load(&talk->seen);
}

static void random_pause(unsigned max_us)
{
	struct timespec t = {0, (long)((unsigned)random() % max_us) * 1000};

	nanosleep(&t, NULL);
}

/* A tool that goes round until it is told to stop; the signals come whenever they come. */
static pid_t tool_forever(pid_t pid, struct tool_result *r, atomic_int *stop)
{
	pid_t tool;

	memset(r, 0, sizeof(*r));
	atomic_store(stop, 0);
	tool = fork_bound();
	if (tool)
		return tool;
	while (!atomic_load(stop)) {
		int rc = cycle(pid, 5000, r);

		if (rc)
			_exit(1);
		r->cycles++;
	}
	r->rc = 0;
	_exit(0);
}

static void tool_end(pid_t tool, struct tool_result *r, atomic_int *stop)
{
	int status;

	atomic_store(stop, 1);
	waitpid(tool, &status, 0);
	check(WIFEXITED(status) && !WEXITSTATUS(status), "the tool: status %x, %s %s", (unsigned)status,
	      klp_reason_name(r->error.reason), r->error.text);
}

static pid_t target(void (*loop)(void))
{
	pid_t pid;

	memset(talk, 0, sizeof(*talk));
	pid = fork_bound();
	if (!pid) {
		loop();
		_exit(1);
	}
	while (!atomic_load(&talk->ready))
		sleep_ms(1);
	return pid;
}

static void flags(const char *name, void (*loop)(void), unsigned count, struct tool_result *r, atomic_int *stop)
{
	pid_t pid = target(loop), tool = tool_forever(pid, r, stop);
	unsigned lost = 0;

	for (unsigned i = 1; i <= count; i++) {
		unsigned seen;

		random_pause(3000);
		kill(pid, SIGTERM);
		seen = wait_seen(i);
		if (seen < i) {
			lost++;
			/* It sleeps on: wake it so that the rounds go on. */
			check(false, "%s: signal %u was lost, the loop sleeps on (handled %u)", name, i, talk->handled);
			if (lost > 3)
				break;
			kill(pid, SIGTERM);
			while (atomic_load(&talk->seen) < i)
				sleep_ms(1);
		}
	}
	tool_end(tool, r, stop);
	check(!talk->wrong, "%s: %u calls ended without a signal (%d)", name, talk->wrong, talk->result);
	printf("%s: %u signals, %u cycles, %u stops, longest %lu us\n", name, count, r->cycles, r->stops,
	       r->longest_stop_ns / 1000);
	finish(pid);
}

static void quiet(const char *name, void (*loop)(void), const int *signals, bool handled, unsigned count,
		  struct tool_result *r, atomic_int *stop)
{
	pid_t pid = target(loop), tool = tool_forever(pid, r, stop);
	unsigned sent = 0;

	for (unsigned i = 0; i < count; i++) {
		unsigned before = talk->handled;
		uint64_t until = now_ns() + ANSWER_MS * 1000000ull;

		random_pause(3000);
		kill(pid, signals[i % 2]);
		sent++;
		while (handled && atomic_load(&talk->handled) == before && now_ns() < until)
			random_pause(200);
		check(!handled || talk->handled == before + 1, "%s: signal %u: %u handlers ran", name, i,
		      talk->handled - before);
		if (handled && talk->handled == before) {
			tell_threads(pid);
			tell_threads(tool);
		}
	}
	tool_end(tool, r, stop);
	check(!talk->wrong, "%s: %u calls ended (%d)", name, talk->wrong, talk->result);
	printf("%s: %u signals, %u cycles, %u stops, longest %lu us\n", name, sent, r->cycles, r->stops,
	       r->longest_stop_ns / 1000);
	finish(pid);
}

int main(void)
{
	const int restarting[2] = {SIGTERM, SIGALRM}, ignored[2] = {SIGCHLD, SIGWINCH}, urgent[2] = {SIGURG, SIGWINCH};
	struct tool_result *r = shared(sizeof(*r));
	atomic_int *stop = shared(sizeof(*stop));
	unsigned count = rounds(1000, 10000);
	int fds[2];

	talk = shared(sizeof(*talk));
	srandom((unsigned)getpid());
	if (pipe(fds))
		return 1;
	quiet_fd = fds[0];
	flags("flag loop in epoll_wait", flag_loop_in_epoll, count, r, stop);
	flags("flag loop in read", flag_loop_in_read, count, r, stop);
	flags("sigsuspend", suspend_loop, count, r, stop);
	quiet("SA_RESTART", restart_loop, restarting, true, count, r, stop);
	quiet("SIGURG, SIGWINCH", restart_loop, urgent, true, count, r, stop);
	quiet("ignored", ignored_loop, ignored, false, count, r, stop);
	return check_end();
}
