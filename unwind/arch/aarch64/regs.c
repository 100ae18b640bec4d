/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aarch64: register numbers of "DWARF for the Arm 64-bit Architecture", instructions of epilogues, the kernel's signal
 * frame, and what glibc's clone and clone3 look like.
 */
#include <elf.h>
#include <string.h>

#include "unwind/internal.h"

enum { X19 = 19, FP = 29, LR = 30, SP = 31 };

#define KLP_INSN 4u
#define KLP_CLONE_REACH 128u /* bytes between the system call and the child's first instruction */
#define KLP_SVC 0xd4000001u
/* Linux places user code below 2^48; a code of PAC lies above (CONFIG_ARM64_VA_BITS of 48 and more). Where it begins
 * lower, an address that is not stripped of all of it is in no object. */
#define KLP_USER_BITS 48

static uint32_t klp_insn(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static int64_t klp_signed(uint64_t v, unsigned bits)
{
	uint64_t sign = (uint64_t)1 << (bits - 1);

	return (int64_t)(((v & (2 * sign - 1)) ^ sign) - sign);
}

/*
 * What an instruction adds to the stack pointer: add and sub (immediate) of sp to sp; and stores and loads of one or
 * two registers, general or vector, before or behind which the base, sp, is changed (Arm ARM C4.1: "load/store register
 * pair, pre-indexed and post-indexed", "load/store register, immediate pre-indexed and post-indexed").
 */
static int64_t klp_sp_adds(const uint8_t *code, size_t len, size_t *insn)
{
	static const unsigned char shift_general[4] = {2, 2, 3, 0}, shift_vector[4] = {2, 3, 4, 0};
	uint32_t v;

	if (len < KLP_INSN)
		return 0;
	v = klp_insn(code);
	*insn = KLP_INSN;
	if ((v & 0xbf8003ffu) == 0x910003ffu) { /* Rd and Rn are sp; bit 30: sub */
		int64_t imm = (int64_t)(v >> 10 & 0xfff) << ((v >> 22 & 1) ? 12 : 0);

		return v & 0x40000000u ? -imm : imm;
	}
	if ((v >> 5 & 31) != SP)
		return 0;
	/* opc 101 V 0 indexed(01 behind, 11 before) L imm7 Rt2 Rn Rt */
	if ((v & 0x3a800000u) == 0x28800000u)
		return klp_signed(v >> 15, 7) * (1 << (v & 0x04000000u ? shift_vector : shift_general)[v >> 30]);
	/* size 111 V 00 opc 0 imm9 indexed(01 behind, 11 before) Rn Rt */
	if ((v & 0x3b200400u) == 0x38000400u)
		return klp_signed(v >> 12, 9);
	return 0;
}

/* Frame pointer and return address, loaded from the stack: ldp and ldr of 64-bit general registers with the base sp or
 * fp. */
static uint64_t klp_reloads(const uint8_t *code, size_t len, size_t *insn)
{
	const uint64_t which = 1ull << FP | 1ull << LR;
	uint32_t v, base;

	if (len < KLP_INSN)
		return 0;
	v = klp_insn(code);
	*insn = KLP_INSN;
	base = v >> 5 & 31;
	if (base != SP && base != FP)
		return 0;
	if ((v & 0xfe400000u) == 0xa8400000u) /* ldp, all forms */
		return (1ull << (v & 31) | 1ull << (v >> 10 & 31)) & which;
	if ((v & 0xffc00000u) == 0xf9400000u || (v & 0xffe00000u) == 0xf8400000u) /* ldr, ldur */
		return 1ull << (v & 31) & which;
	return 0;
}

/*
 * arch/arm64/kernel/vdso/sigreturn.S: mov x8, #139; svc #0. Its rows know the frame record and nothing else, so the
 * frame is read as the kernel wrote it: struct rt_sigframe is siginfo (128 bytes), then ucontext with sigcontext at 176
 * {fault address, x0 to x30, sp, pc}.
 */
static const struct klp_unw_context *klp_signal_context(const uint8_t *code, size_t len)
{
	static const struct klp_unw_context context = {.regs = 128 + 176 + 8,
						       .count = 31,
						       .sp = 128 + 176 + 8 + 31 * 8,
						       .pc = 128 + 176 + 8 + 32 * 8,
						       .size = 4688};

	return len >= 2 * KLP_INSN && klp_insn(code) == 0xd2801168u && klp_insn(code + KLP_INSN) == KLP_SVC ? &context
													    : NULL;
}

/* Does code behind the system call go to [start, end) when x0 is 0: by b.eq, cbz x0, or falling through? */
static bool klp_goes_to(const uint8_t *text, size_t at, size_t limit, uint64_t addr, uint64_t start, uint64_t end)
{
	for (size_t i = at; i + KLP_INSN <= limit; i += KLP_INSN) {
		uint32_t v = klp_insn(text + i);
		uint64_t to;

		if ((v & 0xff00001fu) != 0x54000000u && (v & 0xff00001fu) != 0xb4000000u)
			continue;
		to = addr + i + (uint64_t)(klp_signed(v >> 5, 19) * 4);
		if (to >= start && to < end)
			return true;
	}
	return false;
}

/* The child of clone or clone3: an indirect call (of the thread's function) in the range, and before it
 * `mov x8, #clone; svc #0` whose zero result leads into the range. */
static bool klp_thread_start(const uint8_t *text, size_t len, uint64_t addr, uint64_t start, uint64_t end)
{
	size_t at, stop, from;
	bool calls = false;

	if (start < addr || end > addr + len || end <= start || end - start > 4096 || (start - addr) % KLP_INSN)
		return false;
	at = (size_t)(start - addr);
	stop = (size_t)(end - addr);
	for (size_t i = at; i + KLP_INSN <= stop; i += KLP_INSN)
		calls |= (klp_insn(text + i) & 0xfffffc1fu) == 0xd63f0000u; /* blr */
	from = at > KLP_CLONE_REACH ? at - KLP_CLONE_REACH : 0;
	for (size_t i = from; calls && i + 2 * KLP_INSN <= stop; i += KLP_INSN) {
		uint32_t v = klp_insn(text + i);

		if ((v == 0xd2801b88u || v == 0xd2803668u) && klp_insn(text + i + KLP_INSN) == KLP_SVC && /* 220, 435 */
		    klp_goes_to(text, i + 2 * KLP_INSN, stop, addr, start, end))
			return true;
	}
	return false;
}

const struct klp_unw_arch klp_unw_aarch64 = {
    .machine = EM_AARCH64,
    .sp = SP,
    .ra = LR,
    .ra_is_link = true,
    .signs_ra = true,
    .ra_mask = ((uint64_t)1 << KLP_USER_BITS) - 1,
    .red_zone = 0, /* AAPCS64: what lies below sp may be overwritten at any time */
    .late_bytes = 64,
    .insn_step = KLP_INSN,
    .regs = SP + 1,
    .preserved = ((uint64_t)2 << FP) - ((uint64_t)1 << X19),
    .landing = 0xf, /* x0 to x3 */
    .sp_adds = klp_sp_adds,
    .reloads = klp_reloads,
    .signal_context = klp_signal_context,
    .thread_start = klp_thread_start,
};
