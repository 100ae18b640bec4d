#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Memory of shadow variables where the process has limits: a seccomp filter without a call that they need refuses the patch and harms nobody; little
# address space gives less room, and none refuses; a process that locks its memory does not get 64 MiB of locked pages.
. "$(dirname "$0")/lib.sh"
begin
own_program '
/^#include <unistd.h>/a\
#include <klp/shadow.h>
s/return x + 1;/return klp_shadow_get_or_alloc(\&room, 1, 8, NULL, NULL) ? x + 2 : x + 3;/
' "-I$root/klp/include" <<'C'
#include <stddef.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

char room[16];

__attribute__((noipa)) int next(int x)
{
	return x + 1;
}

static void forbid(const char *name)
{
	const unsigned nr = !strcmp(name, "madvise") ? SYS_madvise : !strcmp(name, "rt_sigprocmask") ? SYS_rt_sigprocmask : SYS_mount;
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = {4, f};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p))
		abort();
}

int main(int argc, char **argv)
{
	static char line[64];
	static char out[4096];
	long pages = 0;

	setvbuf(stdout, out, _IOLBF, sizeof(out));
	if (argc > 1 && !strcmp(argv[1], "seccomp"))
		forbid(argv[2]);
	if (argc > 1 && !strcmp(argv[1], "locked") && mlockall(MCL_CURRENT | MCL_FUTURE))
		abort();
	if (argc > 1 && !strcmp(argv[1], "space")) {
		FILE *f = fopen("/proc/self/statm", "r");
		struct rlimit r;

		if (!f || fscanf(f, "%ld", &pages) != 1)
			abort();
		fclose(f);
		r.rlim_cur = r.rlim_max = (rlim_t)(pages * sysconf(_SC_PAGESIZE) + atol(argv[2]) * 1048576);
		setrlimit(RLIMIT_AS, &r);
	}
	while (fgets(line, sizeof(line), stdin))
		printf("%d\n", next(1));
	return 0;
}
C
area() { # bytes of its greatest part: the largest anonymous mapping of such a program
	awk '/^[0-9a-f]+-/ {n = split($1, a, "-"); if ($6 == "" && n == 2) print a[1], a[2]}' "/proc/$(p)/maps" | while read -r a b; do
		echo $((0x$b - 0x$a))
	done | sort -n | tail -1
}

# gettid is needed for every patch
for name in madvise rt_sigprocmask; do
	target "filter-$name" "$work/tree/prog" seccomp $name
	ctl 4 load -v --json -p "$(p)" "$work/own.klp"
	expect_reason SECCOMP
	expect 2 x
	expect_status 0 '.patches | length'
done
target filter "$work/tree/prog" seccomp mount # nobody needs it
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect 3 x

target plain "$work/tree/prog"
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect 3 x
[ "$(area)" -ge $((63 << 20)) ] || die "the area has $(area) bytes"

target little "$work/tree/prog" space 24
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect 3 x
[ "$(area)" -lt $((24 << 20)) ] || die "the area has $(area) bytes"

target locked "$work/tree/prog" locked
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect 3 x
[ "$(area)" -lt $((16 << 20)) ] || die "the area has $(area) bytes"
