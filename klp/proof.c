/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/proof.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KLP_STACK_COPY (64u << 10) /* bytes of stack taken in one read; what lies above is read piecemeal */
#define KLP_TCB_WINDOW 0x1000u     /* the robust list's head is this near to its thread control block */
#define KLP_TLS_SLACK \
	16384u /* TCB, surplus static TLS, alignment: between a thread's first frame and its thread pointer */

struct klp_stack_copy {
	const struct klp_process *p;
	uint64_t low;
	size_t len;
	uint8_t bytes[KLP_STACK_COPY];
};

static int klp_stack_read(void *ctx, uint64_t addr, void *buf, size_t len)
{
	const struct klp_stack_copy *c = ctx;
	struct klp_error ignored = KLP_ERROR_INIT;

	if (addr >= c->low && addr - c->low <= c->len && len <= c->len - (addr - c->low)) {
		memcpy(buf, c->bytes + (addr - c->low), len);
		return 0;
	}
	return klp_process_read(c->p, addr, buf, len, &ignored);
}

uint64_t klp_thread_pointer(struct klp_session *s, pid_t tid)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	uint64_t head = 0, word[KLP_TCB_WINDOW / 8 + 3], at;
	size_t len = 0;

	if (syscall(SYS_get_robust_list, tid, &head, &len) || !head || (head & 7))
		return 0;
	if (s->r.robust_known) {
		at = head - (uint64_t)s->r.robust_delta;
		if (!klp_process_read(&s->p, at, word, 8, &ignored) && word[0] == at)
			return at;
	}
	/* glibc's TCB holds its own address at offsets 0 (the psABI's rule for %fs:0) and 16 (header.self). */
	at = head - KLP_TCB_WINDOW;
	if (klp_process_read(&s->p, at, word, sizeof(word), &ignored)) {
		at = (head & ~4095ull); /* the window may begin below the mapping */
		memset(word, 0, sizeof(word));
		if (klp_process_read(&s->p, at, word, (size_t)(head - at) & ~7ull, &ignored))
			return 0;
	}
	for (size_t i = KLP_TCB_WINDOW / 8; i-- > 0;) {
		uint64_t here = at + i * 8;

		if (here < head && word[i] == here && word[i + 2] == here) {
			s->r.robust_delta = (int64_t)(head - here);
			s->r.robust_known = true;
			return here;
		}
	}
	return 0;
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

static void klp_walk(struct klp_session *s, pid_t tid, const struct klp_unw_regs *regs, uint64_t sp, uint64_t tp,
		     const struct klp_range *range, size_t count, struct klp_proof *out)
{
	static _Thread_local struct klp_stack_copy copy;
	struct klp_unw_thread th = {0};
	struct klp_error ignored = KLP_ERROR_INIT;
	const struct klp_mapping *m = klp_process_mapping(&s->p, sp);
	uint64_t end;

	klp_thread_stack(s, tid == s->p.pid, tp, &th);
	th.stack_low = sp;
	copy.p = &s->p;
	copy.low = sp;
	copy.len = 0;
	end = sp >= th.stack_high || th.stack_high - sp > KLP_STACK_COPY ? sp + KLP_STACK_COPY : th.stack_high + 16;
	if (m && end > m->end)
		end = m->end;
	if (m && end - sp > KLP_STACK_COPY)
		end = sp + KLP_STACK_COPY;
	if (m && end > sp && !klp_process_read(&s->p, sp, copy.bytes, (size_t)(end - sp), &ignored))
		copy.len = (size_t)(end - sp);
	klp_unw_walk(s->space, regs, &th, klp_stack_read, &copy, &out->trace);
	/* The main thread of a process that another thread than its parent's main one has forked: it lives on a copy of
	 * that thread's stack, and ends where that one ends. */
	if (th.main_thread && out->trace.verdict == KLP_UNW_NO_END) {
		klp_thread_stack(s, false, tp ? tp : klp_thread_pointer(s, tid), &th);
		klp_unw_walk(s->space, regs, &th, klp_stack_read, &copy, &out->trace);
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

static bool klp_makes_tasks(long nr)
{
#if defined(SYS_vfork)
	if (nr == SYS_vfork || nr == SYS_fork)
		return true;
#endif
	return nr == SYS_clone || nr == SYS_clone3;
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
	if (calls < 0 || klp_task_syscall_fd(calls, &first)) {
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
	if (klp_makes_tasks(first.nr)) {
		out->verdict = KLP_IN_CLONE;
		goto done;
	}
	regs.pc = first.pc;
	regs.r[7] = first.sp; /* DWARF number of the stack pointer on x86_64 */
	regs.known = 1u << 7;
	klp_walk(s, tid, &regs, first.sp, tid == s->p.pid ? 0 : klp_thread_pointer(s, tid), range, count, out);
	if (klp_task_syscall_fd(calls, &second) || second.running || memcmp(&first, &second, sizeof(first)) ||
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
	klp_walk(s, tid, regs, regs->r[7], thread_pointer, range, count, out);
}
