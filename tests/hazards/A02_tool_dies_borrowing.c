/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hazard A2: a signal arrives while a thread is borrowed, and the tool is killed in that moment. The thread goes home
 * alone; its flag loop must see the EINTR. klp_stop_end_at_home is replaced: that is where the tool has set the
 * thread's registers and lets it go.
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
#define ANSWER_MS 2000u

struct talk {
	atomic_uint waiting, seen, handled, wrong;
};

static struct talk *talk;
static volatile sig_atomic_t quit;
static pid_t target;

void __wrap_klp_stop_end_at_home(struct klp_stop *st, const struct klp_registers *resume,
				 const struct klp_stop_chain *chain);
void __real_klp_stop_end_at_home(struct klp_stop *st, const struct klp_registers *resume,
				 const struct klp_stop_chain *chain);

void __wrap_klp_stop_end_at_home(struct klp_stop *st, const struct klp_registers *resume,
				 const struct klp_stop_chain *chain)
{
	/* The first borrow maps the core, by frames on the thread's stack; the second one runs klp's own code. */
	if (chain->stack[1] != UINT64_MAX) {
		__real_klp_stop_end_at_home(st, resume, chain);
		return;
	}
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
	_exit(0);
}

int main(void)
{
	talk = shared(sizeof(*talk));
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t until;

		memset(talk, 0, sizeof(*talk));
		target = fork_bound();
		if (!target)
			flag_loop();
		while (!atomic_load(&talk->waiting))
			sleep_ms(1);
		sleep_ms(5);
		check(tool_dies(target), "round %u: the tool did not die where it was to", i);
		until = now_ns() + ANSWER_MS * 1000000ull;
		while (!atomic_load(&talk->seen) && now_ns() < until)
			sleep_ms(1);
		check(atomic_load(&talk->handled) == 1, "round %u: %u handlers ran", i, talk->handled);
		check(atomic_load(&talk->seen), "round %u: the signal was lost, the loop sleeps on", i);
		check(!atomic_load(&talk->wrong), "round %u: a wait ended without a signal", i);
		finish(target);
		if (!atomic_load(&talk->seen))
			break;
	}
	return check_end();
}
