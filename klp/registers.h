/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers of a stopped thread, and the system call that the stop has interrupted. struct klp_registers is the
 * architecture's (klp/machine.h); so are these functions: arch/<name>/registers.c.
 *
 * An interrupted call is in one of two states: over, with a result, or to be issued again by the kernel when the thread
 * goes on. Some kernels show the second by a result, -ERESTART*, others have put program counter and first argument
 * back already, so that the thread is seen before the instruction that makes the call.
 */
#ifndef KLP_REGISTERS_H
#define KLP_REGISTERS_H

#include "klp/machine.h"
#include "klp/process.h"
#include "klp/runtime/rt.h"
#include "unwind/unwind.h"

/* Do the registers tell all of a call that is over? false: its first argument is in none. */
bool klp_registers_tell_all(void);
/* Can a call of this number be known, so that it may be issued again, if the stop has ended it with EINTR? Where the
 * first argument is to be had nowhere: those that hardly ever differ in that from another call at the same place. */
bool klp_registers_call_is_known(long nr);
/*
 * before: what /proc showed of its system call just before the stop, or NULL: used where the registers do not tell all,
 * and only as far as they agree. false: they cannot be had.
 */
bool klp_registers_get(const struct klp_process *p, pid_t tid, const struct klp_task_syscall *before,
		       struct klp_registers *r);
bool klp_registers_set(pid_t tid, const struct klp_registers *r);

uint64_t klp_registers_pc(const struct klp_registers *r);
uint64_t klp_registers_sp(const struct klp_registers *r);
uint64_t klp_registers_thread_pointer(const struct klp_registers *r);

/* The number of the interrupted call and its arguments; -1: none. */
long klp_registers_call(const struct klp_registers *r, uint64_t arg[6]);
/* The result of a call that is over. */
long klp_registers_result(const struct klp_registers *r);
/* Can a call that is over be issued again, all of its arguments being known? */
bool klp_registers_can_restart(const struct klp_registers *r);
/* The kernel issues the call again. */
bool klp_registers_restarts(const struct klp_registers *r);
/* ... but ends it with EINTR if a handler comes first, whatever its flags. */
bool klp_registers_end_with_handler(const struct klp_registers *r);
/* Does the kernel look behind the stop whether a call that klp_registers_restart has prepared is ended by a handler?
 * false: it has looked before, and whoever hands it a signal at the instruction of the call decides. */
bool klp_registers_kernel_decides(void);
/* ... and knows how much of its timeout is left, in a record that rt_sigreturn takes away. */
bool klp_registers_have_timeout(const struct klp_registers *r);
/* Addresses of the instruction that makes the call, and behind it. */
uint64_t klp_registers_call_at(const struct klp_registers *r);
uint64_t klp_registers_behind_call(const struct klp_registers *r);

/* What klp_registers_set gives to the kernel so that it issues the call again, or ends it if a handler comes first. */
void klp_registers_restart(struct klp_registers *r);
/* The call ends with this result. */
void klp_registers_end_call(struct klp_registers *r, long result);
/* For a signal frame: the thread is before the instruction that makes the call. Back: as klp_registers_restart has it,
 * with the arguments of r. */
void klp_registers_before_call(struct klp_registers *r);
void klp_registers_in_call(struct klp_registers *r, const struct klp_registers *interrupted);
uint64_t klp_registers_argument(const struct klp_registers *r, unsigned arg);
void klp_registers_set_argument(struct klp_registers *r, unsigned arg, uint64_t value);

/* Registers that make a system call at the gadget and go on to the restorer with this stack pointer; others stay. */
void klp_registers_make_call(struct klp_registers *r, long nr, const uint64_t arg[6], uint64_t gadget,
			     uint64_t restorer, uint64_t sp);
/* Registers that enter the image's code for borrowed threads (arch/<name>/borrow.S). sp: 0 stays as it is. */
void klp_registers_enter(struct klp_registers *r, uint64_t pc, uint64_t record, uint64_t sp);

/* All registers of a stopped thread, for the unwinder. */
void klp_registers_for_unwind(const struct klp_registers *r, struct klp_unw_regs *out);
/* Those of the caller of a function that is being entered, from the trampoline's frame at `at` in the target. */
void klp_registers_at_entry(const struct klp_rt_regs *r, uint64_t at, struct klp_unw_regs *out);

/* Is there a thread control block of the C library's at this thread pointer, by what it says itself? */
bool klp_tcb_holds(const struct klp_process *p, uint64_t thread_pointer);
/* The thread pointer of a thread whose robust list begins at head, without asking the thread; 0: not known. */
uint64_t klp_tcb_find(const struct klp_process *p, uint64_t head);

#endif
