/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions of x86_64 with a 32-bit displacement from the next instruction. */
#ifndef KLP_PLT_X86_64_ENCODE_H
#define KLP_PLT_X86_64_ENCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Opcode bytes, then target - (at + whole length). False: out of reach. */
static inline bool klp_x86_put_rel32(uint8_t *out, const uint8_t *opcode, size_t opcode_len, uint64_t at,
				     uint64_t target)
{
	uint64_t rel = target - (at + opcode_len + 4);

	if (rel + 0x80000000u > 0xffffffffu)
		return false;
	for (size_t i = 0; i < opcode_len; i++)
		out[i] = opcode[i];
	for (size_t i = 0; i < 4; i++)
		out[opcode_len + i] = (uint8_t)(rel >> (8 * i));
	return true;
}

#define KLP_X86_JMP_MEM ((const uint8_t[]){0xff, 0x25})       /* jmp *disp32(%rip) */
#define KLP_X86_JMP ((const uint8_t[]){0xe9})                 /* jmp rel32 */
#define KLP_X86_LEA_R11 ((const uint8_t[]){0x4c, 0x8d, 0x1d}) /* lea disp32(%rip), %r11 */

#endif
