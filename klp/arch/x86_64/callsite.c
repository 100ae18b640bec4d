/* SPDX-License-Identifier: Apache-2.0 */
/* Intel SDM volume 2: CALL rel32 is E8, CALL m64 with a RIP-relative operand FF 15, JMP m64 FF 25, ENDBR64 F3 0F 1E FA.
 */
#include "klp/callsite.h"

#include <string.h>
#include <sys/mman.h>

#define KLP_CALL_LEN 5u      /* of call rel32 */
#define KLP_CALL_SLOT_LEN 6u /* of call *slot(%rip) */

static uint64_t klp_relative(uint64_t next, const uint8_t *disp)
{
	int32_t d;

	memcpy(&d, disp, sizeof(d));
	return next + (uint64_t)(int64_t)d;
}

/* [endbr64] [bnd] jmp *slot(%rip). The slot may be writable: the dynamic linker stores there once, what it stands for.
 */
static bool klp_plt_leads_to(const struct klp_process *p, uint64_t at, uint64_t entry)
{
	static const uint8_t endbr[4] = {0xf3, 0x0f, 0x1e, 0xfa};
	struct klp_error ignored = KLP_ERROR_INIT;
	uint8_t code[11];
	size_t i = 0;

	if (klp_process_read(p, at, code, sizeof(code), &ignored))
		return false;
	if (!memcmp(code, endbr, sizeof(endbr)))
		i += sizeof(endbr);
	if (code[i] == 0xf2)
		i++;
	return i + 6 <= sizeof(code) && code[i] == 0xff && code[i + 1] == 0x25 &&
	       klp_slot_leads_to(p, klp_relative(at + i + 6, code + i + 2), entry);
}

bool klp_call_is_of(const struct klp_process *p, uint64_t ret, uint64_t entry)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	uint8_t code[KLP_CALL_SLOT_LEN];
	uint64_t target;

	if (ret < sizeof(code) || klp_process_read(p, ret - sizeof(code), code, sizeof(code), &ignored))
		return false;
	if (code[1] == 0xe8) {
		target = klp_relative(ret, code + sizeof(code) - KLP_CALL_LEN + 1);
		return target == entry || klp_plt_leads_to(p, target, entry);
	}
	if (code[0] == 0xff && code[1] == 0x15) {
		uint64_t slot = klp_relative(ret, code + 2);
		const struct klp_mapping *m = klp_process_mapping(p, slot);

		return m && !(m->prot & PROT_WRITE) && klp_slot_leads_to(p, slot, entry);
	}
	return false;
}

static void klp_jump_reaches(const struct klp_process *p, uint64_t target, bool near, const uint64_t *entry,
			     bool *reached, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!reached[i])
			reached[i] = target == entry[i] || (near && klp_plt_leads_to(p, target, entry[i]));
}

void klp_jumps_reach(const struct klp_process *p, const uint8_t *code, size_t len, uint64_t addr, const uint64_t *entry,
		     bool *reached, size_t count)
{
	for (size_t i = 0; i + 1 < len; i++) {
		const uint8_t op = code[i], next = code[i + 1];
		bool conditional = op == 0x0f && (next & 0xf0) == 0x80;
		uint64_t target = addr + i + 2 + (uint64_t)(int64_t)(int8_t)next;

		if (op == 0xff && (next >> 3 & 7) == 4)
			for (size_t k = 0; k < count; k++)
				reached[k] = true;
		if (op == 0xeb || (op & 0xf0) == 0x70 || (op & 0xfc) == 0xe0)
			klp_jump_reaches(p, target, false, entry, reached, count);
		if ((op == 0xe9 && i + 5 <= len) || (conditional && i + 6 <= len)) {
			size_t at = i + (conditional ? 2 : 1);

			target = klp_relative(addr + at + 4, code + at);
			/* Within the code itself is no other function. */
			if (target - addr >= len)
				klp_jump_reaches(p, target, true, entry, reached, count);
		}
	}
}
