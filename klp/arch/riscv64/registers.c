/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupted calls, and what finds a thread control block: arch/prepared/registers.c. */
#include "klp/arch/prepared/call.h"

#include <string.h>

/* Places in user.x, where x1 is first. */
enum { KLP_TP = 3, KLP_S1 = 8 };

bool klp_registers_call_is_known(long nr)
{
	return nr >= 0;
}

/*
 * It is pt_regs->orig_a0; /proc/PID/task/TID/syscall shows it of any thread that stands (KLP_CALL_NUMBER_OF_ANY). It
 * must be that of the call that was seen, for it is that of rt_sigreturn if a handler has just returned to a call that
 * it had ended.
 */
bool klp_prepared_same_argument(const struct klp_process *p, pid_t tid, const struct klp_task_syscall *before)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_task_syscall now;

	return !klp_task_syscall(p, tid, &now, &ignored) && !now.running && now.nr == before->nr &&
	       now.arg[0] == before->arg[0];
}

bool klp_registers_get(const struct klp_process *p, pid_t tid, const struct klp_task_syscall *before,
		       struct klp_registers *r)
{
	if (!klp_prepared_get(tid, r))
		return false;
	r->thread_pointer = r->user.x[KLP_TP];
	klp_prepared_find_call(p, tid, before, r);
	return true;
}

void klp_registers_make_call(struct klp_registers *r, long nr, const uint64_t arg[6], uint64_t gadget,
			     uint64_t restorer, uint64_t sp)
{
	klp_prepared_make_call(r, nr, arg, gadget, restorer, sp);
}

void klp_registers_enter(struct klp_registers *r, uint64_t pc, uint64_t record, uint64_t sp)
{
	r->user.pc = pc;
	r->user.x[KLP_S1] = record;
	if (sp)
		KLP_REG_SP(r) = sp;
	klp_prepared_forget_call(r);
}

/* DWARF numbers: 0 to 31 x0 to x31. */
void klp_registers_for_unwind(const struct klp_registers *r, struct klp_unw_regs *out)
{
	out->r[0] = 0;
	memcpy(out->r + 1, r->user.x, sizeof(r->user.x));
	out->pc = r->user.pc;
	out->known = 0xffffffffu;
}

/* trampoline.S: the frame begins where the caller's stack pointer is. */
void klp_registers_at_entry(const struct klp_rt_regs *r, uint64_t at, struct klp_unw_regs *out)
{
	memset(out, 0, sizeof(*out));
	out->r[8] = r->fp;
	out->r[2] = at + sizeof(*r);
	out->pc = r->ret;
	out->known = 1ull << 8 | 1ull << 2;
	out->called = true;
}
