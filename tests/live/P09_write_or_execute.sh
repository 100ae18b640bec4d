#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A process that may never have memory that is both writable and executable, nor make it executable later: PR_SET_MDWE, and the filter that service managers install
# for MemoryDenyWriteExecute. Patched all the same; no mapping has both rights at any time.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/VERSION 1/VERSION 2/' <<'C'
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#endif
#define VERSION 1

static int pipes[2];
static volatile int go, inside;

__attribute__((noipa)) int answer(int x)
{
	return x * 10 + VERSION;
}

__attribute__((noipa)) int sleeper(void)
{
	char c;

	inside = 1;
	while (read(pipes[0], &c, 1) != 1)
		;
	return 100 * VERSION;
}

static void *sleep_thread(void *arg)
{
	for (;;) {
		while (!go)
			usleep(500);
		go = 0;
		sleeper();
	}
	return arg;
}

/* mprotect with PROT_EXEC; mmap with PROT_WRITE and PROT_EXEC: the process is ended. */
static int filter(void)
{
	struct sock_filter code[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 3),
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
	    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 4, 0),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 4),
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
	    BPF_STMT(BPF_ALU | BPF_AND | BPF_K, PROT_WRITE | PROT_EXEC),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PROT_WRITE | PROT_EXEC, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {sizeof(code) / sizeof(*code), code};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? errno : syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog) ? errno : 0;
}

/* 1: it is really so. */
static int is_denied(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p != MAP_FAILED && mprotect(p, 4096, PROT_READ | PROT_EXEC) && errno == EACCES;
}

int main(int argc, char **argv)
{
	char line[64];
	pthread_t t;
	int rc = 0;

	if (pipe(pipes) || pthread_create(&t, NULL, sleep_thread, NULL))
		return 1;
	if (argc > 1 && !strcmp(argv[1], "mdwe"))
		rc = prctl(PR_SET_MDWE, 1, 0, 0, 0) ? errno : is_denied() ? 0 : -1;
	else if (argc > 1)
		rc = filter();
	while (fgets(line, sizeof(line), stdin)) {
		if (!strncmp(line, "how", 3))
			printf("%d\n", rc);
		else if (!strncmp(line, "sleep", 5)) {
			inside = 0;
			go = 1;
			while (!inside)
				usleep(500);
			printf("0\n");
		} else if (!strncmp(line, "wake", 4))
			printf("%d\n", (int)write(pipes[1], "", 1));
		else
			printf("%d\n", answer(4));
		fflush(stdout);
	}
}
C
never_both() {
	awk '$2 ~ /wx/' "/proc/$(p)/maps" >"$work/both"
	[ ! -s "$work/both" ] || die "writable and executable: $(cat "$work/both")"
}
for how in mdwe filter; do
	target $how "$work/tree/prog" $how
	ask how
	if [ "$REPLY" = 22 ] && [ $how = mdwe ]; then
		echo "NOTE: this kernel has no PR_SET_MDWE"
		continue
	fi
	[ "$REPLY" = 0 ] || die "$how cannot be set up: $REPLY"
	before=$(maps)
	for _ in 1 2 3; do
		expect 0 sleep
		ctl 5 load -v --json --timeout 0.15 -p "$(p)" "$work/own.klp"
		never_both
		expect 42 x
		expect 1 wake
		ctl 0 load -v --json -p "$(p)" "$work/own.klp"
		never_both
		expect 42 x
		expect 0 sleep
		ctl 5 unload -v --json --timeout 0.15 -p "$(p)" own
		never_both
		expect 1 wake
		ctl 0 unload -v --json -p "$(p)" own
		expect 41 x
	done
	[ "$(maps)" = "$before" ] || die "$how: mappings before: $before; after: $(maps)"
done
