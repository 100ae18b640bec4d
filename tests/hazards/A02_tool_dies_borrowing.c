/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hazard A2: a signal arrives while a thread is borrowed, and the tool is killed in that moment. The thread goes home
 * alone; its flag loop must see the EINTR. klp_stop_end_at_home is replaced: that is where the tool has set the
 * thread's registers and lets it go. The first mapping has no code of klp's that could look for signals, so a thread is
 * not borrowed for it while one is pending: klp_stop_begin is replaced, which stops it.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "klp/stop.h"
#include "tests/remote/common.h"

#define ROUNDS 20u
#define FIRST_ROUNDS 5u
#define ANSWER_MS 2000u

struct talk {
	atomic_uint waiting, seen, handled, wrong, sent;
};

static struct talk *talk;
static volatile sig_atomic_t quit;
static pid_t target;
static bool at_first; /* the signal comes before the first mapping */

int __wrap_klp_stop_begin(struct klp_remote *r, pid_t tid, struct klp_stop *st, struct klp_error *e);
int __real_klp_stop_begin(struct klp_remote *r, pid_t tid, struct klp_stop *st, struct klp_error *e);
void __wrap_klp_stop_end_at_home(struct klp_stop *st, const struct klp_registers *resume,
				 const struct klp_stop_chain *chain);
void __real_klp_stop_end_at_home(struct klp_stop *st, const struct klp_registers *resume,
				 const struct klp_stop_chain *chain);

int __wrap_klp_stop_begin(struct klp_remote *r, pid_t tid, struct klp_stop *st, struct klp_error *e)
{
	int rc = __real_klp_stop_begin(r, tid, st, e);

	if (at_first && rc > 0 && !atomic_exchange(&talk->sent, 1))
		kill(target, SIGTERM);
	return rc;
}

void __wrap_klp_stop_end_at_home(struct klp_stop *st, const struct klp_registers *resume,
				 const struct klp_stop_chain *chain)
{
	/* The first borrow maps the core, by frames on the thread's stack; the second one runs klp's own code. */
	bool first = chain->stack[1] != UINT64_MAX;

	if (first != at_first || (first && atomic_load(&talk->handled))) {
		__real_klp_stop_end_at_home(st, resume, chain);
		return;
	}
	if (!first)
		kill(target, SIGTERM);
	tool_is_killed(true); /* the kernel lets the thread go with the registers that it has */
}

static void on_signal(int sig)
{
	(void)sig;
	quit = 1;
	atomic_fetch_add(&talk->handled, 1);
}

static void flag_loop(void)
{
	struct sigaction sa = {.sa_handler = on_signal};
	struct epoll_event ev;
	int fd = epoll_create1(0);

	sigaction(SIGTERM, &sa, NULL);
	atomic_store(&talk->waiting, 1);
	while (!quit)
		if (epoll_wait(fd, &ev, 1, -1) != -1 || errno != EINTR || !quit)
			atomic_fetch_add(&talk->wrong, 1);
	atomic_store(&talk->seen, 1);
	for (;;)
		pause();
}

/* false: the loop sleeps on, as the next one would. */
static bool round_of(const char *name, unsigned i)
{
	uint64_t until;
	bool seen, died;

	memset(talk, 0, sizeof(*talk));
	target = fork_bound();
	if (!target)
		flag_loop();
	while (!atomic_load(&talk->waiting))
		sleep_ms(1);
	sleep_ms(5);
	died = tool_dies(target);
	check(died == !at_first, "%s, round %u: %s", name, i,
	      died ? "a thread with a signal pending was borrowed" : "the tool did not die where it was to");
	until = now_ns() + ANSWER_MS * 1000000ull;
	while (!atomic_load(&talk->seen) && now_ns() < until)
		sleep_ms(1);
	seen = atomic_load(&talk->seen);
	check(atomic_load(&talk->handled) == 1, "%s, round %u: %u handlers ran", name, i, talk->handled);
	check(seen, "%s, round %u: the signal was lost, the loop sleeps on", name, i);
	check(!atomic_load(&talk->wrong), "%s, round %u: a wait ended without a signal", name, i);
	finish(target);
	return seen;
}

int main(void)
{
	talk = shared(sizeof(*talk));
	for (unsigned i = 0; i < ROUNDS && round_of("borrowed", i); i++)
		;
	at_first = true;
	for (unsigned i = 0; i < FIRST_ROUNDS && round_of("first", i); i++)
		;
	return check_end();
}
