/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that stands at any PC of a site while the site is armed or disarmed goes on correctly. A child calls
 * victim_hammer in a loop; its PC is set by ptrace to entry + offset at the very moment of a call, then single stores
 * are made one by one through /proc/PID/mem, then it goes on. Arguments: M of the build.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#include "harness.h"
#include "victims.h"

static uint64_t (*volatile hammer)(uint64_t) = victim_hammer;

static void child(void)
{
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	_exit((int)hammer(20));
}

static void store(int mem, const struct klp_site_store *st)
{
	uint8_t now[KLP_SITE_STORE_MAX];

	need(pread(mem, now, st->width, (off_t)st->addr) == st->width && !memcmp(now, st->expect, st->width));
	need(pwrite(mem, st->value, st->width, (off_t)st->addr) == st->width);
}

/*
 * Lets a child run until it enters the function, walks it to entry + offset by single steps in a dormant site (or
 * armed, if armed_first), makes `stores` of the two stores, and lets it finish. Returns the function's result.
 */
static int run(const struct klp_site *s, unsigned offset, bool armed_first, size_t stores)
{
	struct klp_site_store st[KLP_SITE_MAX_STORES];
	struct user_regs_struct regs;
	char path[64];
	int mem, status;
	pid_t pid = fork();

	if (!pid)
		child();
	need(pid > 0 && waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = open(path, O_RDWR | O_CLOEXEC);
	need(mem >= 0);
	klp_site_arm_stores(ARCH, s, st);
	need(!ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL));
	for (;;) {
		need(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
		need(!ptrace(PTRACE_GETREGS, pid, NULL, &regs));
		if (regs.rip == s->entry)
			break;
		need(!ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL));
	}
	if (armed_first) {
		store(mem, &st[0]);
		store(mem, &st[1]);
		klp_site_disarm_stores(ARCH, s, st);
	}
	/* There only if an instruction begins there: the NOPs before it do nothing, so standing there is what executing
	 * them means. */
	regs.rip = s->entry + offset;
	need(!ptrace(PTRACE_SETREGS, pid, NULL, &regs));
	for (size_t i = 0; i < stores; i++)
		store(mem, &st[i]);
	need(!ptrace(PTRACE_CONT, pid, NULL, NULL));
	need(waitpid(pid, &status, 0) == pid);
	close(mem);
	if (!WIFEXITED(status)) {
		printf("entry+%u, %zu stores, %s: status %x\n", offset, stores, armed_first ? "disarming" : "arming",
		       status);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		return -1;
	}
	return WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
	static struct world w;
	struct klp_rt_site *r;
	const struct klp_site *s;
	unsigned pad, cases = 0;
	bool two_byte;

	need(argc == 2);
	world_make(&w, 1);
	r = world_add(&w, victim_hammer, (unsigned)atoi(argv[1]));
	r->slot = (uint64_t)victim_hammer_new;
	s = &w.site[0];
	pad = (unsigned)(s->site - s->entry);
	two_byte = s->layout == KLP_SITE_X86_ENTRY0_2BYTE || s->layout == KLP_SITE_X86_ENTRY1_2BYTE ||
		   s->layout == KLP_SITE_X86_ENDBR_2BYTE;
	for (int disarm = 0; disarm < 2; disarm++) {
		for (size_t stores = 0; stores <= 2; stores++) {
			bool armed = disarm ? stores == 0 : stores == 2;

			for (unsigned at = 0; at <= pad + 2; at++) {
				int got, want;

				if (pad == 4 && at > 0 && at < 4)
					continue; /* inside ENDBR64 */
				if (at == pad + 1 && two_byte)
					continue; /* inside the one NOP: nobody can be there */
				got = run(s, at, disarm, stores);
				want =
				    armed && at <= pad ? 62 : 61; /* behind the site's first byte it is the old body */
				if (got != want)
					printf("%s: entry+%u after %zu stores: %d instead of %d\n",
					       disarm ? "disarm" : "arm", at, stores, got, want);
				need(got == want);
				cases++;
			}
		}
	}
	printf("%s: %u cases\n", klp_site_layout_name(s->layout), cases);
	need(cases >= 12);
	world_free(&w);
	return 0;
}
