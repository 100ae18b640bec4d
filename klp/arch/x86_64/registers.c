/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/registers.h"

#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>

#define KLP_SYSCALL_LEN 2u /* 0f 05 */
#define KLP_ERESTARTSYS 512
#define KLP_ERESTARTNOHAND 514
#define KLP_ERESTART_RESTARTBLOCK 516
#define KLP_TCB_WINDOW 4096u

bool klp_registers_get(const struct klp_process *p, pid_t tid, const struct klp_task_syscall *before,
		       struct klp_registers *r)
{
	(void)p;
	(void)before;
	return !ptrace(PTRACE_GETREGS, tid, NULL, &r->user);
}

bool klp_registers_set(pid_t tid, const struct klp_registers *r)
{
	return !ptrace(PTRACE_SETREGS, tid, NULL, &r->user);
}

uint64_t klp_registers_pc(const struct klp_registers *r)
{
	return r->user.rip;
}

uint64_t klp_registers_sp(const struct klp_registers *r)
{
	return r->user.rsp;
}

uint64_t klp_registers_thread_pointer(const struct klp_registers *r)
{
	return r->user.fs_base;
}

long klp_registers_call(const struct klp_registers *r, uint64_t arg[6])
{
	const uint64_t a[6] = {r->user.rdi, r->user.rsi, r->user.rdx, r->user.r10, r->user.r8, r->user.r9};

	memcpy(arg, a, sizeof(a));
	return (long)r->user.orig_rax < 0 ? -1 : (long)r->user.orig_rax;
}

long klp_registers_result(const struct klp_registers *r)
{
	return (long)r->user.rax;
}

bool klp_registers_can_restart(const struct klp_registers *r)
{
	return (long)r->user.orig_rax >= 0;
}

bool klp_registers_restarts(const struct klp_registers *r)
{
	long result = (long)r->user.rax;

	return (long)r->user.orig_rax >= 0 && result <= -KLP_ERESTARTSYS && result >= -KLP_ERESTART_RESTARTBLOCK;
}

bool klp_registers_end_with_handler(const struct klp_registers *r)
{
	return (long)r->user.rax == -KLP_ERESTARTNOHAND;
}

/* do_signal() in arch/x86/kernel/signal.c reads orig_ax and ax behind get_signal(). */
bool klp_registers_kernel_decides(void)
{
	return true;
}

bool klp_registers_tell_all(void)
{
	return true;
}

bool klp_registers_call_is_known(long nr)
{
	return nr >= 0;
}

bool klp_registers_have_timeout(const struct klp_registers *r)
{
	return (long)r->user.rax == -KLP_ERESTART_RESTARTBLOCK;
}

uint64_t klp_registers_call_at(const struct klp_registers *r)
{
	return r->user.rip - KLP_SYSCALL_LEN;
}

uint64_t klp_registers_behind_call(const struct klp_registers *r)
{
	return r->user.rip;
}

void klp_registers_restart(struct klp_registers *r)
{
	r->user.rax = (unsigned long long)-KLP_ERESTARTNOHAND;
}

void klp_registers_end_call(struct klp_registers *r, long result)
{
	r->user.rax = (unsigned long long)result;
	r->user.orig_rax = (unsigned long long)-1; /* not to be restarted */
}

void klp_registers_before_call(struct klp_registers *r)
{
	r->user.rip -= KLP_SYSCALL_LEN;
	r->user.rax = r->user.orig_rax;
}

void klp_registers_in_call(struct klp_registers *r, const struct klp_registers *interrupted)
{
	r->user.rip = interrupted->user.rip;
	r->user.rax = interrupted->user.rax;
}

/* Only those that hold a timeout. */
uint64_t klp_registers_argument(const struct klp_registers *r, unsigned arg)
{
	return arg == 3 ? r->user.r10 : r->user.rdx;
}

void klp_registers_set_argument(struct klp_registers *r, unsigned arg, uint64_t value)
{
	if (arg == 3)
		r->user.r10 = value;
	else
		r->user.rdx = value;
}

/*
 * A running thread can be stopped between any two instructions: in a backward copy (DF), while it single-steps itself
 * (TF, whose trap would find every signal blocked), or checks alignment (AC). Its frame restores these flags.
 */
#define FLAGS_NOT_OF_C (1ull << 8 | 1ull << 10 | 1ull << 14 | 1ull << 18) /* TF, DF, NT, AC */

void klp_registers_make_call(struct klp_registers *r, long nr, const uint64_t arg[6], uint64_t gadget,
			     uint64_t restorer, uint64_t sp)
{
	(void)restorer; /* the gadget's `ret` finds it at the stack pointer */
	r->user.orig_rax = (unsigned long long)-1;
	r->user.rax = (unsigned long long)nr;
	r->user.rdi = arg[0];
	r->user.rsi = arg[1];
	r->user.rdx = arg[2];
	r->user.r10 = arg[3];
	r->user.r8 = arg[4];
	r->user.r9 = arg[5];
	r->user.rip = gadget;
	r->user.eflags &= ~FLAGS_NOT_OF_C;
	r->user.rsp = sp;
}

void klp_registers_enter(struct klp_registers *r, uint64_t pc, uint64_t record, uint64_t sp)
{
	r->user.orig_rax = (unsigned long long)-1;
	r->user.rip = pc;
	r->user.eflags &= ~FLAGS_NOT_OF_C;
	r->user.r12 = record;
	if (sp)
		r->user.rsp = sp;
}

/* DWARF numbers of x86_64 (psABI figure 3.36). */
void klp_registers_for_unwind(const struct klp_registers *regs, struct klp_unw_regs *out)
{
	const struct user_regs_struct *r = &regs->user;
	const uint64_t value[16] = {r->rax, r->rdx, r->rcx, r->rbx, r->rsi, r->rdi, r->rbp, r->rsp,
				    r->r8,  r->r9,  r->r10, r->r11, r->r12, r->r13, r->r14, r->r15};

	memcpy(out->r, value, sizeof(value));
	out->pc = r->rip;
	out->known = 0xffff;
}

/* trampoline.S: the return address lies just below where the caller's stack pointer will be. */
void klp_registers_at_entry(const struct klp_rt_regs *r, uint64_t at, struct klp_unw_regs *out)
{
	memset(out, 0, sizeof(*out));
	out->r[6] = r->rbp;
	out->r[7] = at + sizeof(*r);
	out->pc = r->ret;
	out->known = 1u << 6 | 1u << 7;
	out->called = true;
}

/* Word 0 is its own address (the psABI's rule for %fs:0). */
bool klp_tcb_holds(const struct klp_process *p, uint64_t thread_pointer)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	uint64_t word;

	return !klp_process_read(p, thread_pointer, &word, sizeof(word), &ignored) && word == thread_pointer;
}

/* glibc's holds its own address at offsets 0 and 16 (header.self), below the robust list. */
uint64_t klp_tcb_find(const struct klp_process *p, uint64_t head)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	uint64_t word[KLP_TCB_WINDOW / 8 + 3], at = head - KLP_TCB_WINDOW;

	if (klp_process_read(p, at, word, sizeof(word), &ignored)) {
		at = (head & ~4095ull); /* the window may begin below the mapping */
		memset(word, 0, sizeof(word));
		if (klp_process_read(p, at, word, (size_t)(head - at) & ~7ull, &ignored))
			return 0;
	}
	for (size_t i = KLP_TCB_WINDOW / 8; i-- > 0;) {
		uint64_t here = at + i * 8;

		if (here < head && word[i] == here && word[i + 2] == here)
			return here;
	}
	return 0;
}
