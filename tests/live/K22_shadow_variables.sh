#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Shadow variables of a live process: get, alloc, get_or_alloc, free and free_all by code of a patch; many threads that ask for one at once get one
# object; a second patch, stacked and alone, finds what the first one made; variables that are left at the last unload keep the runtime there, and
# nothing of klp is left when they are freed.
. "$(dirname "$0")/lib.sh"
begin
# What the patched program does is written beside it; VERSION says which.
own_program 's/^#define VERSION 0/#define VERSION 1/' "-I$root/klp/include" <<'C'
#define VERSION 0
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#if VERSION
#include <klp/shadow.h>
#endif

#define NOINLINE __attribute__((noipa)) /* callers must not know what the original does */
#define THREADS 16
static int object[64];
int made, ended;

#if VERSION
static int begin_value(void *obj, void *data, void *arg)
{
	if (arg && *(long *)arg == -1)
		return -1;
	__atomic_add_fetch(&made, 1, __ATOMIC_SEQ_CST);
	((long *)data)[0] = arg ? *(long *)arg : (int *)obj - object;
	return 0;
}
static void end_value(void *obj, void *data)
{
	(void)obj;
	(void)data;
	__atomic_add_fetch(&ended, 1, __ATOMIC_SEQ_CST);
}
#endif

NOINLINE long do_get(const int *o, long id)
{
#if VERSION == 2
	const long *v = klp_shadow_get(o, (unsigned long)id);
	return v ? *v + 1000 : -2;
#elif VERSION
	const long *v = klp_shadow_get(o, (unsigned long)id);
	return v ? *v : -2;
#else
	return o && id > 9999 ? 1 : -1;
#endif
}
NOINLINE long do_alloc(const int *o, long id, long value)
{
#if VERSION
	const long *v = klp_shadow_alloc(o, (unsigned long)id, 16, begin_value, &value);
	return v ? *v : -2;
#else
	return o && id > 9999 ? value : -1;
#endif
}
NOINLINE void *do_want(const int *o, long id)
{
#if VERSION
	return klp_shadow_get_or_alloc(o, (unsigned long)id, 16, begin_value, NULL);
#else
	return o && id > 9999 ? &made : NULL;
#endif
}
NOINLINE long do_free(const int *o, long id)
{
#if VERSION
	if (o)
		klp_shadow_free(o, (unsigned long)id, end_value);
	else
		klp_shadow_free_all((unsigned long)id, end_value);
	return 0;
#else
	return o && id > 9999 ? 1 : -1;
#endif
}

static pthread_barrier_t gate;
static void *want(void *arg)
{
	static void *got[THREADS][64];
	long me = (long)arg;

	for (int i = 0; i < 64; i++) {
		pthread_barrier_wait(&gate);
		got[me][i] = do_want(&object[i], 5);
	}
	return got[me];
}
/* How many of 64 variables all threads saw as one. */
static int race(void)
{
	pthread_attr_t small; /* the C library keeps such stacks, so that the mappings stay */
	pthread_t t[THREADS];
	void **got[THREADS];
	int same = 0;

	pthread_barrier_init(&gate, NULL, THREADS);
	pthread_attr_init(&small);
	if (pthread_attr_setstacksize(&small, 131072)) /* the least that every machine's allows */
		abort();
	for (long i = 0; i < THREADS; i++)
		pthread_create(&t[i], &small, want, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], (void **)&got[i]);
	pthread_barrier_destroy(&gate);
	for (int i = 0; i < 64; i++) {
		int k = 1;

		while (k < THREADS && got[k][i] && got[k][i] == got[0][i])
			k++;
		same += k == THREADS;
	}
	return same;
}
static int child(void)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(do_get(&object[1], 1) == 11 && do_alloc(&object[9], 1, 3) == 3 && do_get(&object[9], 1) == 3 ? 7 : 1);
	waitpid(pid, &status, 0);
	return status >> 8;
}

int main(void)
{
	char line[128], word[16];
	long o, id, value;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		o = id = value = 0;
		if (sscanf(line, "%15s %ld %ld %ld", word, &o, &id, &value) < 1)
			continue;
		if (!strcmp(word, "get"))
			printf("%ld\n", do_get(&object[o & 63], id));
		else if (!strcmp(word, "alloc"))
			printf("%ld\n", do_alloc(&object[o & 63], id, value));
		else if (!strcmp(word, "want"))
			printf("%s\n", do_want(&object[o & 63], id) ? "yes" : "no");
		else if (!strcmp(word, "free"))
			printf("%ld\n", do_free(o < 0 ? NULL : &object[o & 63], id));
		else if (!strcmp(word, "counts"))
			printf("%d %d\n", made, ended);
		else if (!strcmp(word, "race"))
			printf("%d\n", race());
		else if (!strcmp(word, "child"))
			printf("%d\n", child());
		else
			printf("?\n");
	}
	return 0;
}
C
sed 's/^#define VERSION 0/#define VERSION 2/' "$work/tree/prog.c" >"$work/b/prog.c"
(cd "$work" && diff -u a/prog.c b/prog.c) >"$work/second.diff"
"$klp_build" -s "$work/tree" -b "make KLP_CFLAGS='$klp_cflags'" -t ./prog "$work/second.diff" -o "$work/second.klp" >"$work/log" 2>&1 ||
	die "klp-build: $(tail -3 "$work/log")"
"$klpctl" info --json "$work/own.klp" >"$work/info"
[ "$(jq -c '[.symbols[] | select(.how == "klp") | .name] | sort' "$work/info")" = \
	'["klp_rt_shadow_begin","klp_rt_shadow_end","klp_rt_shadow_get","klp_rt_shadow_next","klp_rt_shadow_take"]' ] ||
	die "the module does not name klp's functions: $(jq -c .symbols "$work/info")"
[ "$(jq -c .escapes "$work/info")" = '[]' ] || die "callbacks escape: $(jq -c .escapes "$work/info")"

target t "$work/tree/prog"
expect -1 get 1 1
expect 0 race
before=$(maps)
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect -2 get 1 1
expect 11 alloc 1 1 11
expect 11 get 1 1
expect -2 alloc 1 1 12
expect yes want 1 1
expect 11 get 1 1
expect '1 0' counts
expect -2 get 2 1
expect -2 get 1 2
expect -2 alloc 1 2 -1
expect -2 get 1 2
expect yes want 2 1
expect 2 get 2 1
expect '2 0' counts
expect 0 free 2 1
expect 0 free 2 1
expect '2 1' counts
expect -2 get 2 1
expect 20 alloc 2 1 20
expect 0 free 2 1
expect '3 2' counts
expect 64 race
expect '67 2' counts
expect 7 child
expect 0 free -1 5
expect '67 66' counts
expect -2 get 3 5
expect_status 1 .shadow_variables

# A second patch finds the variable of the first: stacked, and alone.
ctl 0 load -v --json -p "$(p)" "$work/second.klp"
expect 1011 get 1 1
ctl 0 unload -v --json -p "$(p)" own
expect 1011 get 1 1
ctl 0 unload -v --json -p "$(p)" second
expect -1 get 1 1
# Nobody is there to free it: it stays, and klpctl says so.
expect_result 1 .shadow_variables
expect_result true .memory_left
expect_status 1 .shadow_variables
expect_status 0 '.patches | length'
"$klpctl" status -p "$(p)" | grep -q '1 shadow variables' || die "status does not tell of the variable"
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect 11 get 1 1
expect 0 free 1 1
ctl 0 unload -v --json -p "$(p)" own
expect_result 0 .shadow_variables
expect_result false .memory_left
expect_status 0 .shadow_variables
[ "$(maps)" = "$before" ] || die "mappings are left: $(diff <(echo "$before") <(maps))"
expect -1 get 1 1
