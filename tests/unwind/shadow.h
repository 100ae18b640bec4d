/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the oracle: where a thread really returns to, from its own calls and returns as the processor executes them, one
 * instruction at a time. Knows nothing of unwind tables.
 */
#ifndef TEST_UNWIND_SHADOW_H
#define TEST_UNWIND_SHADOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A return address and the stack slot that holds it; for a signal: what was interrupted. */
struct shadow_entry {
	uint64_t slot, ra;
	bool signal;
	/* of a signal only: */
	bool switched; /* the handler runs on the alternate stack [alt_low, alt_high) */
	uint64_t alt_low, alt_high;
	uint64_t frame; /* stack pointer at the handler's first instruction */
	size_t below;   /* the next outer signal's place + 1, 0 if there is none */
};

struct shadow {
	struct shadow_entry *at;
	size_t depth, room;
	size_t signal;     /* the innermost signal's place + 1, 0 if there is none */
	unsigned held_for; /* instructions for which a popped return address still counts, for it is in a register */
	unsigned held_reg;
};

/* What of an instruction matters here. */
enum shadow_kind { SHADOW_OTHER, SHADOW_CALL, SHADOW_RET, SHADOW_SYSCALL, SHADOW_PUSH, SHADOW_POP };
struct shadow_insn {
	enum shadow_kind kind;
	unsigned reg; /* of a push or pop */
	bool repeats; /* a string instruction: one step is one of its turns */
};
#define SHADOW_INSN_BYTES 15
void shadow_decode(const uint8_t *code, struct shadow_insn *insn);

typedef int (*shadow_read_fn)(void *ctx, uint64_t addr, void *buf, size_t len);

/* One instruction was executed, between two states of the thread. read: memory behind it. */
void shadow_step(struct shadow *s, const struct shadow_insn *insn, uint64_t sp, uint64_t new_sp, uint64_t new_pc,
		 shadow_read_fn read, void *ctx);
/* The kernel has put the thread, which was at pc (or goes back by a system call instruction to repeat it) with sp, into
 * a handler; frame is the stack pointer now. */
void shadow_signal(struct shadow *s, uint64_t sp, uint64_t pc, uint64_t frame, shadow_read_fn read, void *ctx);
/* rt_sigreturn was executed: *pc and *sp are where it led. false: no handler was known to run. */
bool shadow_sigreturn(struct shadow *s, uint64_t *pc, uint64_t *sp);

/* A frame from before the first instruction that is stepped, outermost first. */
void shadow_append(struct shadow *s, uint64_t slot, uint64_t ra);

void shadow_copy(struct shadow *to, const struct shadow *from);
void shadow_free(struct shadow *s);

/* pc[0] is the thread's own, pc[1...] its callers: are they what the shadow says? */
bool shadow_agrees(const struct shadow *s, const uint64_t *pc, size_t count);

#endif
