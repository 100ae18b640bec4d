/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions of aarch64 (Arm ARM DDI 0487, C6.2) that klp writes. Each returns false when the target is out of reach.
 */
#ifndef KLP_PLT_AARCH64_ENCODE_H
#define KLP_PLT_AARCH64_ENCODE_H

#include <stdbool.h>
#include <stdint.h>

#define KLP_A64_BTI_C 0xd503245fu
#define KLP_A64_BRK 0xd4200000u
#define KLP_A64_NOP 0xd503201fu
#define KLP_A64_BR_X16 0xd61f0200u
#define KLP_A64_BLR_X16 0xd63f0200u
#define KLP_A64_MOV_X9_X30 0xaa1e03e9u
#define KLP_A64_MOV_X30_X9 0xaa0903feu

static inline void klp_a64_put(uint8_t *out, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		out[i] = (uint8_t)(v >> (8 * i));
}

/* Is v a signed number of `bits` bits? */
static inline bool klp_a64_fits(uint64_t v, unsigned bits)
{
	uint64_t half = (uint64_t)1 << (bits - 1);

	return v + half < 2 * half;
}

/* b target: +-128 MiB */
static inline bool klp_a64_put_b(uint8_t *out, uint64_t at, uint64_t target)
{
	uint64_t rel = target - at;

	if (rel & 3 || !klp_a64_fits(rel, 28))
		return false;
	klp_a64_put(out, 0x14000000u | ((uint32_t)(rel >> 2) & 0x03ffffffu));
	return true;
}

/* ldr xN, target: +-1 MiB */
static inline bool klp_a64_put_ldr_literal(uint8_t *out, unsigned reg, uint64_t at, uint64_t target)
{
	uint64_t rel = target - at;

	if (rel & 3 || !klp_a64_fits(rel, 21))
		return false;
	klp_a64_put(out, 0x58000000u | ((uint32_t)(rel >> 2) & 0x7ffffu) << 5 | reg);
	return true;
}

/* adr xN, target: +-1 MiB */
static inline bool klp_a64_put_adr(uint8_t *out, unsigned reg, uint64_t at, uint64_t target)
{
	uint64_t rel = target - at;

	if (!klp_a64_fits(rel, 21))
		return false;
	klp_a64_put(out, 0x10000000u | ((uint32_t)rel & 3) << 29 | ((uint32_t)(rel >> 2) & 0x7ffffu) << 5 | reg);
	return true;
}

/* adrp xN, target; the page that holds it: +-4 GiB */
static inline bool klp_a64_put_adrp(uint8_t *out, unsigned reg, uint64_t at, uint64_t target)
{
	uint64_t rel = (target & ~4095ull) - (at & ~4095ull);

	if (!klp_a64_fits(rel, 33))
		return false;
	rel >>= 12;
	klp_a64_put(out, 0x90000000u | ((uint32_t)rel & 3) << 29 | ((uint32_t)(rel >> 2) & 0x7ffffu) << 5 | reg);
	return true;
}

/* ldr xN, [xM, low 12 bits of target], target a multiple of 8 */
static inline bool klp_a64_put_ldr_low(uint8_t *out, unsigned reg, unsigned base, uint64_t target)
{
	if (target & 7)
		return false;
	klp_a64_put(out, 0xf9400000u | ((uint32_t)(target & 4095) >> 3) << 10 | base << 5 | reg);
	return true;
}

#endif
