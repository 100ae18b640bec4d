/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel (arch/arm64/kernel/signal.c, do_signal) prepares the restart of an interrupted call before it stops the
 * thread: the program counter is at the call's instruction again and x0 is the first argument, and it forgets that
 * there was a call (NT_ARM_SYSTEM_CALL says -1). Only if a handler runs it takes that back, by itself. A call that
 * failed with EINTR is over: behind its instruction, x0 is the result and the first argument is nowhere. So what /proc
 * said just before the stop is taken for it, if stack pointer, program counter, number and the other arguments agree.
 */
#include "klp/registers.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define KLP_INSN 4u
#define KLP_DTV_LOOK 7u
#define KLP_DTV_MAX 65536u
#define KLP_DTV_REACH (1u << 20) /* static TLS and its alignment */
#define KLP_SVC 0xd4000001u
#define KLP_PSTATE_BTYPE \
	(3ull << 10) /* between an indirect branch and its target: of another target it would be checked */

/* The instruction at addr, 0 if it cannot be read. */
static uint32_t klp_insn_at(pid_t tid, uint64_t addr)
{
	long word;

	errno = 0;
	word = ptrace(PTRACE_PEEKTEXT, tid, (void *)(addr & ~7ull), NULL);
	return errno ? 0 : (uint32_t)((uint64_t)word >> (addr & 4) * 8);
}

static bool klp_same_call(const struct klp_task_syscall *before, const struct klp_registers *r)
{
	return before && !before->running && before->nr >= 0 && (uint64_t)before->nr == r->user.x[8] &&
	       before->sp == r->user.sp && !memcmp(before->arg + 1, r->user.x + 1, 5 * sizeof(before->arg[0]));
}

static void klp_find_call(pid_t tid, const struct klp_task_syscall *before, struct klp_registers *r)
{
	bool same = klp_same_call(before, r);

	r->call = -1;
	r->again = false;
	r->arg_known = false;
	memcpy(r->arg, r->user.x, sizeof(r->arg));
	if (same && r->user.pc + KLP_INSN == before->pc && r->user.x[0] == before->arg[0]) {
		r->again = true;
	} else if (same && r->user.pc == before->pc) {
		r->arg[0] = before->arg[0];
		r->arg_known = true;
	} else if (r->user.pc % KLP_INSN) {
		return;
	} else if (klp_insn_at(tid, r->user.pc) == KLP_SVC) {
		/* About to make a call, or to make one again: the same for whoever lets it go on. */
		r->again = true;
	} else if ((int64_t)r->user.x[0] != -EINTR || klp_insn_at(tid, r->user.pc - KLP_INSN) != KLP_SVC) {
		return;
	}
	r->call = (int64_t)(r->user.x[8] & 0xffffffffu);
}

bool klp_registers_get(pid_t tid, const struct klp_task_syscall *before, struct klp_registers *r)
{
	struct iovec user = {&r->user, sizeof(r->user)}, tls = {&r->thread_pointer, sizeof(r->thread_pointer)};

	memset(r, 0, sizeof(*r));
	if (ptrace(PTRACE_GETREGSET, tid, (void *)NT_PRSTATUS, &user) || user.iov_len != sizeof(r->user) ||
	    ptrace(PTRACE_GETREGSET, tid, (void *)NT_ARM_TLS, &tls) || tls.iov_len < sizeof(r->thread_pointer))
		return false;
	klp_find_call(tid, before, r);
	return true;
}

bool klp_registers_set(pid_t tid, const struct klp_registers *r)
{
	struct klp_registers copy = *r;
	struct iovec user = {&copy.user, sizeof(copy.user)};

	return !ptrace(PTRACE_SETREGSET, tid, (void *)NT_PRSTATUS, &user);
}

uint64_t klp_registers_pc(const struct klp_registers *r)
{
	return r->user.pc;
}

uint64_t klp_registers_sp(const struct klp_registers *r)
{
	return r->user.sp;
}

uint64_t klp_registers_thread_pointer(const struct klp_registers *r)
{
	return r->thread_pointer;
}

long klp_registers_call(const struct klp_registers *r, uint64_t arg[6])
{
	memcpy(arg, r->arg, sizeof(r->arg));
	return r->call;
}

long klp_registers_result(const struct klp_registers *r)
{
	return r->again ? 0 : (long)r->user.x[0];
}

bool klp_registers_can_restart(const struct klp_registers *r)
{
	return r->call >= 0 && (r->again || r->arg_known);
}

bool klp_registers_restarts(const struct klp_registers *r)
{
	return r->again;
}

/* The kernel's -ERESTARTNOHAND is not to be seen any more: the calls that return it are these. */
bool klp_registers_end_with_handler(const struct klp_registers *r)
{
	return r->again && (r->call == SYS_ppoll || r->call == SYS_pselect6 || r->call == SYS_rt_sigsuspend);
}

/* The kernel keeps the record to itself and uses it if the thread goes on where it is. */
bool klp_registers_have_timeout(const struct klp_registers *r)
{
	(void)r;
	return false;
}

uint64_t klp_registers_call_at(const struct klp_registers *r)
{
	return r->again ? r->user.pc : r->user.pc - KLP_INSN;
}

uint64_t klp_registers_behind_call(const struct klp_registers *r)
{
	return r->again ? r->user.pc + KLP_INSN : r->user.pc;
}

void klp_registers_restart(struct klp_registers *r)
{
	klp_registers_before_call(r);
}

void klp_registers_end_call(struct klp_registers *r, long result)
{
	r->user.pc = klp_registers_behind_call(r);
	r->user.x[0] = (uint64_t)result;
	r->again = false;
	r->arg_known = true;
}

void klp_registers_before_call(struct klp_registers *r)
{
	r->user.pc = klp_registers_call_at(r);
	if (!r->again)
		r->user.x[0] = r->arg[0];
	r->again = true;
}

/* That is what before_call has made already. */
void klp_registers_in_call(struct klp_registers *r, const struct klp_registers *interrupted)
{
	(void)r;
	(void)interrupted;
}

uint64_t klp_registers_argument(const struct klp_registers *r, unsigned arg)
{
	return r->user.x[arg];
}

void klp_registers_set_argument(struct klp_registers *r, unsigned arg, uint64_t value)
{
	r->user.x[arg] = value;
	r->arg[arg] = value;
}

/* The gadget is svc #0; ret, which returns to x30. */
void klp_registers_make_call(struct klp_registers *r, long nr, const uint64_t arg[6], uint64_t gadget,
			     uint64_t restorer, uint64_t sp)
{
	memcpy(r->user.x, arg, 6 * sizeof(arg[0]));
	r->user.x[8] = (uint64_t)nr;
	r->user.x[30] = restorer;
	r->user.sp = sp;
	r->user.pc = gadget;
	r->user.pstate &= ~KLP_PSTATE_BTYPE;
	r->call = -1;
	r->again = false;
}

void klp_registers_enter(struct klp_registers *r, uint64_t pc, uint64_t record, uint64_t sp)
{
	r->user.pc = pc;
	r->user.x[19] = record;
	r->user.pstate &= ~KLP_PSTATE_BTYPE;
	if (sp)
		r->user.sp = sp;
	r->call = -1;
	r->again = false;
}

/* DWARF numbers: 0 to 30 x0 to x30, 31 sp. */
void klp_registers_for_unwind(const struct klp_registers *r, struct klp_unw_regs *out)
{
	memcpy(out->r, r->user.x, sizeof(r->user.x));
	out->r[31] = r->user.sp;
	out->pc = r->user.pc;
	out->known = 0xffffffffu;
}

/* trampoline.S: the frame begins where the caller's stack pointer is. */
void klp_registers_at_entry(const struct klp_rt_regs *r, uint64_t at, struct klp_unw_regs *out)
{
	memset(out, 0, sizeof(*out));
	out->r[29] = r->fp;
	out->r[31] = at + sizeof(*r);
	out->pc = r->ret;
	out->known = 1ull << 29 | 1ull << 31;
	out->called = true;
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
		if (word[2 + 2 * i] >= thread_pointer + 16 && word[2 + 2 * i] - thread_pointer < KLP_DTV_REACH)
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
		if (klp_is_dtv(p, word[i], from + i * 8))
			return from + i * 8;
	return 0;
}

bool klp_tcb_holds(const struct klp_process *p, uint64_t thread_pointer)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	uint64_t dtv;

	return !klp_process_read(p, thread_pointer, &dtv, sizeof(dtv), &ignored) && klp_is_dtv(p, dtv, thread_pointer);
}
