/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stub of x86_64, KLP_STUB_SIZE bytes:
 *
 *	 0	f3 0f 1e fa		endbr64				reached by an indirect jump
 *	 4	4c 8d 1d disp32		lea  record(%rip), %r11		whose entry this is
 *	11	ff 25 disp32		jmp  *trampoline(%rip)		the arena's word
 *	17	cc ...
 *	32	ff 25 disp32		jmp  *slot(%rip)		the hop: the slot is the record's first word
 *	38	cc ...
 *
 * r11 is free at a function's entry (psABI: neither argument nor preserved); r10 and al are not touched.
 */
#include <errno.h>
#include <string.h>
#include "plt/arch.h"
#include "plt/arch/x86_64/encode.h"
#include "klp/runtime/rt.h"

_Static_assert(offsetof(struct klp_rt_site, slot) == 0, "the hop jumps through the record's first word");

/* An indirect jump may lead anywhere: the body itself. */
uint64_t klp_stub_original_x86_64(uint64_t stub_addr, uint64_t body)
{
	(void)stub_addr;
	return body;
}

int klp_stub_encode_x86_64(uint64_t stub_addr, uint64_t site_record, uint64_t trampoline_word, uint64_t body,
			   uint8_t *out, size_t out_len, struct klp_error *e)
{
	static const uint8_t endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};

	(void)body;
	if (out_len < KLP_STUB_SIZE)
		return klp_fail(e, EINVAL, KLP_INTERNAL, "a stub needs %u bytes, there are %zu", KLP_STUB_SIZE,
				out_len);
	memset(out, 0xcc, KLP_STUB_SIZE);
	memcpy(out, endbr64, sizeof(endbr64));
	if (!klp_x86_put_rel32(out + 4, KLP_X86_LEA_R11, sizeof(KLP_X86_LEA_R11), stub_addr + 4, site_record) ||
	    !klp_x86_put_rel32(out + 11, KLP_X86_JMP_MEM, sizeof(KLP_X86_JMP_MEM), stub_addr + 11, trampoline_word) ||
	    !klp_x86_put_rel32(out + KLP_HOP_OFFSET, KLP_X86_JMP_MEM, sizeof(KLP_X86_JMP_MEM),
			       stub_addr + KLP_HOP_OFFSET, site_record))
		return klp_fail(e, ERANGE, KLP_NO_ROOM,
				"the stub at 0x%llx is more than 2 GiB away from its arena's data",
				(unsigned long long)stub_addr);
	return 0;
}
