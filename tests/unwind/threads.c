/* SPDX-License-Identifier: Apache-2.0 */
/* What the oracle steps through: threads, children, jumps out of handlers on either stack, deep stacks, ends that never
 * return. ORACLE_ROUND changes the numbers. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ALT_SIZE 65536

static volatile int sink;
static int seed;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int turn;
static __thread sigjmp_buf back;
static __thread int deep_in_handler;

__attribute__((noinline)) static int fib(int n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

__attribute__((noinline)) static int deep(int n)
{
	volatile char pad[24];

	pad[n % 24] = (char)n;
	return n ? deep(n - 1) + pad[n % 24] : seed;
}

static void on_signal(int sig)
{
	sink += fib(3 + sig % 3);
	if (deep_in_handler && deep(deep_in_handler) >= 0)
		siglongjmp(back, 1);
	if (deep_in_handler)
		siglongjmp(back, 2);
}

/* A handler that is interrupted by another one, on the same alternate stack. */
static void nests(int sig)
{
	sink += sig;
	if (sig == SIGUSR2)
		raise(SIGRTMIN);
	sink += fib(4);
}

static void use_alt(void *at)
{
	const stack_t ss = {.ss_sp = at, .ss_size = ALT_SIZE};

	if (sigaltstack(&ss, NULL))
		abort();
}

static void on_alternate_stack(void *at)
{
	use_alt(at);
	deep_in_handler = 0;
	raise(SIGUSR1);
	raise(SIGUSR2);
	deep_in_handler = 6;
	for (volatile int i = 0; i < 3; i++)
		if (!sigsetjmp(back, 1))
			raise(SIGUSR1); /* on the alternate stack */
		else
			sink += fib(5);
	if (!sigsetjmp(back, 1))
		raise(SIGHUP); /* on its own */
	deep_in_handler = 0;
}

/* Ends in a call that does not return, so that the return address lies behind the function. */
__attribute__((noinline, noreturn)) static void leaves(void *with)
{
	sink += fib(4);
	pthread_exit(with);
}

__attribute__((noinline)) static int decide(int n, void *arg)
{
	if (n > 2)
		leaves(arg);
	return n < 9 ? decide(n + 1, arg) + 1 : n;
}

static void cleanup(void *arg)
{
	sink += fib(3) + *(int *)arg;
}

static void *exits(void *arg)
{
	pthread_cleanup_push(cleanup, arg);
	sink += decide(0, arg);
	pthread_cleanup_pop(0);
	return NULL;
}

static void *is_cancelled(void *arg)
{
	pthread_cleanup_push(cleanup, arg);
	for (;;)
		pause();
	pthread_cleanup_pop(0);
	return NULL;
}

static void *takes_turns(void *arg)
{
	int me = *(int *)arg;

	for (int i = 0; i < 3; i++) {
		pthread_mutex_lock(&lock);
		while (turn % 2 != me % 2)
			pthread_cond_wait(&changed, &lock);
		sink += fib(6) + deep(4);
		turn++;
		pthread_cond_broadcast(&changed);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

/* The alternate stack lies above this thread's own one. */
static void *gets_signals(void *at)
{
	on_alternate_stack(at);
	return NULL;
}

static void *executes(void *arg)
{
	sink += fib(4);
	execl("/bin/true", "true", (char *)NULL);
	return arg;
}

__attribute__((noinline)) static void children(void)
{
	pthread_t t;
	int status;
	pid_t pid = fork();

	if (!pid) {
		sink += fib(5);
		_exit(sink == -1);
	}
	waitpid(pid, &status, 0);
	pid = vfork();
	if (!pid) {
		sink += fib(4);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	pid = fork();
	if (!pid) { /* not its main thread executes the program */
		pthread_create(&t, NULL, executes, NULL);
		for (;;)
			pause();
	}
	waitpid(pid, &status, 0);
	pid = vfork();
	if (!pid) {
		execl("/bin/true", "true", (char *)NULL);
		_exit(1);
	}
	waitpid(pid, &status, 0);
}

static void *forks(void *arg)
{
	int status;
	pid_t pid = fork(); /* its main thread lives on the copy of this stack */

	if (!pid) {
		sink += fib(6);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return arg;
}

int main(void)
{
	const char *round = getenv("ORACLE_ROUND");
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
	int number[4] = {0, 1, 2, 3};
	pthread_t t[6];
	void *alt;

	seed = round ? atoi(round) : 0;
	alt = mmap(NULL, ALT_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (alt == MAP_FAILED)
		return 1;
	sigaction(SIGUSR1, &sa, NULL);
	sa.sa_handler = nests;
	sigaction(SIGUSR2, &sa, NULL);
	sigaction(SIGRTMIN, &sa, NULL);
	sa.sa_flags = 0;
	sa.sa_handler = on_signal;
	sigaction(SIGHUP, &sa, NULL);
	sink += deep(seed % 16 != 1 ? 20 + seed % 50 : 1100); /* more frames than a trace holds */
	pthread_create(&t[0], NULL, takes_turns, &number[0]);
	pthread_create(&t[1], NULL, takes_turns, &number[1]);
	pthread_create(&t[2], NULL, exits, &number[2]);
	pthread_create(&t[3], NULL, is_cancelled, &number[3]);
	pthread_create(&t[4], NULL, gets_signals, alt);
	pthread_create(&t[5], NULL, forks, NULL);
	pthread_cancel(t[3]);
	for (int i = 0; i < 6; i++)
		pthread_join(t[i], NULL);
	on_alternate_stack(malloc(ALT_SIZE));
	children();
	exit(sink == -1);
}
