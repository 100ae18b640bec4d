/* SPDX-License-Identifier: Apache-2.0 */
/* What instructions do to registers that hold a frame address. Each architecture has a decoder of its own. */
#ifndef KLP_BUILD_UNWIND_FLOW_H
#define KLP_BUILD_UNWIND_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KB_FLOW_REGS 32 /* general registers by their DWARF numbers, of any architecture */

/* Register r holds CFA + off[r] if bit r of known is set. */
struct kb_frame_state {
	uint32_t known;
	int64_t off[KB_FLOW_REGS];
};

enum kb_flow {
	KB_FLOW_NEXT,   /* goes on behind it */
	KB_FLOW_CALL,   /* the same, if what it calls returns */
	KB_FLOW_JUMP,   /* only to the target */
	KB_FLOW_BRANCH, /* to the target or on */
	KB_FLOW_RETURN,
	KB_FLOW_END, /* a jump through a register, a trap */
};

struct kb_insn {
	enum kb_flow flow;
	unsigned len;
	uint64_t target;
	bool padding; /* a NOP or a trap between functions */
};

struct kb_flow_engine;
struct kb_flow_arch {
	uint16_t machine; /* EM_ */
	unsigned regs, sp;
	int64_t at_return; /* what the stack pointer is then, from the frame's beginning */
	const char *const *name;
	struct kb_flow_engine *(*open)(void); /* NULL: no memory */
	void (*close)(struct kb_flow_engine *f);
	/* Decodes the instruction at code (of at most len bytes) and applies it to *s. false: it is not known. */
	bool (*step)(struct kb_flow_engine *f, const uint8_t *code, size_t len, uint64_t addr, struct kb_insn *out,
		     struct kb_frame_state *s);
};
extern const struct kb_flow_arch kb_flow_x86_64, kb_flow_aarch64;

void kb_flow_forget(struct kb_frame_state *s, uint32_t mask);
/* to = from + by, all 64 bits; unknown if from is, or is none (-1). */
void kb_flow_set(struct kb_frame_state *s, int to, int from, int64_t by);
#endif
