/* SPDX-License-Identifier: Apache-2.0 */
/*
 * riscv64: register numbers of the RISC-V DWARF Specification (0 to 31: x0 to x31), instructions of epilogues, the
 * kernel's signal frame, and what glibc's clone and clone3 look like. Every one of them with and without the C
 * extension.
 */
#include <elf.h>

#include "unwind/internal.h"

enum { RA = 1, SP = 2, FP = 8, S1 = 9, A0 = 10, S2 = 18 };

#define KLP_HALF 2u
#define KLP_INSN 4u
#define KLP_CLONE_REACH 64u /* bytes between the system call and the child's first instruction */
#define KLP_LEAF_MAX 128u
#define KLP_ECALL 0x00000073u
#define KLP_LI_A7 0x00000893u /* addi a7, x0, the number at bit 20 */
#define KLP_NR_RT_SIGRETURN 139u
#define KLP_NR_CLONE 220u
#define KLP_NR_CLONE3 435u
/* arch/riscv/kernel/signal.c, struct rt_sigframe: siginfo (128 bytes), ucontext with sigcontext at 176 {pc, x1 to x31}
 * of 784 bytes. */
#define KLP_FRAME_PC (128u + 176u)
#define KLP_FRAME_SIZE (KLP_FRAME_PC + 784u)

static uint32_t klp_half(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t klp_insn(const uint8_t *p)
{
	return klp_half(p) | klp_half(p + KLP_HALF) << 16;
}

static int64_t klp_signed(uint32_t v, unsigned bits)
{
	uint32_t sign = 1u << (bits - 1);

	return (int64_t)((v & (2 * sign - 1)) ^ sign) - (int64_t)sign;
}

/* What an instruction adds to the stack pointer: addi sp, sp; c.addi sp; c.addi16sp. */
static int64_t klp_sp_adds(const uint8_t *code, size_t len, size_t *insn)
{
	uint32_t v;

	if (len < KLP_HALF)
		return 0;
	v = klp_half(code);
	*insn = KLP_HALF;
	if ((v & 0xef83u) == 0x0101u)
		return klp_signed((v >> 12 & 1) << 5 | (v >> 2 & 31), 6);
	if ((v & 0xef83u) == 0x6101u)
		return klp_signed((v >> 12 & 1) << 9 | (v >> 6 & 1) << 4 | (v >> 5 & 1) << 6 | (v >> 3 & 3) << 7 |
				      (v >> 2 & 1) << 5,
				  10);
	if (len < KLP_INSN)
		return 0;
	v = klp_insn(code);
	*insn = KLP_INSN;
	return (v & 0xfffffu) == 0x10113u ? klp_signed(v >> 20, 12) : 0;
}

/* Frame pointer and return address, loaded from the stack: ld, c.ldsp and c.ld with the base sp or fp. */
static uint64_t klp_reloads(const uint8_t *code, size_t len, size_t *insn)
{
	const uint64_t which = 1ull << FP | 1ull << RA;
	uint32_t v, base;

	if (len < KLP_HALF)
		return 0;
	v = klp_half(code);
	*insn = KLP_HALF;
	if ((v & 0xe003u) == 0x6002u) /* c.ldsp */
		return 1ull << (v >> 7 & 31) & which;
	if ((v & 0xe003u) == 0x6000u) /* c.ld: of x8 to x15 */
		return (v >> 7 & 7) == FP - 8 ? 1ull << (8 + (v >> 2 & 7)) & which : 0;
	if (len < KLP_INSN)
		return 0;
	v = klp_insn(code);
	*insn = KLP_INSN;
	base = v >> 15 & 31;
	return (v & 0x707fu) == 0x3003u && (base == SP || base == FP) ? 1ull << (v >> 7 & 31) & which : 0;
}

/* arch/riscv/kernel/vdso/rt_sigreturn.S: li a7, #139; ecall. It has no rows but the signal frame's mark. */
static const struct klp_unw_context *klp_signal_context(const uint8_t *code, size_t len)
{
	static const struct klp_unw_context context = {.first = 1,
						       .regs = KLP_FRAME_PC + 8,
						       .count = 31,
						       .sp = KLP_FRAME_PC + 8 * SP,
						       .pc = KLP_FRAME_PC,
						       .size = KLP_FRAME_SIZE};

	return len >= 2 * KLP_INSN && klp_insn(code) == (KLP_LI_A7 | KLP_NR_RT_SIGRETURN << 20) &&
		       klp_insn(code + KLP_INSN) == KLP_ECALL
		   ? &context
		   : NULL;
}

/* Does code behind the system call go to [start, end) when a0 is 0: by beqz a0? */
static bool klp_goes_to(const uint8_t *text, size_t at, size_t limit, uint64_t addr, uint64_t start, uint64_t end)
{
	for (size_t i = at; i + KLP_HALF <= limit; i += KLP_HALF) {
		uint32_t v = klp_half(text + i);
		int64_t rel;
		uint64_t to;

		if ((v & 0xe383u) == 0xc101u) {
			rel = klp_signed((v >> 12 & 1) << 8 | (v >> 10 & 3) << 3 | (v >> 5 & 3) << 6 |
					     (v >> 3 & 3) << 1 | (v >> 2 & 1) << 5,
					 9);
		} else {
			if (i + KLP_INSN > limit)
				return false;
			v = klp_insn(text + i);
			if ((v & 0x01fff07fu) != 0x00050063u)
				continue;
			rel = klp_signed(
			    (v >> 8 & 15) << 1 | (v >> 25 & 63) << 5 | (v >> 7 & 1) << 11 | (v >> 31) << 12, 13);
		}
		to = addr + i + (uint64_t)rel;
		if (to >= start && to < end)
			return true;
	}
	return false;
}

static bool klp_is_call_number(uint32_t v)
{
	return v == (KLP_LI_A7 | KLP_NR_CLONE << 20) || v == (KLP_LI_A7 | KLP_NR_CLONE3 << 20);
}

/* The child of clone or clone3: an indirect call (of the thread's function) in the range, and before it
 * `li a7, clone; ecall` whose zero result leads into the range. */
static bool klp_thread_start(const uint8_t *text, size_t len, uint64_t addr, uint64_t start, uint64_t end)
{
	size_t at, stop, from;
	bool calls = false;

	if (start < addr || end > addr + len || end <= start || end - start > 4096 || (start - addr) % KLP_HALF)
		return false;
	at = (size_t)(start - addr);
	stop = (size_t)(end - addr);
	for (size_t i = at; i + KLP_HALF <= stop; i += KLP_HALF) {
		uint32_t v = klp_half(text + i);

		calls |= (v & 0xf07fu) == 0x9002u && (v >> 7 & 31); /* c.jalr */
		if (i + KLP_INSN <= stop)
			calls |= (klp_insn(text + i) & 0x7fffu) == 0x00e7u; /* jalr ra */
	}
	from = at > KLP_CLONE_REACH ? at - KLP_CLONE_REACH : 0;
	for (size_t i = from; calls && i + 2 * KLP_INSN <= stop; i += KLP_HALF)
		if (klp_is_call_number(klp_insn(text + i)) && klp_insn(text + i + KLP_INSN) == KLP_ECALL &&
		    klp_goes_to(text, i + 2 * KLP_INSN, stop, addr, start, end))
			return true;
	return false;
}

/* jal and c.j, anywhere in bytes: what is none may be taken for one. */
static bool klp_direct_jump(const uint8_t *text, size_t len, size_t at, uint64_t addr, uint64_t *target, uint64_t *ret,
			    bool *links)
{
	uint32_t v = klp_half(text + at);

	*ret = addr + at + KLP_INSN;
	*links = false;
	if ((v & 0xe003u) == 0xa001u) { /* c.j */
		*target = addr + at +
			  (uint64_t)klp_signed((v >> 12 & 1) << 11 | (v >> 11 & 1) << 4 | (v >> 9 & 3) << 8 |
						   (v >> 8 & 1) << 10 | (v >> 7 & 1) << 6 | (v >> 6 & 1) << 7 |
						   (v >> 3 & 7) << 1 | (v >> 2 & 1) << 5,
					       12);
		return true;
	}
	if ((v & 0x7fu) != 0x6fu || len - at < KLP_INSN)
		return false;
	v = klp_insn(text + at);
	*links = (v >> 7 & 31) == RA;
	*target =
	    addr + at +
	    (uint64_t)klp_signed((v & 0xff000u) | (v >> 20 & 1) << 11 | (v >> 21 & 0x3ff) << 1 | (v >> 31) << 20, 21);
	return true;
}

/* Length of an instruction that may stand before the call of a cancellable call's leaf: a load of a word, an operation
 * with a constant, a move, a conditional branch; into neither ra nor sp. 0: another one. */
static size_t klp_leaf_insn(const uint8_t *p, size_t len)
{
	uint32_t v = klp_half(p), rd = v >> 7 & 31;

	if ((v & 3) != 3) {
		if ((v & 0xf003u) == 0x8002u && (v & 0x7cu)) /* c.mv */
			return rd != RA && rd != SP ? KLP_HALF : 0;
		/* c.andi, c.beqz, c.bnez, c.lw */
		return (v & 0xec03u) == 0x8801u || (v & 0xc003u) == 0xc001u || (v & 0xe003u) == 0x4000u ? KLP_HALF : 0;
	}
	if (len < KLP_INSN)
		return 0;
	v = klp_insn(p);
	if ((v & 0x7fu) == 0x63u) /* a branch has no rd */
		return KLP_INSN;
	return ((v & 0x7fu) == 0x13u || (v & 0x707fu) == 0x2003u) && rd != RA && rd != SP ? KLP_INSN : 0;
}

/* sysdeps/unix/sysv/linux/riscv/syscall_cancel.S: lw t1, 0(a0); andi t1, t1, 8; bnez t1, ...; moves; ecall; ret. */
static uint64_t klp_cancel_leaf(const uint8_t *text, size_t len, uint64_t addr, uint64_t start, uint64_t end)
{
	size_t at, stop, n;

	if (start < addr || end > addr + len || end <= start || end - start > KLP_LEAF_MAX || (start - addr) % KLP_HALF)
		return 0;
	at = (size_t)(start - addr);
	stop = (size_t)(end - addr);
	/* The word of the thread's that says whether it is cancelled. */
	if (stop - at < KLP_INSN || (klp_insn(text + at) & 0xfffff07fu) != (0x2003u | A0 << 15))
		return 0;
	for (; at + KLP_INSN + KLP_HALF <= stop; at += n) {
		if (klp_insn(text + at) == KLP_ECALL) {
			at += KLP_INSN;
			return klp_half(text + at) == 0x8082u ||
				       (at + KLP_INSN <= stop && klp_insn(text + at) == 0x00008067u)
				   ? addr + at
				   : 0;
		}
		n = klp_leaf_insn(text + at, stop - at);
		if (!n)
			return 0;
	}
	return 0;
}

const struct klp_unw_arch klp_unw_riscv64 = {
    .machine = EM_RISCV,
    .sp = SP,
    .ra = RA,
    .ra_is_link = true,
    .cfa_register_first = true,
    .red_zone = 0, /* RISC-V ELF psABI: what lies below sp may be overwritten at any time */
    .late_bytes = 64,
    .regs = 32,
    .preserved = 1ull << FP | 1ull << S1 | (0x3ffull << S2), /* s0 to s11 */
    .landing = 0xfull << A0,                                 /* a0 to a3 */
    .sp_adds = klp_sp_adds,
    .reloads = klp_reloads,
    .signal_context = klp_signal_context,
    .cancel_leaf = klp_cancel_leaf,
    .direct_jump = klp_direct_jump,
    .insn_step = KLP_HALF,
    .thread_start = klp_thread_start,
};
