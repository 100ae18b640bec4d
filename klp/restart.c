/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/restart.h"

#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <time.h>

#include "klp/clock.h"

#define KLP_RESTART_WINDOW (20u << 10)    /* a signal frame with the largest extended state (AMX, 11 KiB) fits */
#define KLP_RESTART_CHUNK 1024u           /* read at once; pages below may not exist */
#define KLP_RESTART_NS 20000000ull        /* a thread that runs and is not in its call by then has left it */
#define KLP_RESTART_LONG_NS 1000000000ull /* a handler runs, or the thread waits for a processor, so long at most */
#define KLP_RESTART_TRIES 8u              /* other signals may be on their way to it */

/*
 * Near each other in a frame's registers (struct sigcontext of asm/sigcontext.h) are the stack pointer of the call and
 * the address of its instruction: KLP_FRAME_SP_TO_PC words from the one to the other. Looks below the red zone; takes
 * them away if told so.
 */
static bool klp_restart_frame(const struct klp_stop *st, bool forget)
{
	enum { APART = KLP_FRAME_SP_TO_PC > 0 ? KLP_FRAME_SP_TO_PC : -KLP_FRAME_SP_TO_PC };
	enum { WORDS = KLP_RESTART_CHUNK / 8 };
	const struct klp_process *p = st->r->p;
	const uint64_t sp = klp_registers_sp(&st->regs), pc = klp_registers_call_at(&st->regs), nothing = 0;
	const uint64_t low = KLP_FRAME_SP_TO_PC > 0 ? sp : pc, high = KLP_FRAME_SP_TO_PC > 0 ? pc : sp;
	uint64_t word[WORDS + APART]; /* the last are the lowest of the chunk above */
	uint64_t top = (sp - KLP_RED_ZONE) & ~7ull;
	struct klp_error ignored = KLP_ERROR_INIT;
	bool found = false;

	memset(word + WORDS, 0, APART * sizeof(word[0]));
	for (uint64_t at = top - KLP_RESTART_CHUNK; at >= top - KLP_RESTART_WINDOW; at -= KLP_RESTART_CHUNK) {
		if (klp_process_read(p, at, word, KLP_RESTART_CHUNK, &ignored))
			break;
		for (size_t i = 0; i < WORDS; i++) {
			if (word[i] != low || word[i + APART] != high)
				continue;
			found = true;
			if (!forget)
				continue;
			klp_process_write(p, at + i * 8, &nothing, sizeof(nothing), &ignored);
			klp_process_write(p, at + (i + APART) * 8, &nothing, sizeof(nothing), &ignored);
		}
		memcpy(word + WORDS, word, APART * sizeof(word[0]));
	}
	return found;
}

static bool klp_restart_waits(const struct klp_stop *st)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_task_syscall s;

	return !klp_task_syscall(st->r->p, st->tid, &s, &ignored) && !s.running && s.nr >= 0 &&
	       s.sp == klp_registers_sp(&st->regs) && s.pc == klp_registers_behind_call(&st->regs);
}

void klp_restart_prepare(const struct klp_stop *st)
{
	klp_restart_frame(st, true);
}

static void klp_restart_mend(struct klp_stop *st)
{
	for (unsigned n = 0; n < KLP_RESTART_TRIES && klp_restart_waits(st); n++) {
		struct klp_error ignored = KLP_ERROR_INIT;
		struct klp_stop again;
		int rc = klp_stop_begin(st->r, st->tid, &again, &ignored);

		if (rc < 0)
			return;
		if (rc) {
			klp_stop_end_with_eintr(&again, klp_registers_sp(&st->regs),
						klp_registers_behind_call(&st->regs));
			return;
		}
	}
}

void klp_restart_watch(struct klp_stop *st)
{
	uint64_t began = klp_clock_now(), from = began, span = KLP_RESTART_NS;
	const struct timespec pause = {0, 5000};
	struct klp_task_runs runs;
	bool counts = !klp_task_runs_open(st->r->p, st->tid, false, &runs);

	while (klp_clock_now() - from < span && klp_clock_now() - began < KLP_RESTART_LONG_NS) {
		/* In this order: a frame is written before the call begins anew. */
		bool waits = klp_restart_waits(st);

		if (klp_restart_frame(st, false)) {
			if (waits) {
				klp_restart_mend(st);
				break;
			}
			span = KLP_RESTART_LONG_NS;
		} else if (waits) {
			break;
		}
		if (counts && klp_task_runs_same(&runs) == 1)
			from = klp_clock_now(); /* it waits for a processor */
		nanosleep(&pause, NULL);
	}
	if (counts)
		klp_task_runs_close(&runs);
}
