/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupted calls, and what finds a thread control block: arch/prepared/registers.c. */
#include "klp/arch/prepared/call.h"

#include <elf.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define KLP_PSTATE_BTYPE \
	(3ull << 10) /* between an indirect branch and its target: of another target it would be checked */

/*
 * pt_regs->orig_x0 is in no register set, and kernels of today show it nowhere else. The thread may have begun another
 * call since it was looked at. One that waits for its only epoll file is the same call again; one that receives from
 * many sockets would be sent to the wrong one, and fails with EINTR instead, as it does behind SIGSTOP (signal(7)).
 */
bool klp_registers_call_is_known(long nr)
{
	return nr == SYS_epoll_pwait || nr == SYS_epoll_pwait2 || nr == SYS_rt_sigtimedwait;
}

bool klp_prepared_same_argument(const struct klp_process *p, pid_t tid, const struct klp_task_syscall *before)
{
	(void)p;
	(void)tid;
	return klp_registers_call_is_known(before->nr);
}

bool klp_registers_get(const struct klp_process *p, pid_t tid, const struct klp_task_syscall *before,
		       struct klp_registers *r)
{
	struct iovec tls = {&r->thread_pointer, sizeof(r->thread_pointer)};

	if (!klp_prepared_get(tid, r) || ptrace(PTRACE_GETREGSET, tid, (void *)NT_ARM_TLS, &tls) ||
	    tls.iov_len < sizeof(r->thread_pointer))
		return false;
	klp_prepared_find_call(p, tid, before, r);
	return true;
}

/* The gadget is svc #0; ret, which returns to x30. */
void klp_registers_make_call(struct klp_registers *r, long nr, const uint64_t arg[6], uint64_t gadget,
			     uint64_t restorer, uint64_t sp)
{
	klp_prepared_make_call(r, nr, arg, gadget, restorer, sp);
	r->user.pstate &= ~KLP_PSTATE_BTYPE;
}

void klp_registers_enter(struct klp_registers *r, uint64_t pc, uint64_t record, uint64_t sp)
{
	r->user.pc = pc;
	r->user.x[19] = record;
	r->user.pstate &= ~KLP_PSTATE_BTYPE;
	if (sp)
		r->user.sp = sp;
	klp_prepared_forget_call(r);
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
