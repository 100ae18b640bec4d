/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stub of aarch64, KLP_STUB_SIZE bytes. Reached by `br x16` from the prefix, so each of its three entries has a
 * landing pad, should its page ever be guarded:
 *
 *	 0	bti  c
 *	 4	mov  x9, x30		the caller's return address: up to `mov x30, x9` only x9 has it (U3)
 *	 8	adr  x17, record	whose entry this is
 *	12	ldr  x16, trampoline	the arena's word
 *	16	blr  x16		a call: the trampoline comes back by `ret x30`, so the
 *	20	mov  x30, x9		return predictor and a guarded control stack stay balanced
 *	24	br   x16		where the call goes on: code of klp's, or `original` below
 *	28	brk  #0
 *	32	bti  c			the hop
 *	36	ldr  x16, record	the slot is the record's first word
 *	40	br   x16
 *	44	brk  #0
 *	48	bti  c			the original body, which has no landing pad: an indirect branch
 *	52	b    body		there would be SIGILL in guarded text, a direct one is not
 *	56	brk  #0, brk #0
 */
#include <errno.h>
#include <stddef.h>
#include "plt/arch.h"
#include "plt/arch/aarch64/encode.h"
#include "klp/runtime/rt.h"

#define ORIGINAL 48u
#define X16 16u
#define X17 17u

_Static_assert(offsetof(struct klp_rt_site, slot) == 0, "the hop jumps through the record's first word");
_Static_assert(KLP_HOP_OFFSET == 32 && KLP_STUB_SIZE == 64, "the listing above");

uint64_t klp_stub_original_aarch64(uint64_t stub_addr, uint64_t body)
{
	(void)body;
	return stub_addr + ORIGINAL;
}

int klp_stub_encode_aarch64(uint64_t stub_addr, uint64_t site_record, uint64_t trampoline_word, uint64_t body,
			    uint8_t *out, size_t out_len, struct klp_error *e)
{
	if (out_len < KLP_STUB_SIZE)
		return klp_fail(e, EINVAL, KLP_INTERNAL, "a stub needs %u bytes, there are %zu", KLP_STUB_SIZE,
				out_len);
	for (unsigned i = 0; i < KLP_STUB_SIZE; i += 4)
		klp_a64_put(out + i, KLP_A64_BRK);
	klp_a64_put(out, KLP_A64_BTI_C);
	klp_a64_put(out + 4, KLP_A64_MOV_X9_X30);
	klp_a64_put(out + 16, KLP_A64_BLR_X16);
	klp_a64_put(out + 20, KLP_A64_MOV_X30_X9);
	klp_a64_put(out + 24, KLP_A64_BR_X16);
	klp_a64_put(out + KLP_HOP_OFFSET, KLP_A64_BTI_C);
	klp_a64_put(out + KLP_HOP_OFFSET + 8, KLP_A64_BR_X16);
	klp_a64_put(out + ORIGINAL, KLP_A64_BTI_C);
	if (!klp_a64_put_adr(out + 8, X17, stub_addr + 8, site_record) ||
	    !klp_a64_put_ldr_literal(out + 12, X16, stub_addr + 12, trampoline_word) ||
	    !klp_a64_put_ldr_literal(out + KLP_HOP_OFFSET + 4, X16, stub_addr + KLP_HOP_OFFSET + 4, site_record))
		return klp_fail(e, ERANGE, KLP_NO_ROOM,
				"the stub at 0x%llx is more than 1 MiB away from its arena's data",
				(unsigned long long)stub_addr);
	if (!klp_a64_put_b(out + ORIGINAL + 4, stub_addr + ORIGINAL + 4, body))
		return klp_fail(e, ERANGE, KLP_NO_ROOM,
				"the stub at 0x%llx is more than 128 MiB away from the function's body at 0x%llx",
				(unsigned long long)stub_addr, (unsigned long long)body);
	return 0;
}
