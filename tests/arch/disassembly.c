/* SPDX-License-Identifier: Apache-2.0 */
#include "disassembly.h"
#include "tests/scratch.h"

#include <check.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* `  addr:\tmnemonic\toperands // comment <symbol>` -> `mnemonic operands` */
static void squeeze(const char *from, char *to, size_t room)
{
	char *p = to;

	while (*from && *from != '\n' && (size_t)(p - to) < room - 1) {
		if (*from == '<' || (from[0] == '/' && from[1] == '/') || *from == ';' ||
		    (from[0] == '#' && from[1] == ' '))
			break;
		if (*from != ' ' && *from != '\t')
			*p++ = *from;
		else if (p != to && p[-1] != ' ')
			*p++ = ' ';
		from++;
	}
	while (p != to && p[-1] == ' ')
		p--;
	*p = 0;
}

void disassembly_make(struct disassembly *d, const char *objdump, const char *machine, const uint8_t *code, size_t len,
		      uint64_t addr)
{
	char *path = scratch_name("disassembly"), cmd[512 + PATH_MAX], line[512];
	int fd = mkstemp(path);
	size_t room = 0;
	FILE *f;

	memset(d, 0, sizeof(*d));
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, code, len), (ssize_t)len);
	close(fd);
	snprintf(cmd, sizeof(cmd), "%s -D -z -b binary -m %s --no-show-raw-insn --adjust-vma=0x%llx %s", objdump,
		 machine, (unsigned long long)addr, path);
	f = popen(cmd, "r");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f)) {
		char *colon = strchr(line, ':');

		if (line[0] != ' ' || !colon)
			continue;
		if (d->count == room) {
			room = room ? 2 * room : 1024;
			d->insn = realloc(d->insn, room * sizeof(*d->insn));
			ck_assert_ptr_nonnull(d->insn);
		}
		d->insn[d->count].addr = strtoull(line, NULL, 16);
		squeeze(colon + 1, d->insn[d->count++].text, sizeof(d->insn->text));
	}
	ck_assert_int_eq(pclose(f), 0);
	unlink(path);
	free(path);
	ck_assert_uint_gt(d->count, 0);
}

const char *disassembly_at(const struct disassembly *d, uint64_t addr)
{
	size_t lo = 0, hi = d->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (d->insn[mid].addr < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	ck_assert_msg(lo < d->count && d->insn[lo].addr == addr, "no instruction at 0x%llx", (unsigned long long)addr);
	return d->insn[lo].text;
}

void disassembly_is(const struct disassembly *d, uint64_t addr, const char *format, ...)
{
	const char *got = disassembly_at(d, addr);
	char want[128];
	va_list ap;

	va_start(ap, format);
	vsnprintf(want, sizeof(want), format, ap);
	va_end(ap);
	ck_assert_msg(!strcmp(got, want), "0x%llx is `%s`, not `%s`", (unsigned long long)addr, got, want);
}

void disassembly_free(struct disassembly *d)
{
	free(d->insn);
}
