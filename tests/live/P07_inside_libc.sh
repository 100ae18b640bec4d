#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Threads that stand still inside malloc with its lock held, inside dlopen in a constructor with the loader's lock, and inside dl_iterate_phdr with the lock that unwinders
# take: nothing that klp does in the process takes these locks, so a load and an unload go on as ever, and so do the threads afterwards.
. "$(dirname "$0")/lib.sh"
begin
mkdir -p "$work/lib"
cat >"$work/lib/slow.c" <<'C'
#include <signal.h>
__attribute__((constructor)) static void waits(void)
{
	raise(SIGUSR2);
}
C
"${CC:-cc}" -O2 -shared -fPIC -o "$work/lib/slow.so" "$work/lib/slow.c" || die "the library does not build"
own_program 's/x \* 10 + 1/x * 10 + 2/' <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int pipes[3][2]; /* malloc, dlopen, dl_iterate_phdr */
static void *volatile block;
static atomic_int there[3], over[3], in_malloc, freeze, probe, probed;
static char library[300];

__attribute__((noipa)) int answer(int x)
{
	return x * 10 + 1;
}

static void stand_still(int i)
{
	char c;

	there[i] = 1;
	while (read(pipes[i][0], &c, 1) != 1)
		;
}

/* The library's constructor. */
static void on_other_signal(int sig)
{
	(void)sig;
	stand_still(1);
}

static void *opener(void *arg)
{
	void *h = dlopen(library, RTLD_NOW);

	over[1] = h != NULL;
	for (;;)
		pause();
	return arg;
}

static int callback(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)info;
	(void)size;
	(void)arg;
	stand_still(2);
	return 1;
}

static void *iterator(void *arg)
{
	over[2] = dl_iterate_phdr(callback, NULL);
	for (;;)
		pause();
	return arg;
}

/* Interrupts malloc at any instruction and stays there when it is asked to. */
static void on_signal(int sig)
{
	int saved = errno;

	(void)sig;
	if (freeze && in_malloc) {
		freeze = 0;
		stand_still(0);
	}
	errno = saved;
}

/* No thread cache for sizes like these: each goes through the arena and its lock. */
static void *allocator(void *arg)
{
	void *p[64] = {0};

	for (unsigned n = 1;; n = n * 1103515245u + 12345u) {
		unsigned i = n >> 16 & 63;

		in_malloc = 1;
		free(p[i]);
		p[i] = malloc(2000 + (n >> 8 & 0xffff));
		in_malloc = 0;
		if (there[0] && !over[0])
			over[0] = 1;
	}
	return arg;
}

/* Says whether somebody can allocate. */
static void *prober(void *arg)
{
	for (;; usleep(100)) {
		if (!probe)
			continue;
		probe = 0;
		block = malloc(3000); /* volatile: else the compiler leaves both calls out */
		free(block);
		probed = 1;
	}
	return arg;
}

static pthread_t start(void *(*fn)(void *))
{
	pthread_t t;

	if (pthread_create(&t, NULL, fn, NULL))
		abort();
	return t;
}

/* Until another thread cannot allocate any more. */
static int hold_malloc(void)
{
	static pthread_t t;

	if (!t) {
		start(prober);
		t = start(allocator);
	}
	for (int tries = 0; tries < 1000; tries++) {
		there[0] = 0;
		probed = over[0] = 0;
		freeze = 1;
		while (!there[0]) {
			pthread_kill(t, SIGUSR1);
			usleep(50 + tries % 97);
		}
		probe = 1;
		for (int i = 0; i < 100 && !probed; i++)
			usleep(1000);
		if (!probed)
			return 0;
		if (write(pipes[0][1], "", 1) != 1)
			abort();
		while (!over[0])
			usleep(100);
	}
	return 1;
}

static int release(int i)
{
	if (write(pipes[i][1], "", 1) != 1)
		return 1;
	while (!over[i] || (i == 0 && !probed))
		usleep(1000);
	there[i] = over[i] = 0;
	return 0;
}

static int reached(int i, void *(*fn)(void *))
{
	start(fn);
	while (!there[i])
		usleep(1000);
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	static char line[64], out[16];
	ssize_t n;

	mallopt(M_ARENA_MAX, 1); /* one lock for all */
	sigaction(SIGUSR1, &sa, NULL);
	sa.sa_handler = on_other_signal;
	sigaction(SIGUSR2, &sa, NULL);
	if (argc > 1)
		snprintf(library, sizeof(library), "%s", argv[1]);
	for (int i = 0; i < 3; i++)
		if (pipe(pipes[i]))
			return 1;
	while ((n = read(0, line, sizeof(line) - 1)) > 0) { /* stdio might allocate */
		int v;

		line[n] = 0;
		if (!strncmp(line, "malloc", 6))
			v = hold_malloc();
		else if (!strncmp(line, "dlopen", 6))
			v = reached(1, opener);
		else if (!strncmp(line, "iterate", 7))
			v = reached(2, iterator);
		else if (!strncmp(line, "release", 7))
			v = release(line[8] - '0');
		else
			v = answer(4);
		n = snprintf(out, sizeof(out), "%d\n", v);
		if (write(1, out, (size_t)n) != n)
			return 1;
	}
}
C
target t "$work/tree/prog" "$work/lib/slow.so"
pairs_of() { # WHAT: whole loads and unloads while that lasts
	local i
	for ((i = 0; i < $(full 3 100); i++)); do
		ctl 0 load -v --json --timeout 10 -p "$(p)" "$work/own.klp"
		expect 42 x
		ctl 0 unload -v --json --timeout 10 -p "$(p)" own
		expect_result false .memory_left
		expect 41 x
	done
	alive
	echo "$1: $i pairs"
}
pairs_of "nothing"
expect 0 malloc
pairs_of "inside malloc"
expect 0 release 0
expect 0 iterate
expect 0 malloc
pairs_of "inside malloc and dl_iterate_phdr"
expect 0 release 0
expect 0 release 2
expect 0 dlopen
pairs_of "inside dlopen"
# Its constructor runs: that library is there already, and no part of the patch.
expect 0 malloc
pairs_of "inside malloc and dlopen"
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect 0 release 1
expect 0 release 0
expect 42 x
ctl 0 unload -v --json -p "$(p)" own
expect 41 x
# A second thread, with the patch in place.
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect 0 malloc
expect 42 x
ctl 0 unload -v --json -p "$(p)" own
expect_result false .memory_left
expect 0 release 0
pairs_of "all released"
