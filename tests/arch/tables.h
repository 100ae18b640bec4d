/* SPDX-License-Identifier: Apache-2.0 */
/* Unwind tables made by hand, with a stack and code that a walk over them finds. */
#ifndef KLP_TEST_TABLES_H
#define KLP_TEST_TABLES_H

#include <check.h>
#include <stddef.h>
#include <stdint.h>

#define BASE 0x400000u /* of the code */
#define STACK 0x80000000u
#define STACK_WORDS 1024u

extern uint32_t code[0x1000 / 4];
extern uint64_t stack[STACK_WORDS];
extern uint8_t table[512];
extern size_t table_len;

void put(const void *p, size_t n);
/* letters: "zR" or "zRS"; data -8; addresses of 4 bytes; cfa = sp. Returns its place. */
size_t put_cie(const char *letters, uint8_t code_align, uint8_t ra, uint8_t sp);
void put_fde(size_t cie, uint32_t start, uint32_t len, const uint8_t *insn, size_t n);
/* klp_unw_read_fn of code and stack */
int read_memory(void *ctx, uint64_t addr, void *buf, size_t len);
int tables_main(const char *suite, TCase *tc);

#endif
