/* SPDX-License-Identifier: Apache-2.0 */
/* Arm ARM DDI 0487, C4.1: branches, and the PLT entries that static linkers make of adrp, ldr, add, br. */
#include "klp/callsite.h"

#include <string.h>

#define KLP_INSN 4u
#define KLP_BTI_C 0xd503245fu
#define KLP_BR_X17 0xd61f0220u

static uint32_t klp_insn(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* A signed field of `bits` bits at bit `at`, in units of 4 bytes. */
static uint64_t klp_offset(uint32_t v, unsigned at, unsigned bits)
{
	uint64_t sign = (uint64_t)1 << (bits - 1), field = v >> at & (2 * sign - 1);

	return ((field ^ sign) - sign) * 4;
}

/* [bti c] adrp x16, page; ldr x17, [x16, #low]; add x16, x16, #low; br x17. The slot may be writable: the dynamic
 * linker stores there once, what it stands for. */
static bool klp_plt_leads_to(const struct klp_process *p, uint64_t at, uint64_t entry)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	uint8_t code[5 * KLP_INSN];
	uint64_t page;
	uint32_t adrp, ldr;
	size_t i = 0;

	if (klp_process_read(p, at, code, sizeof(code), &ignored))
		return false;
	if (klp_insn(code) == KLP_BTI_C)
		i = KLP_INSN;
	adrp = klp_insn(code + i);
	ldr = klp_insn(code + i + KLP_INSN);
	if ((adrp & 0x9f00001fu) != 0x90000010u || (ldr & 0xffc003ffu) != 0xf9400211u ||
	    (klp_insn(code + i + 2 * KLP_INSN) & 0xff8003ffu) != 0x91000210u ||
	    klp_insn(code + i + 3 * KLP_INSN) != KLP_BR_X17)
		return false;
	page = ((at + i) & ~4095ull) + (((klp_offset(adrp, 5, 19) | (adrp >> 29 & 3))) << 12);
	return klp_slot_leads_to(p, page + (ldr >> 10 & 0xfff) * 8, entry);
}

/* A call through a register tells nothing of where it went. */
bool klp_call_is_of(const struct klp_process *p, uint64_t ret, uint64_t entry)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	uint8_t code[KLP_INSN];
	uint64_t target;

	if (ret < KLP_INSN || ret % KLP_INSN || klp_process_read(p, ret - KLP_INSN, code, sizeof(code), &ignored) ||
	    (klp_insn(code) & 0xfc000000u) != 0x94000000u)
		return false;
	target = ret - KLP_INSN + klp_offset(klp_insn(code), 0, 26);
	return target == entry || klp_plt_leads_to(p, target, entry);
}

void klp_jumps_reach(const struct klp_process *p, const uint8_t *code, size_t len, uint64_t addr, const uint64_t *entry,
		     bool *reached, size_t count)
{
	for (size_t i = 0; i + KLP_INSN <= len; i += KLP_INSN) {
		uint32_t v = klp_insn(code + i);
		uint64_t target;

		if ((v & 0xfffffc1fu) == 0xd61f0000u || (v & 0xfefff800u) == 0xd61f0800u) /* br, braa, brab ... */
			for (size_t k = 0; k < count; k++)
				reached[k] = true;
		if ((v & 0xfc000000u) == 0x14000000u) /* b */
			target = addr + i + klp_offset(v, 0, 26);
		else if ((v & 0xff000000u) == 0x54000000u || (v & 0x7e000000u) == 0x34000000u) /* b.cond, cbz, cbnz */
			target = addr + i + klp_offset(v, 5, 19);
		else if ((v & 0x7e000000u) == 0x36000000u) /* tbz, tbnz */
			target = addr + i + klp_offset(v, 5, 14);
		else
			continue;
		if (target - addr < len)
			continue; /* within the code itself is no other function */
		for (size_t k = 0; k < count; k++)
			if (!reached[k])
				reached[k] = target == entry[k] || klp_plt_leads_to(p, target, entry[k]);
	}
}
