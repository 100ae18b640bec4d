/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel (arch/arm64/kernel/signal.c and arch/riscv/kernel/signal.c, do_signal) prepares the restart of an
 * interrupted call before it stops the thread: the program counter is at the call's instruction again and the first
 * argument is in its register, and it forgets that there was a call. Only if a handler runs it takes that back, by
 * itself. A call that failed with EINTR is over: behind its instruction, the first register is the result and the
 * first argument is in none. So what /proc said just before the stop is taken for it, if stack pointer, program
 * counter, number and the other arguments agree, and it cannot be that of an earlier call: the same instruction may
 * read from two files by turns.
 */
#include "klp/arch/prepared/call.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define KLP_INSN 4u /* of the instruction that makes the call */
#define KLP_DTV_LOOK 7u
#define KLP_DTV_MAX 65536u
#define KLP_DTV_REACH (1u << 20) /* static TLS and its alignment */

bool klp_prepared_get(pid_t tid, struct klp_registers *r)
{
	struct iovec user = {&r->user, sizeof(r->user)};

	memset(r, 0, sizeof(*r));
	return !ptrace(PTRACE_GETREGSET, tid, (void *)NT_PRSTATUS, &user) && user.iov_len == sizeof(r->user);
}

bool klp_registers_set(pid_t tid, const struct klp_registers *r)
{
	struct klp_registers copy = *r;
	struct iovec user = {&copy.user, sizeof(copy.user)};

	return !ptrace(PTRACE_SETREGSET, tid, (void *)NT_PRSTATUS, &user);
}

/* The instruction at addr, 0 if it cannot be read. */
static uint32_t klp_insn_at(pid_t tid, uint64_t addr)
{
	unsigned at = (unsigned)(addr & 7), n = 0;
	uint8_t bytes[16];
	uint32_t insn;
	long word;

	do {
		errno = 0;
		word = ptrace(PTRACE_PEEKTEXT, tid, (void *)((addr & ~7ull) + n), NULL);
		if (errno)
			return 0;
		memcpy(bytes + n, &word, sizeof(word));
		n += 8;
	} while (at + KLP_INSN > n);
	memcpy(&insn, bytes + at, sizeof(insn));
	return insn;
}

/* All but the first argument and the place are the same. */
static bool klp_same_call(const struct klp_task_syscall *before, const struct klp_registers *r)
{
	return !before->running && before->nr >= 0 && (uint64_t)before->nr == KLP_REG_CALL(r) &&
	       before->sp == KLP_REG_SP(r) && !memcmp(before->arg + 1, KLP_REG_ARGS(r) + 1, 5 * sizeof(before->arg[0]));
}

void klp_prepared_find_call(const struct klp_process *p, pid_t tid, const struct klp_task_syscall *before,
			    struct klp_registers *r)
{
	bool same = before && klp_same_call(before, r), failed = (int64_t)KLP_REG_ARGS(r)[0] == -EINTR;

	r->call.nr = -1;
	r->call.again = false;
	r->call.arg_known = false;
	memcpy(r->call.arg, KLP_REG_ARGS(r), sizeof(r->call.arg));
	if (same && KLP_REG_PC(r) + KLP_INSN == before->pc && KLP_REG_ARGS(r)[0] == before->arg[0]) {
		r->call.again = true;
	} else if (same && KLP_REG_PC(r) == before->pc) {
		r->call.arg[0] = before->arg[0];
		r->call.arg_known = failed && klp_prepared_same_argument(p, tid, before);
	} else if (KLP_REG_PC(r) % KLP_INSN_ALIGN) {
		return;
	} else if (klp_insn_at(tid, KLP_REG_PC(r)) == KLP_CALL_INSN) {
		/* About to make a call, or to make one again: the same for whoever lets it go on. */
		r->call.again = true;
	} else if (!failed || klp_insn_at(tid, KLP_REG_PC(r) - KLP_INSN) != KLP_CALL_INSN) {
		return;
	}
	r->call.nr = (int64_t)(KLP_REG_CALL(r) & 0xffffffffu);
}

uint64_t klp_registers_pc(const struct klp_registers *r)
{
	return KLP_REG_PC(r);
}

uint64_t klp_registers_sp(const struct klp_registers *r)
{
	return KLP_REG_SP(r);
}

uint64_t klp_registers_thread_pointer(const struct klp_registers *r)
{
	return r->thread_pointer;
}

long klp_registers_call(const struct klp_registers *r, uint64_t arg[6])
{
	memcpy(arg, r->call.arg, sizeof(r->call.arg));
	return r->call.nr;
}

long klp_registers_result(const struct klp_registers *r)
{
	return r->call.again ? 0 : (long)KLP_REG_ARGS(r)[0];
}

bool klp_registers_can_restart(const struct klp_registers *r)
{
	return r->call.nr >= 0 && (r->call.again || r->call.arg_known);
}

bool klp_registers_restarts(const struct klp_registers *r)
{
	return r->call.again;
}

/* The kernel's -ERESTARTNOHAND is not to be seen any more: the calls that return it are these. */
bool klp_registers_end_with_handler(const struct klp_registers *r)
{
	return r->call.again &&
	       (r->call.nr == SYS_ppoll || r->call.nr == SYS_pselect6 || r->call.nr == SYS_rt_sigsuspend);
}

bool klp_registers_kernel_decides(void)
{
	return false;
}

bool klp_registers_tell_all(void)
{
	return false;
}

/* The kernel keeps the record to itself and uses it if the thread goes on where it is. */
bool klp_registers_have_timeout(const struct klp_registers *r)
{
	(void)r;
	return false;
}

uint64_t klp_registers_call_at(const struct klp_registers *r)
{
	return r->call.again ? KLP_REG_PC(r) : KLP_REG_PC(r) - KLP_INSN;
}

uint64_t klp_registers_behind_call(const struct klp_registers *r)
{
	return r->call.again ? KLP_REG_PC(r) + KLP_INSN : KLP_REG_PC(r);
}

void klp_registers_restart(struct klp_registers *r)
{
	klp_registers_before_call(r);
}

void klp_registers_end_call(struct klp_registers *r, long result)
{
	KLP_REG_PC(r) = klp_registers_behind_call(r);
	KLP_REG_ARGS(r)[0] = (uint64_t)result;
	r->call.again = false;
	r->call.arg_known = true;
}

void klp_registers_before_call(struct klp_registers *r)
{
	KLP_REG_PC(r) = klp_registers_call_at(r);
	if (!r->call.again)
		KLP_REG_ARGS(r)[0] = r->call.arg[0];
	r->call.again = true;
}

/* That is what before_call has made already. */
void klp_registers_in_call(struct klp_registers *r, const struct klp_registers *interrupted)
{
	(void)r;
	(void)interrupted;
}

uint64_t klp_registers_argument(const struct klp_registers *r, unsigned arg)
{
	return KLP_REG_ARGS(r)[arg];
}

void klp_registers_set_argument(struct klp_registers *r, unsigned arg, uint64_t value)
{
	KLP_REG_ARGS(r)[arg] = value;
	r->call.arg[arg] = value;
}

/* The gadget makes a call and returns to the link register. */
void klp_prepared_make_call(struct klp_registers *r, long nr, const uint64_t arg[6], uint64_t gadget, uint64_t restorer,
			    uint64_t sp)
{
	memcpy(KLP_REG_ARGS(r), arg, 6 * sizeof(arg[0]));
	KLP_REG_CALL(r) = (uint64_t)nr;
	KLP_REG_LINK(r) = restorer;
	KLP_REG_SP(r) = sp;
	KLP_REG_PC(r) = gadget;
	klp_prepared_forget_call(r);
}

void klp_prepared_forget_call(struct klp_registers *r)
{
	r->call.nr = -1;
	r->call.again = false;
}

/* glibc's array of the thread's TLS blocks: its length is 16 bytes before it, then {generation}, then an {address} for
 * each module. The C library's own block lies behind the thread pointer. */
static bool klp_is_dtv(const struct klp_process *p, uint64_t dtv, uint64_t thread_pointer)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	uint64_t word[2 + 2 + 2 * KLP_DTV_LOOK];

	if (!dtv || dtv % 16 || dtv >= KLP_USER_END || klp_process_read(p, dtv - 16, word, sizeof(word), &ignored) ||
	    !word[0] || word[0] > KLP_DTV_MAX)
		return false;
	for (size_t i = 1; i <= KLP_DTV_LOOK && i <= word[0]; i++)
		if (word[2 + 2 * i] >= thread_pointer + KLP_TLS_GAP && word[2 + 2 * i] - thread_pointer < KLP_DTV_REACH)
			return true;
	return false;
}

/* The robust list is in glibc's struct pthread, the thread pointer at its end, where the address of that array is. */
uint64_t klp_tcb_find(const struct klp_process *p, uint64_t head)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	uint64_t word[KLP_TCB_MAX / 8], from = (head + 15) & ~15ull;
	size_t len = sizeof(word);

	if (klp_process_read(p, from, word, len, &ignored)) {
		len = (size_t)(-from & 4095); /* the mapping may end with this page */
		if (klp_process_read(p, from, word, len, &ignored))
			return 0;
	}
	for (size_t i = 0; i < len / 8; i += 2)
		if (klp_is_dtv(p, word[i], from + i * 8 + KLP_TCB_DTV))
			return from + i * 8 + KLP_TCB_DTV;
	return 0;
}

bool klp_tcb_holds(const struct klp_process *p, uint64_t thread_pointer)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	uint64_t dtv;

	return !klp_process_read(p, thread_pointer - KLP_TCB_DTV, &dtv, sizeof(dtv), &ignored) &&
	       klp_is_dtv(p, dtv, thread_pointer);
}
