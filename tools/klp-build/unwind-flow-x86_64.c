/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind-flow.h"

#include <capstone/capstone.h>
#include <elf.h>
#include <stdlib.h>

#if CS_API_MAJOR < 5
#define KB_X86_UD1 X86_INS_UD2B /* its name in older versions of the library */
#else
#define KB_X86_UD1 X86_INS_UD1
#endif

#define KB_REGS 16
#define KB_FLOW_FP 6
#define KB_FLOW_SP 7

/* What a call does not preserve: rax, rdx, rcx, rsi, rdi, r8 to r11. */
#define KB_FLOW_CLOBBERED (1u << 0 | 1u << 1 | 1u << 2 | 1u << 4 | 1u << 5 | 0xf00u)

/* The disassembler is capstone. */
struct kb_flow_engine {
	csh handle;
	cs_insn *insn;
};

static struct kb_flow_engine *kb_flow_open(void)
{
	struct kb_flow_engine *f = calloc(1, sizeof(*f));

	if (f && cs_open(CS_ARCH_X86, CS_MODE_64, &f->handle) == CS_ERR_OK) {
		cs_option(f->handle, CS_OPT_DETAIL, CS_OPT_ON);
		f->insn = cs_malloc(f->handle);
		if (f->insn)
			return f;
		cs_close(&f->handle);
	}
	free(f);
	return NULL;
}

static void kb_flow_close(struct kb_flow_engine *f)
{
	if (!f)
		return;
	cs_free(f->insn, 1);
	cs_close(&f->handle);
	free(f);
}

/* The general register that a register is or is a part of, by DWARF number; -1: none. *whole: all 64 bits of it. */
static int kb_flow_register(unsigned reg, bool *whole)
{
	static const uint16_t name[KB_REGS][6] = {
	    {X86_REG_RAX, X86_REG_EAX, X86_REG_AX, X86_REG_AL, X86_REG_AH, 0},
	    {X86_REG_RDX, X86_REG_EDX, X86_REG_DX, X86_REG_DL, X86_REG_DH, 0},
	    {X86_REG_RCX, X86_REG_ECX, X86_REG_CX, X86_REG_CL, X86_REG_CH, 0},
	    {X86_REG_RBX, X86_REG_EBX, X86_REG_BX, X86_REG_BL, X86_REG_BH, 0},
	    {X86_REG_RSI, X86_REG_ESI, X86_REG_SI, X86_REG_SIL, 0, 0},
	    {X86_REG_RDI, X86_REG_EDI, X86_REG_DI, X86_REG_DIL, 0, 0},
	    {X86_REG_RBP, X86_REG_EBP, X86_REG_BP, X86_REG_BPL, 0, 0},
	    {X86_REG_RSP, X86_REG_ESP, X86_REG_SP, X86_REG_SPL, 0, 0},
	    {X86_REG_R8, X86_REG_R8D, X86_REG_R8W, X86_REG_R8B, 0, 0},
	    {X86_REG_R9, X86_REG_R9D, X86_REG_R9W, X86_REG_R9B, 0, 0},
	    {X86_REG_R10, X86_REG_R10D, X86_REG_R10W, X86_REG_R10B, 0, 0},
	    {X86_REG_R11, X86_REG_R11D, X86_REG_R11W, X86_REG_R11B, 0, 0},
	    {X86_REG_R12, X86_REG_R12D, X86_REG_R12W, X86_REG_R12B, 0, 0},
	    {X86_REG_R13, X86_REG_R13D, X86_REG_R13W, X86_REG_R13B, 0, 0},
	    {X86_REG_R14, X86_REG_R14D, X86_REG_R14W, X86_REG_R14B, 0, 0},
	    {X86_REG_R15, X86_REG_R15D, X86_REG_R15W, X86_REG_R15B, 0, 0},
	};

	for (int i = 0; i < KB_REGS; i++)
		for (int k = 0; k < 6 && name[i][k]; k++)
			if (name[i][k] == reg) {
				*whole = k == 0;
				return i;
			}
	return -1;
}

/* Everything that the instruction writes becomes unknown. */
static void kb_flow_writes(struct kb_flow_engine *f, struct kb_frame_state *s)
{
	cs_regs read, written;
	uint8_t reads = 0, writes = 0;
	bool whole;

	if (cs_regs_access(f->handle, f->insn, read, &reads, written, &writes) != CS_ERR_OK) {
		s->known = 0;
		return;
	}
	for (uint8_t i = 0; i < writes; i++) {
		int r = kb_flow_register(written[i], &whole);

		if (r >= 0)
			kb_flow_forget(s, 1u << r);
	}
}

static int kb_flow_operand(const cs_x86_op *op)
{
	bool whole = false;
	int r = op->type == X86_OP_REG ? kb_flow_register(op->reg, &whole) : -1;

	return whole ? r : -1;
}

/* Instructions whose result is a frame address if what they begin with is one. false: not one of them. */
static bool kb_flow_address(const cs_insn *in, struct kb_frame_state *s)
{
	const cs_x86 *x = &in->detail->x86;
	const cs_x86_op *op = x->operands;
	int to = x->op_count ? kb_flow_operand(&op[0]) : -1, from;
	bool whole = false;

	switch (in->id) {
	case X86_INS_MOV:
		from = x->op_count == 2 ? kb_flow_operand(&op[1]) : -1;
		if (to < 0 || from < 0)
			return false;
		kb_flow_set(s, to, from, 0);
		return true;
	case X86_INS_ADD:
	case X86_INS_SUB:
		if (to < 0 || x->op_count != 2 || op[1].type != X86_OP_IMM)
			return false;
		if (op[1].imm < INT32_MIN || op[1].imm > INT32_MAX)
			kb_flow_forget(s, 1u << to);
		else
			kb_flow_set(s, to, to, in->id == X86_INS_ADD ? op[1].imm : -op[1].imm);
		return true;
	case X86_INS_LEA:
		if (to < 0 || x->op_count != 2 || op[1].type != X86_OP_MEM || op[1].mem.index != X86_REG_INVALID ||
		    op[1].mem.segment != X86_REG_INVALID)
			return false;
		from = kb_flow_register(op[1].mem.base, &whole);
		kb_flow_set(s, to, whole ? from : -1, op[1].mem.disp);
		return true;
	default:
		return false;
	}
}

/* The stack's own instructions. */
static bool kb_flow_stack(const cs_insn *in, struct kb_frame_state *s)
{
	const cs_x86 *x = &in->detail->x86;
	int64_t size = x->op_count && x->operands[0].size == 2 ? 2 : 8;
	bool whole = false;
	int to;

	switch (in->id) {
	case X86_INS_PUSH:
		/* An immediate is extended to 8 bytes, whatever its own size. */
		kb_flow_set(s, KB_FLOW_SP, KB_FLOW_SP, x->operands[0].type == X86_OP_IMM ? -8 : -size);
		return true;
	case X86_INS_PUSHFQ:
		kb_flow_set(s, KB_FLOW_SP, KB_FLOW_SP, -8);
		return true;
	case X86_INS_POPFQ:
		kb_flow_set(s, KB_FLOW_SP, KB_FLOW_SP, 8);
		return true;
	case X86_INS_POP:
		kb_flow_set(s, KB_FLOW_SP, KB_FLOW_SP, size);
		to = x->operands[0].type == X86_OP_REG ? kb_flow_register(x->operands[0].reg, &whole) : -1;
		if (to >= 0)
			kb_flow_forget(s, 1u << to);
		return true;
	case X86_INS_LEAVE:
		kb_flow_set(s, KB_FLOW_SP, KB_FLOW_FP, 8);
		kb_flow_forget(s, 1u << KB_FLOW_FP);
		return true;
	default:
		return false;
	}
}

/* Where control goes; the target of a direct jump or call. */
static enum kb_flow kb_flow_kind(struct kb_flow_engine *f, const cs_insn *in, uint64_t *target)
{
	const cs_x86 *x = &in->detail->x86;
	bool direct = x->op_count == 1 && x->operands[0].type == X86_OP_IMM;

	*target = direct ? (uint64_t)x->operands[0].imm : 0;
	if (cs_insn_group(f->handle, in, CS_GRP_CALL))
		return KB_FLOW_CALL;
	if (cs_insn_group(f->handle, in, CS_GRP_RET))
		return KB_FLOW_RETURN;
	switch (in->id) {
	case X86_INS_HLT:
	case X86_INS_UD0:
	case X86_INS_UD2:
	case KB_X86_UD1:
	case X86_INS_INT3:
		return KB_FLOW_END;
	case X86_INS_JMP:
		return direct ? KB_FLOW_JUMP : KB_FLOW_END;
	case X86_INS_XBEGIN:
		return KB_FLOW_BRANCH;
	case X86_INS_LOOP:
	case X86_INS_LOOPE:
	case X86_INS_LOOPNE:
		return KB_FLOW_BRANCH;
	default:
		return cs_insn_group(f->handle, in, CS_GRP_JUMP) ? direct ? KB_FLOW_BRANCH : KB_FLOW_END : KB_FLOW_NEXT;
	}
}

static bool kb_flow_step(struct kb_flow_engine *f, const uint8_t *code, size_t len, uint64_t addr, struct kb_insn *out,
			 struct kb_frame_state *s)
{
	const cs_insn *in = f->insn;
	uint64_t at = addr;

	if (!cs_disasm_iter(f->handle, &code, &len, &at, f->insn))
		return false;
	out->len = in->size;
	out->flow = kb_flow_kind(f, in, &out->target);
	out->padding = in->id == X86_INS_NOP || in->id == X86_INS_INT3 || in->id == X86_INS_ENDBR64;
	if (out->flow == KB_FLOW_CALL) {
		/* "call 1f; 1: pop" reads the program counter. */
		if (out->target == addr + out->len) {
			kb_flow_set(s, KB_FLOW_SP, KB_FLOW_SP, -8);
			out->flow = KB_FLOW_NEXT;
			return true;
		}
		kb_flow_forget(s, KB_FLOW_CLOBBERED);
	} else if (out->flow == KB_FLOW_NEXT && !kb_flow_stack(in, s) && !kb_flow_address(in, s)) {
		kb_flow_writes(f, s);
	} else if (out->flow == KB_FLOW_BRANCH && in->id != X86_INS_XBEGIN) {
		kb_flow_writes(f, s);
	}
	return true;
}

static const char *const kb_flow_name[KB_REGS] = {"rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp",
						  "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

const struct kb_flow_arch kb_flow_x86_64 = {
    .machine = EM_X86_64,
    .regs = KB_REGS,
    .sp = KB_FLOW_SP,
    .at_return = -8, /* the return address lies there */
    .name = kb_flow_name,
    .open = kb_flow_open,
    .close = kb_flow_close,
    .step = kb_flow_step,
};
