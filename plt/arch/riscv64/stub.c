/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stub of riscv64, KLP_STUB_SIZE bytes. ra is not touched: the trampoline is called with the alternate link
 * register, which the return predictor knows (RISC-V Instruction Set Manual, volume I, 2.5.1: jalr with rd = rs1 = t0
 * pushes, jr t0 pops):
 *
 *	 0	auipc t1, record
 *	 4	addi  t1, t1, record	whose entry this is; its second word says which ops
 *	 8	auipc t0, trampoline	the arena's word: loaded, so that no reach limits where the image is
 *	12	ld    t0, trampoline(t0)
 *	16	jalr  t0, 0(t0)
 *	20	jr    t1		where the call goes on: the trampoline has put it there
 *	24	ebreak, ebreak
 *	32	auipc t1, record	the hop: the slot is the record's first word
 *	36	ld    t1, record(t1)
 *	40	jr    t1
 *	44	ebreak ...
 *
 * `jr t1` reaches the original body from anywhere, so it needs nothing here.
 */
#include <errno.h>
#include <stddef.h>
#include "plt/arch.h"
#include "plt/arch/riscv64/encode.h"
#include "klp/runtime/rt.h"

_Static_assert(offsetof(struct klp_rt_site, slot) == 0, "the hop jumps through the record's first word");
_Static_assert(KLP_HOP_OFFSET == 32 && KLP_STUB_SIZE == 64, "the listing above");

uint64_t klp_stub_original_riscv64(uint64_t stub_addr, uint64_t body)
{
	(void)stub_addr;
	return body;
}

int klp_stub_encode_riscv64(uint64_t stub_addr, uint64_t site_record, uint64_t trampoline_word, uint64_t body,
			    uint8_t *out, size_t out_len, struct klp_error *e)
{
	(void)body;
	if (out_len < KLP_STUB_SIZE)
		return klp_fail(e, EINVAL, KLP_INTERNAL, "a stub needs %u bytes, there are %zu", KLP_STUB_SIZE,
				out_len);
	for (unsigned i = 0; i < KLP_STUB_SIZE; i += 4)
		klp_insn_put32(out + i, KLP_RV_EBREAK);
	if (!klp_rv_put_address(out, KLP_RV_T1, stub_addr, site_record) ||
	    !klp_rv_put_load(out + 8, KLP_RV_T0, stub_addr + 8, trampoline_word) ||
	    !klp_rv_put_load(out + KLP_HOP_OFFSET, KLP_RV_T1, stub_addr + KLP_HOP_OFFSET, site_record))
		return klp_fail(e, ERANGE, KLP_NO_ROOM,
				"the stub at 0x%llx is more than 2 GiB away from its arena's data",
				(unsigned long long)stub_addr);
	klp_rv_put_jalr(out + 16, KLP_RV_T0, KLP_RV_T0, 0);
	klp_rv_put_jalr(out + 20, KLP_RV_ZERO, KLP_RV_T1, 0);
	klp_rv_put_jalr(out + KLP_HOP_OFFSET + 8, KLP_RV_ZERO, KLP_RV_T1, 0);
	return 0;
}
