/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions in byte arrays: little endian, at any address. */
#ifndef KLP_PATCHSITE_INSN_H
#define KLP_PATCHSITE_INSN_H

#include <stdbool.h>
#include <stdint.h>

static inline uint32_t klp_insn_get16(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static inline uint32_t klp_insn_get32(const uint8_t *p)
{
	return klp_insn_get16(p) | klp_insn_get16(p + 2) << 16;
}

static inline void klp_insn_put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static inline void klp_insn_put32(uint8_t *p, uint32_t v)
{
	klp_insn_put16(p, v);
	klp_insn_put16(p + 2, v >> 16);
}

/* Is v a signed number of `bits` bits? */
static inline bool klp_insn_fits(uint64_t v, unsigned bits)
{
	uint64_t half = (uint64_t)1 << (bits - 1);

	return v + half < 2 * half;
}

#endif
