/* SPDX-License-Identifier: Apache-2.0 */
#include "tables.h"

#include <string.h>

uint32_t code[0x1000 / 4];
uint64_t stack[STACK_WORDS];
uint8_t table[512];
size_t table_len;

void put(const void *p, size_t n)
{
	memcpy(table + table_len, p, n);
	table_len += n;
}

static void put_record(uint32_t id, const uint8_t *body, size_t n)
{
	uint32_t len = (uint32_t)(4 + n);

	put(&len, 4);
	put(&id, 4);
	put(body, n);
}

size_t put_cie(const char *letters, uint8_t code_align, uint8_t ra, uint8_t sp)
{
	size_t at = table_len, n = 0, l = strlen(letters);
	uint8_t cie[32];

	cie[n++] = 1;
	memcpy(cie + n, letters, l + 1);
	n += l + 1;
	memcpy(cie + n, (const uint8_t[]){code_align, 0x78, ra, 1, 0x03, 0x0c, sp, 0}, 8);
	put_record(0, cie, n + 8);
	return at;
}

void put_fde(size_t cie, uint32_t start, uint32_t len, const uint8_t *insn, size_t n)
{
	uint8_t body[64];

	memcpy(body, &start, 4);
	memcpy(body + 4, &len, 4);
	body[8] = 0;
	memcpy(body + 9, insn, n);
	put_record((uint32_t)(table_len + 4 - cie), body, 9 + n);
}

int read_memory(void *ctx, uint64_t addr, void *buf, size_t len)
{
	(void)ctx;
	if (addr >= BASE && addr - BASE <= sizeof(code) && len <= sizeof(code) - (addr - BASE)) {
		memcpy(buf, (const uint8_t *)code + (addr - BASE), len);
		return 0;
	}
	if (addr < STACK || addr - STACK > sizeof(stack) || len > sizeof(stack) - (addr - STACK))
		return -1;
	memcpy(buf, (const uint8_t *)stack + (addr - STACK), len);
	return 0;
}

int tables_main(const char *suite, TCase *tc)
{
	Suite *s = suite_create(suite);
	SRunner *sr;
	int failed;

	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
