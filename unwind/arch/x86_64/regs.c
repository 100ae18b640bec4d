/* SPDX-License-Identifier: Apache-2.0 */
/* x86_64: register numbers of psABI 3.7, the PLT's expression, and what glibc's clone and clone3 look like. */
#include <elf.h>
#include <string.h>

#include "unwind/internal.h"

enum { RAX = 0, RDX = 1, RBX = 3, RBP = 6, RSP = 7, R12 = 12, R13, R14, R15, RIP };

#define KLP_CLONE_REACH 64 /* bytes between the system call and the child's first instruction */

/* breg7 rsp+8; breg16 rip+0; lit15; and; lit11; ge; lit3; shl; plus: the second half of a PLT entry has pushed a word.
 */
static const uint8_t klp_plt_expr[] = {0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22};

static uint64_t klp_plt_cfa(const struct klp_unw_regs *regs)
{
	return regs->r[RSP] + 8 + ((regs->pc & 15) >= 11 ? 8 : 0);
}

/* Does code at `at` that follows the system call go to [start, end) when rax is 0: a je into it, or falling through? */
static bool klp_goes_to(const uint8_t *text, size_t at, size_t limit, uint64_t addr, uint64_t start, uint64_t end)
{
	for (size_t i = at; i + 2 <= limit; i++) {
		uint64_t to = 0;

		if (text[i] == 0x74) {
			to = addr + i + 2 + (uint64_t)(int64_t)(int8_t)text[i + 1];
		} else if (text[i] == 0x0f && text[i + 1] == 0x84 && i + 6 <= limit) {
			int32_t rel;

			memcpy(&rel, text + i + 2, 4);
			to = addr + i + 6 + (uint64_t)(int64_t)rel;
		}
		if (to >= start && to < end)
			return true;
	}
	return false;
}

/* The child of clone or clone3: an indirect call (of the thread's function) in the range, and before it
 * `mov $clone,%eax; syscall` whose zero result leads into the range. */
static bool klp_thread_start(const uint8_t *text, size_t len, uint64_t addr, uint64_t start, uint64_t end)
{
	static const uint8_t clone[2][7] = {{0xb8, 56, 0, 0, 0, 0x0f, 0x05}, {0xb8, 0xb3, 1, 0, 0, 0x0f, 0x05}};
	size_t at, stop, from;
	bool calls = false;

	if (start < addr || end > addr + len || end <= start || end - start > 4096)
		return false;
	at = (size_t)(start - addr);
	stop = (size_t)(end - addr);
	for (size_t i = at; i + 2 <= stop; i++)
		calls |= text[i] == 0xff && text[i + 1] >= 0xd0 && text[i + 1] <= 0xd7;
	from = at > KLP_CLONE_REACH ? at - KLP_CLONE_REACH : 0;
	for (size_t i = from; calls && i + 7 <= stop; i++)
		if (!memcmp(text + i, clone[0], 7) || !memcmp(text + i, clone[1], 7))
			if (klp_goes_to(text, i + 7, stop, addr, start, end))
				return true;
	return false;
}

/* add or sub $imm, %rsp (48 83 /0 /5 ib, 48 81 /0 /5 id), lea imm(%rsp), %rsp (48 8d 64 24 ib, 48 8d a4 24 id). */
static int64_t klp_sp_adds(const uint8_t *code, size_t len, size_t *insn)
{
	bool lea, add, sub;
	size_t at;
	int32_t imm;

	if (len < 4 || code[0] != 0x48)
		return 0;
	lea = code[1] == 0x8d && (code[2] == 0x64 || code[2] == 0xa4) && code[3] == 0x24;
	add = (code[1] == 0x83 || code[1] == 0x81) && code[2] == 0xc4;
	sub = (code[1] == 0x83 || code[1] == 0x81) && code[2] == 0xec;
	if (!lea && !add && !sub)
		return 0;
	at = lea ? 4 : 3;
	if (code[1] == 0x83 || (lea && code[2] == 0x64)) {
		*insn = at + 1;
		if (*insn > len)
			return 0;
		imm = (int8_t)code[at];
	} else {
		*insn = at + 4;
		if (*insn > len)
			return 0;
		memcpy(&imm, code + at, sizeof(imm));
	}
	return sub ? -(int64_t)imm : imm;
}

const struct klp_unw_arch klp_unw_x86_64 = {
    .machine = EM_X86_64,
    .sp = RSP,
    .ra = RIP,
    .ra_mask = ~0ull,
    .red_zone = 128,
    .late_bytes = 32,
    .insn_step = 1,
    .regs = RIP + 1,
    .preserved = 1u << RBX | 1u << RBP | 1u << R12 | 1u << R13 | 1u << R14 | 1u << R15,
    .landing = 1u << RAX | 1u << RDX,
    .plt_expr = klp_plt_expr,
    .plt_expr_len = sizeof(klp_plt_expr),
    .plt_cfa = klp_plt_cfa,
    .sp_adds = klp_sp_adds,
    .thread_start = klp_thread_start,
};
