/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reliable stack traces: (registers, memory reader, tables) -> frames and a verdict.
 *
 * A pure library: it knows nothing of processes, ptrace or files, so that every part of it can be tested on arrays.
 * Reliable means: every function that the thread may return to is in the trace, in order (invariant U1). Anything else
 * is refused with a reason from <klp/error.h> (KLP_UNW_*); never a guess, never a frame-pointer fallback, never a loop.
 *
 * Sources of the rules: DWARF 5 section 6.4; LSB 5.0 core-generic chapter 10 (.eh_frame, .eh_frame_hdr);
 * System V ABI x86_64 psABI 3.7 and DWARF for the Arm 64-bit Architecture 2024Q3 (register numbers, RA_SIGN_STATE);
 * signal frames: augmentation 'S'.
 */
#ifndef KLP_UNWIND_H
#define KLP_UNWIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "klp/include/klp/error.h"

#define KLP_UNW_REGS 34 /* DWARF register numbers that are tracked, of the largest architecture */
#define KLP_UNW_MAX_FRAMES 1024
#define KLP_UNW_MAX_OPS 4096 /* CFA instructions executed for one row */
#define KLP_UNW_MAX_EXPR 64  /* steps of the one canonical PLT expression */

/* r[] by DWARF number (x86_64: 6 rbp, 7 rsp, 16 return address column; aarch64: 29 fp, 30 lr, 31 sp); bit n of known
 * says that r[n] holds. pc is separate. With `called` the registers are those behind the return. */
struct klp_unw_regs {
	uint64_t pc;
	uint64_t r[KLP_UNW_REGS];
	uint64_t known;
	bool called; /* pc is a return address: the innermost frame is one that was reached through a call (U4) */
};

/* Reads exactly len bytes of target memory or returns -errno; must refuse what is outside the thread's stack or
 * readable memory. */
typedef int (*klp_unw_read_fn)(void *ctx, uint64_t addr, void *buf, size_t len);

enum klp_unw_range_kind {
	KLP_UNW_RANGE_TRAMPOLINE = 1, /* the entry trampoline, stubs, helper and borrow code: KLP_UNW_IN_TRAMPOLINE */
	KLP_UNW_RANGE_PREFIX,         /* an armed prefix: also KLP_UNW_IN_TRAMPOLINE */
};

/* One frame. `pc` is the raw PC; `lookup` is the address to use for every range test (invariant U4): pc for the
 * innermost frame and above a signal frame, pc - 1 for frames reached through a call. */
struct klp_unw_frame {
	uint64_t pc, lookup, cfa, sp;
	uint64_t fde_start, fde_end; /* the FDE that covers it */
	int object;                  /* index as returned by klp_unw_add_object */
	bool signal;                 /* this frame is a signal trampoline */
};

struct klp_unw_trace {
	enum klp_reason verdict; /* KLP_OK: reliable */
	size_t count;
	size_t frame_no; /* where it failed */
	struct klp_unw_frame frame[KLP_UNW_MAX_FRAMES];
};

/* The table of one address space: objects and special ranges. Not thread-safe; one per process that is looked at. */
struct klp_unw_space;

/* arch: ELF e_machine (EM_X86_64 = 62). NULL when out of memory or unknown. */
struct klp_unw_space *klp_unw_space_new(unsigned arch);
void klp_unw_space_free(struct klp_unw_space *s);

/* What the space must know of an object that is mapped executable. Bytes are copied; addresses are run-time addresses.
 * eh_frame may be NULL/0 (no unwind information: every PC in it is KLP_UNW_NO_ROW). Hostile input: bounds-checked. */
struct klp_unw_object {
	const char *name;              /* for messages; may be NULL */
	uint64_t text_start, text_end; /* [start, end) of its executable segments, one call per object; hull of them */
	const void *eh_frame_hdr;      /* PT_GNU_EH_FRAME */
	size_t eh_frame_hdr_len;
	uint64_t eh_frame_hdr_addr;
	const void *eh_frame;
	size_t eh_frame_len;
	uint64_t eh_frame_addr;
	uint64_t entry;   /* run-time e_entry if this is the main executable, else 0: its FDE is an end (U2) */
	bool libc;        /* its thread start is an end (U2): found by klp_unw_add_object, see text */
	const void *text; /* bytes of [text_start, text_end) when libc is set (to decode clone/clone3), else NULL */
	size_t text_len;
};
/* Returns an index >= 0, or -errno (KLP_TARGET_MEMORY for tables that make no sense; the object is then not added). */
int klp_unw_add_object(struct klp_unw_space *s, const struct klp_unw_object *o, struct klp_error *e);
int klp_unw_add_range(struct klp_unw_space *s, uint64_t start, uint64_t end, enum klp_unw_range_kind kind,
		      struct klp_error *e);
/* Names the function start addresses that are ends by identity; for `klpctl stack` and tests. */
bool klp_unw_is_end(const struct klp_unw_space *s, uint64_t lookup);

/*
 * Walks from *regs. stack_low/stack_high bound this thread's own stack: every CFA lies in it except while the walk is
 * on an alternate signal stack (crossed through the signal frame's saved context). The final CFA must lie at the top of
 * the thread's own stack: stack_high - top_slack <= CFA <= stack_high + 16. For the main thread stack_high is the
 * initial stack pointer (start_stack of /proc/PID/stat) and top_slack 16; for others stack_high is the thread pointer
 * and top_slack the size of static TLS plus a page. main_thread: the end must be the FDE of the executable's entry
 * point; else a thread start. Always returns; the verdict is in t->verdict.
 */
struct klp_unw_thread {
	uint64_t stack_low, stack_high;
	uint64_t top_slack;
	bool main_thread;
};
void klp_unw_walk(const struct klp_unw_space *s, const struct klp_unw_regs *regs, const struct klp_unw_thread *th,
		  klp_unw_read_fn read, void *ctx, struct klp_unw_trace *t);

#endif
