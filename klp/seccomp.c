/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/seccomp.h"

#include "klp/machine.h"
#include "klp/runtime/rt.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#define KLP_FILTERS_MAX 64u
#define KLP_PTRACE_GET_FILTER 0x420c /* PTRACE_SECCOMP_GET_FILTER */

struct klp_seccomp_call {
	const char *name;
	long nr;
	uint64_t arg[6];
};

/* Everything that klp executes in a target, with the arguments that filters commonly look at. */
static const struct klp_seccomp_call calls[] = {
    {"mmap (r-x)", SYS_mmap, {0, 0x4000, PROT_READ | PROT_EXEC, 0x104022, ~0ull, 0}},
    {"mmap (rw-)", SYS_mmap, {0, 0x4000, PROT_READ | PROT_WRITE, 0x104022, ~0ull, 0}},
    {"mmap (r--)", SYS_mmap, {0, 0x4000, PROT_READ, 0x104022, ~0ull, 0}},
    {"mmap (---)", SYS_mmap, {0, 0x1000, PROT_NONE, 0x104022, ~0ull, 0}},
    {"munmap", SYS_munmap, {0, 0x4000}},
    {"clone", SYS_clone, {0xd0f00, 0, 0, 0, 0}},
    {"rt_sigpending", SYS_rt_sigpending, {0, 8}},
    {"rt_sigaction", SYS_rt_sigaction, {SIGTERM, 0, 0, 8}},
    {"rt_sigreturn", SYS_rt_sigreturn, {0}},
    {"rt_sigtimedwait", SYS_rt_sigtimedwait, {0, 0, 0, 8}},
    {"prctl", SYS_prctl, {15, 0}},
    {"gettid", SYS_gettid, {0}},
    {"getpid", SYS_getpid, {0}},
    {"getppid", SYS_getppid, {0}},
#ifdef SYS_arch_prctl /* the thread pointer of x86_64; others read a register */
    {"arch_prctl", SYS_arch_prctl, {0x1003, 0}},
#endif
    {"membarrier (register)", SYS_membarrier, {64, 0}},
    {"membarrier", SYS_membarrier, {32, 0}},
    {"exit", SYS_exit, {0}},
};

/* And for shadow variables (klp/runtime/shadow.c): the first by the helper, the others by threads of the program. */
static const struct klp_seccomp_call shadow_calls[] = {
    {"madvise", SYS_madvise, {0, 0x1000, MADV_WIPEONFORK}},
    {"madvise", SYS_madvise, {0, 0x1000, MADV_NOHUGEPAGE}},
    {"rt_sigprocmask", SYS_rt_sigprocmask, {0, 0, 0, 8}},
    {"futex (wait)", SYS_futex, {0, 128, 0, 0}},
    {"futex (wake)", SYS_futex, {0, 129, 1, 0}},
    {"gettid", SYS_gettid, {0}},
};

/* For the page that a fork clears (klp/core.c: klp_core_claim): by the helper. */
static const struct klp_seccomp_call claim_calls[] = {
    {"madvise", SYS_madvise, {0, KLP_OWN_PAGE, MADV_WIPEONFORK}},
};

/* Classic BPF over struct seccomp_data, as the kernel's seccomp_check_filter permits it. ~0: not understood. */
static uint32_t klp_filter_run(const struct sock_filter *f, size_t n, const struct seccomp_data *d)
{
	uint32_t a = 0, x = 0, mem[BPF_MEMWORDS] = {0}, k, word;

	for (size_t pc = 0; pc < n; pc++) {
		k = f[pc].k;
		switch (f[pc].code) {
		case BPF_LD | BPF_W | BPF_ABS:
			if (k > sizeof(*d) - 4 || k & 3)
				return ~0u;
			memcpy(&word, (const char *)d + k, 4);
			a = word;
			break;
		case BPF_LD | BPF_W | BPF_LEN:
			a = sizeof(*d);
			break;
		case BPF_LDX | BPF_W | BPF_LEN:
			x = sizeof(*d);
			break;
		case BPF_LD | BPF_IMM:
			a = k;
			break;
		case BPF_LDX | BPF_IMM:
			x = k;
			break;
		case BPF_LD | BPF_MEM:
			if (k >= BPF_MEMWORDS)
				return ~0u;
			a = mem[k];
			break;
		case BPF_LDX | BPF_MEM:
			if (k >= BPF_MEMWORDS)
				return ~0u;
			x = mem[k];
			break;
		case BPF_ST:
			if (k >= BPF_MEMWORDS)
				return ~0u;
			mem[k] = a;
			break;
		case BPF_STX:
			if (k >= BPF_MEMWORDS)
				return ~0u;
			mem[k] = x;
			break;
		case BPF_ALU | BPF_ADD | BPF_K:
			a += k;
			break;
		case BPF_ALU | BPF_ADD | BPF_X:
			a += x;
			break;
		case BPF_ALU | BPF_SUB | BPF_K:
			a -= k;
			break;
		case BPF_ALU | BPF_SUB | BPF_X:
			a -= x;
			break;
		case BPF_ALU | BPF_MUL | BPF_K:
			a *= k;
			break;
		case BPF_ALU | BPF_MUL | BPF_X:
			a *= x;
			break;
		case BPF_ALU | BPF_DIV | BPF_K:
			if (!k)
				return ~0u;
			a /= k;
			break;
		case BPF_ALU | BPF_DIV | BPF_X:
			if (!x)
				return 0;
			a /= x;
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= k;
			break;
		case BPF_ALU | BPF_AND | BPF_X:
			a &= x;
			break;
		case BPF_ALU | BPF_OR | BPF_K:
			a |= k;
			break;
		case BPF_ALU | BPF_OR | BPF_X:
			a |= x;
			break;
		case BPF_ALU | BPF_XOR | BPF_K:
			a ^= k;
			break;
		case BPF_ALU | BPF_XOR | BPF_X:
			a ^= x;
			break;
		case BPF_ALU | BPF_LSH | BPF_K:
			a = k < 32 ? a << k : 0;
			break;
		case BPF_ALU | BPF_LSH | BPF_X:
			a = x < 32 ? a << x : 0;
			break;
		case BPF_ALU | BPF_RSH | BPF_K:
			a = k < 32 ? a >> k : 0;
			break;
		case BPF_ALU | BPF_RSH | BPF_X:
			a = x < 32 ? a >> x : 0;
			break;
		case BPF_ALU | BPF_NEG:
			a = -a;
			break;
		case BPF_MISC | BPF_TAX:
			x = a;
			break;
		case BPF_MISC | BPF_TXA:
			a = x;
			break;
		case BPF_JMP | BPF_JA:
			pc += k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			pc += a == k ? f[pc].jt : f[pc].jf;
			break;
		case BPF_JMP | BPF_JEQ | BPF_X:
			pc += a == x ? f[pc].jt : f[pc].jf;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			pc += a > k ? f[pc].jt : f[pc].jf;
			break;
		case BPF_JMP | BPF_JGT | BPF_X:
			pc += a > x ? f[pc].jt : f[pc].jf;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			pc += a >= k ? f[pc].jt : f[pc].jf;
			break;
		case BPF_JMP | BPF_JGE | BPF_X:
			pc += a >= x ? f[pc].jt : f[pc].jf;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			pc += a & k ? f[pc].jt : f[pc].jf;
			break;
		case BPF_JMP | BPF_JSET | BPF_X:
			pc += a & x ? f[pc].jt : f[pc].jf;
			break;
		case BPF_RET | BPF_K:
			return k;
		case BPF_RET | BPF_A:
			return a;
		default:
			return ~0u;
		}
	}
	return ~0u;
}

static const struct klp_seccomp_call exit_calls[] = {
    {"exit", SYS_exit, {0}},
};

static const struct {
	const struct klp_seccomp_call *call;
	size_t count;
} sets[] = {
    [KLP_SECCOMP_ALL] = {calls, sizeof(calls) / sizeof(*calls)},
    [KLP_SECCOMP_EXIT] = {exit_calls, sizeof(exit_calls) / sizeof(*exit_calls)},
    [KLP_SECCOMP_SHADOW] = {shadow_calls, sizeof(shadow_calls) / sizeof(*shadow_calls)},
    [KLP_SECCOMP_CLAIM] = {claim_calls, sizeof(claim_calls) / sizeof(*claim_calls)},
};

static int klp_seccomp_check_calls(pid_t tid, const struct klp_seccomp_call *call, size_t count, struct klp_error *e)
{
	struct sock_filter *f = malloc(BPF_MAXINSNS * sizeof(*f));
	unsigned index;
	int rc = 0;

	if (!f)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for a seccomp filter");
	for (index = 0; index < KLP_FILTERS_MAX && !rc; index++) {
		long n = ptrace(KLP_PTRACE_GET_FILTER, tid, (void *)(uintptr_t)index, f);

		if (n < 0 && errno == ENOENT && index)
			break;
		if (n <= 0 || n > BPF_MAXINSNS) {
			rc = klp_fail(e, EPERM, KLP_SECCOMP,
				      "the seccomp filters of thread %d cannot be read (strict mode, or no "
				      "CAP_SYS_ADMIN): refused",
				      tid);
			break;
		}
		for (size_t i = 0; i < count && !rc; i++) {
			struct seccomp_data d = {.nr = (int)call[i].nr, .arch = KLP_HOST_AUDIT};
			uint32_t action;

			for (unsigned k = 0; k < 6; k++)
				d.args[k] = call[i].arg[k];
			action = klp_filter_run(f, (size_t)n, &d);
			if ((action & SECCOMP_RET_ACTION_FULL) != SECCOMP_RET_ALLOW &&
			    (action & SECCOMP_RET_ACTION_FULL) != SECCOMP_RET_LOG)
				rc = klp_fail(e, EPERM, KLP_SECCOMP, "a seccomp filter of thread %d does not allow %s",
					      tid, call[i].name);
		}
	}
	free(f);
	return rc;
}

int klp_seccomp_check(pid_t tid, enum klp_seccomp_calls set, struct klp_error *e)
{
	return klp_seccomp_check_calls(tid, sets[set].call, sets[set].count, e);
}

bool klp_seccomp_waits(pid_t tid, uint64_t word, uint64_t call[7])
{
	const struct klp_seccomp_call waits[] = {
	    {"futex", SYS_futex, {word, FUTEX_WAIT_PRIVATE, 0, 0}},
	    {"ppoll", SYS_ppoll, {0, 0, 0, 0, 8}},
	    {"pselect6", SYS_pselect6, {0, 0, 0, 0, 0, 0}},
	    {"rt_sigtimedwait", SYS_rt_sigtimedwait, {word, 0, 0, 8}},
#ifdef SYS_poll
	    {"poll", SYS_poll, {0, 0, ~0ull}},
	    {"select", SYS_select, {0, 0, 0, 0, 0}},
	    {"pause", SYS_pause, {0}},
#endif
	};

	for (size_t i = 0; i < sizeof(waits) / sizeof(*waits); i++) {
		struct klp_error ignored = KLP_ERROR_INIT;

		if (klp_seccomp_check_calls(tid, &waits[i], 1, &ignored))
			continue;
		call[0] = (uint64_t)waits[i].nr;
		memcpy(call + 1, waits[i].arg, sizeof(waits[i].arg));
		return true;
	}
	return false;
}
