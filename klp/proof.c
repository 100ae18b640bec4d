/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/proof.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "klp/callclass.h"
#include "klp/registers.h"

#define KLP_STACK_COPY (64u << 10) /* bytes of stack taken in one read; what lies above is read piecemeal */
#define KLP_TLS_SLACK \
	16384u /* TCB, surplus static TLS, alignment: between a thread's first frame and its thread pointer */

struct klp_stack_copy {
	const struct klp_process *p;
	uint64_t low;
	size_t len;
	const uint8_t *bytes;
	bool picture; /* of a thread that goes on running: its memory of now says nothing */
};

/* Nobody writes there. */
static bool klp_is_text(const struct klp_process *p, uint64_t addr, size_t len)
{
	const struct klp_mapping *m = klp_process_mapping(p, addr);

	return m && (m->prot & PROT_EXEC) && !(m->prot & PROT_WRITE) && len <= m->end - addr;
}

static int klp_stack_read(void *ctx, uint64_t addr, void *buf, size_t len)
{
	const struct klp_stack_copy *c = ctx;
	struct klp_error ignored = KLP_ERROR_INIT;

	if (addr >= c->low && addr - c->low <= c->len && len <= c->len - (addr - c->low)) {
		memcpy(buf, c->bytes + (addr - c->low), len);
		return 0;
	}
	if (c->picture && !klp_is_text(c->p, addr, len))
		return -EFAULT;
	return klp_process_read(c->p, addr, buf, len, &ignored);
}

uint64_t klp_thread_pointer(struct klp_session *s, pid_t tid)
{
	uint64_t head = 0, at;
	size_t len = 0;

	if (syscall(SYS_get_robust_list, tid, &head, &len) || !head || (head & 7))
		return 0;
	if (s->r.robust_known) {
		at = head - (uint64_t)s->r.robust_delta;
		if (klp_tcb_holds(&s->p, at))
			return at;
	}
	at = klp_tcb_find(&s->p, head);
	if (at) {
		s->r.robust_delta = (int64_t)(head - at);
		s->r.robust_known = true;
	}
	return at;
}

/* Where a thread's own stack ends (invariant U2). stack_high = 0 if that is unknown: no walk then ends reliably. */
static void klp_thread_stack(struct klp_session *s, bool main_thread, uint64_t tp, struct klp_unw_thread *th)
{
	th->main_thread = main_thread;
	if (main_thread) {
		th->stack_high = s->p.start_stack;
		th->top_slack = 16;
		return;
	}
	th->stack_high = tp;
	th->top_slack = KLP_TLS_SLACK;
	for (size_t i = 0; i < s->p.object_count; i++)
		th->top_slack += s->p.object[i].tls_memsz + s->p.object[i].tls_align;
}

static bool klp_in_ranges(uint64_t addr, const struct klp_range *range, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (addr >= range[i].start && addr < range[i].end)
			return true;
	return false;
}

static void klp_walk(struct klp_session *s, pid_t tid, const struct klp_unw_regs *regs, uint64_t tp,
		     struct klp_stack_copy *copy, const struct klp_range *range, size_t count, struct klp_proof *out)
{
	struct klp_unw_thread th = {0};

	klp_thread_stack(s, tid == s->p.pid, tp, &th);
	th.stack_low = copy->low;
	klp_unw_walk(s->space, regs, &th, klp_stack_read, copy, &out->trace);
	/* The main thread of a process that another thread than its parent's main one has forked: it lives on a copy of
	 * that thread's stack, and ends where that one ends. */
	if (th.main_thread && out->trace.verdict == KLP_UNW_NO_END) {
		klp_thread_stack(s, false, tp ? tp : klp_thread_pointer(s, tid), &th);
		klp_unw_walk(s->space, regs, &th, klp_stack_read, copy, &out->trace);
	}
	out->verdict = out->trace.verdict;
	if (out->verdict != KLP_OK) {
		if (out->trace.frame_no < out->trace.count)
			out->function = out->trace.frame[out->trace.frame_no].pc;
		else if (out->trace.count)
			out->function = out->trace.frame[out->trace.count - 1].pc;
		/* A function being left that was seen on the way says more than where the walk ended. */
	}
	for (size_t i = 0; i < out->trace.count; i++) {
		const struct klp_unw_frame *f = &out->trace.frame[i];

		/* Both rules of U4 are in `lookup`; the raw pc of the innermost frame is the same there. */
		if (!klp_in_ranges(f->lookup, range, count))
			continue;
		out->verdict = KLP_ON_STACK;
		out->function = f->lookup;
		return;
	}
}

/* The same over the stack as it is now, of a thread that does not run. */
static void klp_walk_now(struct klp_session *s, pid_t tid, const struct klp_unw_regs *regs, uint64_t sp, uint64_t tp,
			 const struct klp_range *range, size_t count, struct klp_proof *out)
{
	static _Thread_local uint8_t bytes[KLP_STACK_COPY];
	struct klp_stack_copy copy = {.p = &s->p, .low = sp, .bytes = bytes};
	uint64_t high = tid == s->p.pid ? s->p.start_stack : tp, end;
	const struct klp_mapping *m = klp_process_mapping(&s->p, sp);
	struct klp_error ignored = KLP_ERROR_INIT;

	end = sp >= high || high - sp > KLP_STACK_COPY ? sp + KLP_STACK_COPY : high + 16;
	if (m && end > m->end)
		end = m->end;
	if (m && end - sp > KLP_STACK_COPY)
		end = sp + KLP_STACK_COPY;
	if (m && end > sp && !klp_process_read(&s->p, sp, bytes, (size_t)(end - sp), &ignored))
		copy.len = (size_t)(end - sp);
	klp_walk(s, tid, regs, tp, &copy, range, count, out);
}

/* A kernel without schedstat is asked once. */
static int klp_runs_open(struct klp_session *s, pid_t tid, struct klp_task_runs *r)
{
	int rc = klp_task_runs_open(&s->p, tid, s->no_schedstat, r);

	if (rc && rc != -ESRCH && !s->no_schedstat) {
		rc = klp_task_runs_open(&s->p, tid, true, r);
		s->no_schedstat = rc == 0;
	}
	return rc;
}

/* A thread that the kernel made for a ring polls all the time: it is seen running like any other, and is in nobody's
 * code. */
static void klp_prove_running(struct klp_session *s, pid_t tid, struct klp_proof *out)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_task_info info;

	out->kernel_made = !klp_task_info(&s->p, tid, &info, &ignored) && klp_task_is_kernel_made(&info);
	out->running = !out->kernel_made;
	out->verdict = out->kernel_made ? KLP_OK : KLP_RUNNING;
}

/* Outside a call: a kernel-made task or a zombie has no user context. A thread in a page fault, frozen or stopped
 * answers with an arbitrary user PC: any frame of it may be incomplete, so its registers would be needed. */
static void klp_prove_contextless(struct klp_session *s, pid_t tid, struct klp_proof *out)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_task_info info;

	out->verdict = KLP_UNW_REG_UNKNOWN;
	if (klp_task_info(&s->p, tid, &info, &ignored))
		return;
	if (info.state == 'Z' || info.state == 'X') {
		out->gone = true;
	} else if (klp_task_is_kernel_made(&info)) {
		out->kernel_made = true;
		out->verdict = KLP_OK;
	}
}

void klp_prove_blocked(struct klp_session *s, pid_t tid, const struct klp_range *range, size_t count,
		       struct klp_proof *out)
{
	struct klp_task_syscall first, second;
	struct klp_unw_regs regs = {0};
	struct klp_task_runs runs;
	char path[64];
	int calls = -1;

	memset(&first, 0, sizeof(first)); /* they are compared as memory */
	memset(&second, 0, sizeof(second));
	memset(out, 0, offsetof(struct klp_proof, trace));
	out->trace.count = 0;
	out->verdict = KLP_UNW_CHANGED;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", s->p.pid, tid);
	if (klp_runs_open(s, tid, &runs)) {
		out->gone = access(path, F_OK) != 0;
		return;
	}
	calls = open(path, O_RDONLY | O_CLOEXEC);
	if (calls < 0 || klp_task_syscall_fd(&s->p, calls, &first)) {
		out->gone = access(path, F_OK) != 0;
		goto done;
	}
	if (first.running) {
		klp_prove_running(s, tid, out);
		goto done;
	}
	if (first.nr < 0 || first.pc == 0) {
		klp_prove_contextless(s, tid, out);
		goto done;
	}
	if (klp_call_makes_tasks(first.nr)) {
		out->verdict = KLP_IN_CLONE;
		goto done;
	}
	out->call = first.nr;
	regs.pc = first.pc;
	regs.r[KLP_DWARF_SP] = first.sp;
	regs.known = 1ull << KLP_DWARF_SP;
	klp_walk_now(s, tid, &regs, first.sp, tid == s->p.pid ? 0 : klp_thread_pointer(s, tid), range, count, out);
	if (klp_task_syscall_fd(&s->p, calls, &second) || second.running || memcmp(&first, &second, sizeof(first)) ||
	    klp_task_runs_same(&runs) != 1) {
		out->running = second.running;
		out->verdict = KLP_UNW_CHANGED;
	}
done:
	if (calls >= 0)
		close(calls);
	klp_task_runs_close(&runs);
}

void klp_prove_registers(struct klp_session *s, pid_t tid, const struct klp_unw_regs *regs, uint64_t thread_pointer,
			 const struct klp_range *range, size_t count, struct klp_proof *out)
{
	memset(out, 0, offsetof(struct klp_proof, trace));
	out->trace.count = 0;
	klp_walk_now(s, tid, regs, regs->r[KLP_DWARF_SP], thread_pointer, range, count, out);
}

void klp_prove_sample(struct klp_session *s, pid_t tid, const struct klp_sample *sample, const struct klp_range *range,
		      size_t count, struct klp_proof *out)
{
	struct klp_stack_copy copy = {.p = &s->p,
				      .low = sample->regs.r[KLP_DWARF_SP],
				      .len = sample->len,
				      .bytes = sample->stack,
				      .picture = true};

	memset(out, 0, offsetof(struct klp_proof, trace));
	out->trace.count = 0;
	klp_walk(s, tid, &sample->regs, tid == s->p.pid ? 0 : klp_thread_pointer(s, tid), &copy, range, count, out);
}
