/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parks one thread in each place where a thread can be found, publishes which functions are on its stack, and waits.
 * Output, a line per thread: NAME TID STACK_HIGH SLACK RELIABLE START-END... (innermost first), then "ready".
 */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static int pipe_fd[2];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static ucontext_t home, routine;
static char routine_stack[65536];
static volatile int sink;

static void publish(const char *name, int reliable, const char *chain)
{
	flockfile(stdout);
	printf("%s %ld %#lx %d %s\n", name, (long)syscall(SYS_gettid), (unsigned long)pthread_self(), reliable, chain);
	fflush(stdout);
	funlockfile(stdout);
}

__attribute__((noinline)) static void park_read(void)
{
	char c;

	sink += (int)read(pipe_fd[0], &c, 1);
	sink++;
}

__attribute__((noinline)) static void *in_read(void *arg)
{
	publish("read", 1, "park_read,in_read");
	park_read();
	sink++;
	return arg;
}

__attribute__((noinline)) static void *in_cond(void *arg)
{
	publish("cond", 1, "in_cond");
	pthread_mutex_lock(&lock);
	for (;;)
		pthread_cond_wait(&never, &lock);
	return arg;
}

__attribute__((noinline)) static void *in_sleep(void *arg)
{
	struct timespec ts = {1000, 0};

	publish("sleep", 1, "in_sleep");
	nanosleep(&ts, NULL);
	sink++;
	return arg;
}

__attribute__((noinline)) static void handler(int sig)
{
	park_read();
	sink += sig;
}

__attribute__((noinline)) static void *in_signal(void *arg)
{
	publish("signal", 1, "park_read,handler,in_signal");
	raise(SIGUSR1);
	sink++;
	return arg;
}

__attribute__((noinline)) static void *in_alternate(void *arg)
{
	stack_t ss = {.ss_sp = malloc(65536), .ss_size = 65536};

	sigaltstack(&ss, NULL);
	publish("alternate", 1, "park_read,handler,in_alternate");
	raise(SIGUSR2);
	sink++;
	return arg;
}

__attribute__((noinline, noreturn)) static void forever(void)
{
	for (;;)
		park_read();
}

/* Its last instruction is the call: the return address lies in what follows. */
__attribute__((noinline)) static void *in_noreturn(void *arg)
{
	(void)arg;
	publish("noreturn", 1, "park_read,forever,in_noreturn");
	forever();
}

__attribute__((noinline)) static void coroutine(void)
{
	park_read();
	sink++;
}

__attribute__((noinline)) static void *in_coroutine(void *arg)
{
	publish("coroutine", 0, "park_read,coroutine");
	getcontext(&routine);
	routine.uc_stack.ss_sp = routine_stack;
	routine.uc_stack.ss_size = sizeof(routine_stack);
	routine.uc_link = &home;
	makecontext(&routine, coroutine, 0);
	swapcontext(&home, &routine);
	sink++;
	return arg;
}

__attribute__((noinline)) static int compare(const void *a, const void *b)
{
	park_read();
	return *(const int *)a - *(const int *)b;
}

__attribute__((noinline)) static void *in_qsort(void *arg)
{
	int v[3] = {3, 2, 1};

	publish("qsort", 1, "park_read,compare,in_qsort");
	qsort(v, 3, sizeof(v[0]), compare);
	sink += v[0];
	return arg;
}

int main(void)
{
	void *(*const start[])(void *) = {in_read,      in_cond,     in_sleep,     in_signal,
					  in_alternate, in_noreturn, in_coroutine, in_qsort};
	struct sigaction sa = {.sa_handler = handler};

	if (pipe(pipe_fd))
		return 1;
	sigaction(SIGUSR1, &sa, NULL);
	sa.sa_flags = SA_ONSTACK;
	sigaction(SIGUSR2, &sa, NULL);
	for (unsigned i = 0; i < sizeof(start) / sizeof(start[0]); i++) {
		pthread_t t;

		if (pthread_create(&t, NULL, start[i], NULL))
			return 1;
	}
	publish("main", 1, "park_read,main");
	park_read();
	return sink;
}
