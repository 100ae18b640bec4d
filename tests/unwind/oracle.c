/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The oracle: single-steps a program, keeps a shadow stack of what the processor's own calls pushed, and at every
 * instruction asks the unwinder. Its trace must be the shadow stack, or it must say that it does not know. One wrong
 * trace fails the test.
 *
 * usage: oracle [--mutate] STEPS PROGRAM   --mutate: damaged rows, which the oracle must notice.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unwind/space.h"

#define MAX_SHADOW 65536

/* A return address and the stack slot that holds it; for a signal: what was interrupted. */
struct shadow {
	uint64_t slot, ra;
	bool signal;
};
static struct shadow shadow[MAX_SHADOW];
static size_t depth;
static struct klp_unw_trace trace;

static void push(uint64_t slot, uint64_t ra, bool is_signal)
{
	if (depth == MAX_SHADOW)
		test_die("shadow stack");
	shadow[depth++] = (struct shadow){slot, ra, is_signal};
}

static void fill(const struct user_regs_struct *u, struct klp_unw_regs *r)
{
	const uint64_t v[16] = {u->rax, u->rdx, u->rcx, u->rbx, u->rsi, u->rdi, u->rbp, u->rsp,
				u->r8,  u->r9,  u->r10, u->r11, u->r12, u->r13, u->r14, u->r15};

	memset(r, 0, sizeof(*r));
	memcpy(r->r, v, sizeof(v));
	r->known = 0xffff;
	r->pc = u->rip;
}

static bool right(uint64_t pc)
{
	if (trace.count != depth + 1 || trace.frame[0].pc != pc)
		return false;
	for (size_t i = 1; i < trace.count; i++)
		if (trace.frame[i].pc != shadow[depth - i].ra)
			return false;
	return true;
}

static bool is_call(const uint8_t *b)
{
	unsigned i = 0;

	/* notrack, bnd, and the addr32 that the linker pads a relaxed call with; then REX */
	while (i < 4 && (b[i] == 0x3e || b[i] == 0xf2 || b[i] == 0x67))
		i++;
	i += b[i] >= 0x40 && b[i] <= 0x4f;
	return b[i] == 0xe8 || (b[i] == 0xff && ((b[i + 1] >> 3) & 7) == 2);
}

static int step(pid_t pid, int sig)
{
	int status;

	if (ptrace(PTRACE_SINGLESTEP, pid, 0, (long)sig) || waitpid(pid, &status, 0) != pid)
		test_die("step");
	return status;
}

/* To the entry point of the executable, where the shadow stack is empty. */
static void run_to_entry(pid_t pid, struct test_space *s)
{
	struct user_regs_struct u;
	int status;
	long word;

	errno = 0;
	word = ptrace(PTRACE_PEEKTEXT, pid, s->entry, 0);
	if (errno || ptrace(PTRACE_POKETEXT, pid, s->entry, (word & ~0xffL) | 0xcc) || ptrace(PTRACE_CONT, pid, 0, 0) ||
	    waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP)
		test_die("entry");
	if (ptrace(PTRACE_POKETEXT, pid, s->entry, word) || ptrace(PTRACE_GETREGS, pid, 0, &u))
		test_die("entry");
	u.rip = s->entry;
	if (ptrace(PTRACE_SETREGS, pid, 0, &u))
		test_die("entry");
}

int main(int argc, char **argv)
{
	bool mutate = argc > 1 && !strcmp(argv[1], "--mutate");
	uint64_t limit, steps = 0, reliable = 0, wrong = 0, count[KLP_REASON_COUNT] = {0};
	struct user_regs_struct u, before;
	struct test_space s;
	int status;
	pid_t pid;

	argv += mutate;
	argc -= mutate;
	if (argc < 3)
		return 2;
	limit = strtoull(argv[1], NULL, 10);
	pid = fork();
	if (!pid) {
		unsetenv("LD_BIND_NOW");
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		execv(argv[2], argv + 2);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		test_die("exec");
	test_space_build(pid, &s, false);
	run_to_entry(pid, &s);
	klp_unw_space_free(s.space);
	test_space_build(pid, &s, mutate); /* now with the libraries */
	if (ptrace(PTRACE_GETREGS, pid, 0, &u))
		test_die("registers");
	for (int sig = 0; steps < limit; steps++) {
		struct klp_unw_thread th = {u.rsp - 256, s.start_stack, 16, true};
		struct klp_unw_regs regs;
		uint8_t code[16] = {0};
		bool sigreturn;

		fill(&u, &regs);
		klp_unw_walk(s.space, &regs, &th, test_read, &pid, &trace);
		count[trace.verdict]++;
		if (trace.verdict == KLP_OK) {
			reliable++;
			if (!right(u.rip) && wrong++ < 3) {
				printf("wrong at %#llx: %zu frames, shadow %zu\n", u.rip, trace.count, depth + 1);
				for (size_t i = 0; i < trace.count && i <= depth + 4; i++)
					printf("  %#" PRIx64 " shadow %#" PRIx64 "\n", trace.frame[i].pc,
					       i && i <= depth ? shadow[depth - i].ra : 0);
			}
		}
		if (test_read(&pid, u.rip, code, 15))
			memset(code, 0, sizeof(code));
		sigreturn = code[0] == 0x0f && code[1] == 0x05 && u.rax == 15;
		before = u;
		status = step(pid, sig);
		if (!WIFSTOPPED(status))
			break;
		if (ptrace(PTRACE_GETREGS, pid, 0, &u))
			test_die("registers");
		if (sig) {
			uint64_t ra = 0;

			/* The kernel has built the frame: the handler returns to the restorer, and that to what was
			 * interrupted. */
			if (test_read(&pid, u.rsp, &ra, 8))
				test_die("signal frame");
			push(before.rsp, before.rip, true);
			push(u.rsp, ra, false);
			sig = 0;
			continue;
		}
		if (WSTOPSIG(status) != SIGTRAP) {
			sig = WSTOPSIG(status);
			steps--;
			if (u.rip == before.rip)
				continue;
		}
		if (sigreturn) {
			while (depth && !shadow[depth - 1].signal)
				depth--;
			depth -= depth > 0;
		} else if (is_call(code) && u.rsp == before.rsp - 8) {
			uint64_t ra = 0;

			if (test_read(&pid, u.rsp, &ra, 8))
				test_die("call");
			push(u.rsp, ra, false);
		} else if (u.rsp > before.rsp) {
			/* ret, or a jump out of several frames: what lies below the stack pointer is gone. */
			while (depth && shadow[depth - 1].slot < u.rsp &&
			       (!shadow[depth - 1].signal || u.rip != before.rip + 1))
				depth--;
		}
	}
	if (!WIFEXITED(status) && !WIFSIGNALED(status)) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
	}
	printf("%" PRIu64 " steps, %" PRIu64 " reliable (%.2f %%), %" PRIu64 " wrong\n", steps, reliable,
	       steps ? 100.0 * (double)reliable / (double)steps : 0.0, wrong);
	for (unsigned i = 1; i < KLP_REASON_COUNT; i++)
		if (count[i])
			printf("  %s: %" PRIu64 "\n", klp_reason_name((enum klp_reason)i), count[i]);
	klp_unw_space_free(s.space);
	if (mutate)
		return reliable < steps * 9 / 10 || wrong ? 0 : 1;
	return wrong || reliable < steps * 9 / 10 || steps < 1000;
}
