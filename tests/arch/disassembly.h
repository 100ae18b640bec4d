/* SPDX-License-Identifier: Apache-2.0 */
/* What binutils' objdump of another architecture says about bytes. */
#ifndef KLP_TEST_DISASSEMBLY_H
#define KLP_TEST_DISASSEMBLY_H

#include <stddef.h>
#include <stdint.h>

struct disassembly {
	size_t count;
	struct {
		uint64_t addr;
		char text[96]; /* mnemonic and operands, blanks squeezed, comments and symbols removed */
	} * insn;
};

/* objdump: the program; machine: its -m option. Fails the test if it cannot be run. */
void disassembly_make(struct disassembly *d, const char *objdump, const char *machine, const uint8_t *code, size_t len,
		      uint64_t addr);
/* The instruction at addr; fails the test if there is none. */
const char *disassembly_at(const struct disassembly *d, uint64_t addr);
/* The instruction at addr is `format` (as for printf). */
void disassembly_is(const struct disassembly *d, uint64_t addr, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void disassembly_free(struct disassembly *d);

#endif
