#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A fork's child has copies of the shadow variables: they are its own, klpctl counts and ends them there, and its parent's stay what they were. A
# variable that another thread was making at the fork is made anew in the child.
. "$(dirname "$0")/lib.sh"
begin
own_program '
/^#include <unistd.h>/a\
#include <klp/shadow.h>\
extern int making;\
static int slowly(void *obj, void *data, void *arg)\
{\
	(void)obj;\
	*(long *)data = 7;\
	__atomic_store_n(\&making, 1, __ATOMIC_SEQ_CST);\
	while (!__atomic_load_n((int *)arg, __ATOMIC_SEQ_CST))\
		usleep(1000);\
	return 0;\
}
s/return x + 1;/{ long *v = klp_shadow_get_or_alloc(room, 1, 8, NULL, NULL); return v ? (int)++*v : -1; }/
s/return x + 2;/{ klp_shadow_free_all(1, NULL); klp_shadow_free_all(2, NULL); return x + 3; }/
s/return x + 3 + \*go;/{ long *v = klp_shadow_get_or_alloc(room, 2, 8, slowly, go); return v ? (int)*v : -1; }/
' "-I$root/klp/include" <<'C'
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

char room[16];
int go, making;

__attribute__((noipa)) int next(int x)
{
	return x + 1;
}
__attribute__((noipa)) int drop(int x)
{
	return x + 2;
}
__attribute__((noipa)) int slow(int x, int *go)
{
	return x + 3 + *go;
}
static void *maker(void *arg)
{
	(void)arg;
	return (void *)(long)slow(1, &go);
}

int main(void)
{
	pthread_t t;
	char line[64];
	void *made;

	setvbuf(stdin, NULL, _IONBF, 0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "make\n")) {
			pthread_create(&t, NULL, maker, NULL);
			while (!__atomic_load_n(&making, __ATOMIC_SEQ_CST))
				usleep(1000);
			printf("making\n");
		} else if (!strcmp(line, "made\n")) {
			__atomic_store_n(&go, 1, __ATOMIC_SEQ_CST);
			pthread_join(t, &made);
			printf("%ld\n", (long)made);
		} else if (!strcmp(line, "fork\n")) {
			pid_t pid = fork();

			if (pid) { /* the child answers until it is told to end */
				waitpid(pid, NULL, 0);
				printf("back\n");
				continue;
			}
			go = 1;
			printf("%d\n", getpid());
		} else if (!strcmp(line, "end\n")) {
			_exit(0);
		} else if (!strcmp(line, "slow\n")) {
			printf("%d\n", slow(1, &go));
		} else {
			printf("%d\n", strncmp(line, "drop", 4) ? next(1) : drop(1));
		}
	}
	return 0;
}
C
target t "$work/tree/prog"
expect 2 next
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect 1 next
expect 2 next
expect making make
ask fork
child=$REPLY
[ -d "/proc/$child" ] || die "no child: $child"
expect 3 next
expect 7 slow
[ "$("$klpctl" status --json -p "$child" | jq '.processes[0].shadow_variables')" = 2 ] || die "the child's variables are not counted"
ctl 0 unload -v --json -p "$child" own
expect_result 2 .shadow_variables
ctl 0 load -v --json -p "$child" "$work/own.klp"
expect 4 next
expect 4 drop
ctl 0 unload -v --json -p "$child" own
expect_result false .memory_left
expect back end
# The parent's: the variable itself, and the one that is still being made.
expect 3 next
expect_status 2 .shadow_variables
expect 7 made
expect 4 drop
ctl 0 unload -v --json -p "$(p)" own
expect_result 0 .shadow_variables
expect 2 next
