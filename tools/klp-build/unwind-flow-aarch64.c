/* SPDX-License-Identifier: Apache-2.0 */
/* aarch64 (Arm ARM DDI 0487, C4.1). A frame's address is moved by few instructions; of all others only what they write
 * matters. */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "unwind-flow.h"

#define KB_REGS 32
#define KB_SP 31u
#define KB_NOP 0xd503201fu
#define KB_CLOBBERED 0x4007ffffu /* x0 to x18, x30: a call does not preserve them */

struct kb_flow_engine {
	bool unused; /* the decoder has no state */
};

static struct kb_flow_engine *kb_flow_open(void)
{
	return calloc(1, sizeof(struct kb_flow_engine));
}

static void kb_flow_close(struct kb_flow_engine *f)
{
	free(f);
}

static int64_t kb_signed(uint32_t w, unsigned at, unsigned bits)
{
	int64_t sign = (int64_t)1 << (bits - 1), field = w >> at & (2 * sign - 1);

	return (field ^ sign) - sign;
}

/* A register of which 31 is the zero register. */
static void kb_write(struct kb_frame_state *s, unsigned reg)
{
	if (reg != KB_SP)
		kb_flow_forget(s, 1u << reg);
}

static void kb_immediate(uint32_t w, struct kb_frame_state *s)
{
	unsigned rd = w & 31, rn = w >> 5 & 31, group = w >> 23 & 7;
	bool flags = w >> 29 & 1;
	int64_t by = (int64_t)(w >> 10 & 0xfff) << (w >> 22 & 1 ? 12 : 0);

	if (group == 2) { /* add, sub */
		if (flags && rd == KB_SP)
			return;
		kb_flow_set(s, (int)rd, w >> 31 ? (int)rn : -1, w >> 30 & 1 ? -by : by);
	} else if (group == 4 && (w >> 29 & 3) != 3) { /* and, orr, eor: 31 is the stack pointer */
		kb_flow_forget(s, 1u << rd);
	} else {
		kb_write(s, rd);
	}
}

static void kb_register(uint32_t w, struct kb_frame_state *s)
{
	unsigned rd = w & 31, rm = w >> 16 & 31;

	if ((w & 0xffe0ffe0u) == 0xaa0003e0u) { /* mov */
		if (rd != KB_SP)
			kb_flow_set(s, (int)rd, rm == KB_SP ? -1 : (int)rm, 0);
	} else if ((w & 0x3fe00000u) == 0x0b200000u) { /* add, sub of an extended register: 31 is the stack pointer */
		kb_flow_forget(s, 1u << rd);
	} else if ((w & 0x1fe00000u) != 0x1a400000u) { /* not ccmp */
		kb_write(s, rd);
	}
}

/* What a base that is changed becomes. */
static void kb_base(struct kb_frame_state *s, uint32_t w, int64_t by)
{
	unsigned rn = w >> 5 & 31;

	kb_flow_set(s, (int)rn, (int)rn, by);
}

static bool kb_memory(uint32_t w, struct kb_frame_state *s)
{
	unsigned rt = w & 31, rt2 = w >> 10 & 31, rs = w >> 16 & 31, size = w >> 30;
	bool vector = w >> 26 & 1, load = w >> 22 & 1;

	if ((w & 0x3b000000u) == 0x18000000u) { /* a literal */
		if (!vector)
			kb_write(s, rt);
	} else if ((w & 0x3a000000u) == 0x28000000u) { /* pairs */
		unsigned shift = vector ? 2 + size : size == 2 ? 3 : 2;

		if (load && !vector) {
			kb_write(s, rt);
			kb_write(s, rt2);
		}
		if (w >> 23 & 1)
			kb_base(s, w, kb_signed(w, 15, 7) * (1 << shift));
	} else if ((w & 0x3b000000u) == 0x39000000u || (w & 0x3b200000u) == 0x38000000u ||
		   (w & 0x3b200c00u) == 0x38200800u) {
		if (!vector && (w >> 22 & 3) && (w & 0xc0c00000u) != 0xc0800000u) /* no store, no prefetch */
			kb_write(s, rt);
		if ((w & 0x3b200400u) == 0x38000400u)
			kb_base(s, w, kb_signed(w, 12, 9));
	} else if ((w & 0x3b200c00u) == 0x38200000u) { /* atomics */
		kb_write(s, rt);
	} else if ((w & 0x3f000000u) == 0x08000000u) { /* exclusive, ordered, compare and swap */
		kb_write(s, rt);
		kb_write(s, rt2);
		kb_write(s, rs);
	} else if ((w & 0xbe000000u) == 0x0c000000u) { /* vectors' structures */
		if (w >> 23 & 1)
			kb_flow_forget(s, 1u << (w >> 5 & 31));
	} else {
		return false;
	}
	return true;
}

static void kb_branch(uint32_t w, uint64_t addr, struct kb_insn *out, struct kb_frame_state *s)
{
	if ((w & 0x7c000000u) == 0x14000000u) { /* b, bl */
		out->flow = w >> 31 ? KB_FLOW_CALL : KB_FLOW_JUMP;
		out->target = addr + (uint64_t)(kb_signed(w, 0, 26) * 4);
	} else if ((w & 0xff000000u) == 0x54000000u || (w & 0x7e000000u) == 0x34000000u) { /* b.cond, cbz */
		out->flow = KB_FLOW_BRANCH;
		out->target = addr + (uint64_t)(kb_signed(w, 5, 19) * 4);
	} else if ((w & 0x7e000000u) == 0x36000000u) { /* tbz */
		out->flow = KB_FLOW_BRANCH;
		out->target = addr + (uint64_t)(kb_signed(w, 5, 14) * 4);
	} else if ((w & 0xfe000000u) ==
		   0xd6000000u) { /* through a register: br, blr, ret, and those that authenticate */
		unsigned opc = w >> 21 & 7;

		out->flow = opc == 1 ? KB_FLOW_CALL : opc == 2 ? KB_FLOW_RETURN : KB_FLOW_END;
	} else if ((w & 0xff000000u) == 0xd4000000u) {
		if ((w & 0xffe0001fu) == 0xd4000001u) /* svc */
			kb_write(s, 0);
		else
			out->flow = KB_FLOW_END;
	} else if ((w & 0xfff00000u) == 0xd5300000u) { /* mrs */
		kb_write(s, w & 31);
	}
	if (out->flow == KB_FLOW_CALL)
		kb_flow_forget(s, KB_CLOBBERED);
}

static bool kb_flow_step(struct kb_flow_engine *f, const uint8_t *code, size_t len, uint64_t addr, struct kb_insn *out,
			 struct kb_frame_state *s)
{
	uint32_t w;

	(void)f;
	if (len < sizeof(w) || addr % sizeof(w))
		return false;
	memcpy(&w, code, sizeof(w));
	*out = (struct kb_insn){.flow = KB_FLOW_NEXT, .len = sizeof(w), .padding = w == KB_NOP || !w};
	switch (w >> 25 & 15) {
	case 8:
	case 9:
		kb_immediate(w, s);
		return true;
	case 10:
	case 11:
		kb_branch(w, addr, out, s);
		return true;
	case 4:
	case 6:
	case 12:
	case 14:
		return kb_memory(w, s);
	case 5:
	case 13:
		kb_register(w, s);
		return true;
	case 7:
	case 15:
		if ((w & 0x5f20fc00u) == 0x1e200000u || (w & 0x5f200000u) == 0x1e000000u ||
		    (w & 0x9fe08400u) == 0x0e000400u) /* may write a general register */
			kb_write(s, w & 31);
		return true;
	default:
		out->flow = KB_FLOW_END;
		return !(w >> 16); /* udf; not the scalable vectors */
	}
}

static const char *const kb_flow_name[KB_REGS] = {
    "x0",  "x1",  "x2",  "x3",  "x4",  "x5",  "x6",  "x7",  "x8",  "x9",  "x10", "x11", "x12", "x13", "x14", "x15",
    "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "x30", "sp"};

const struct kb_flow_arch kb_flow_aarch64 = {
    .machine = EM_AARCH64,
    .regs = KB_REGS,
    .sp = KB_SP,
    .at_return = 0,
    .name = kb_flow_name,
    .open = kb_flow_open,
    .close = kb_flow_close,
    .step = kb_flow_step,
};
