/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unwind/space.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "unwind/image.h"

void test_die(const char *what)
{
	perror(what);
	exit(1);
}

int test_read(void *ctx, uint64_t addr, void *buf, size_t len)
{
	struct iovec l = {buf, len}, r = {(void *)(uintptr_t)addr, len};
	ssize_t n = process_vm_readv(*(pid_t *)ctx, &l, 1, &r, 1, 0);

	return n == (ssize_t)len ? 0 : n < 0 ? -errno : -EFAULT;
}

/* Every "CFA = rsp + n" of the object becomes "rsp + n + 8": a mistake that a compiler could make. */
static unsigned test_damage(struct klp_unw_object *o)
{
	uint8_t *p = (uint8_t *)(uintptr_t)o->eh_frame;
	unsigned n = 0;

	for (size_t i = 0; i + 3 < o->eh_frame_len; i++)
		if ((p[i] & 0xc0) == 0x40 && p[i + 1] == 0x0e && p[i + 2] == 16) {
			p[i + 2] = 24;
			n++;
		}
	return n;
}

static uint64_t test_start_stack(pid_t pid)
{
	char path[64], buf[1024], *p;
	unsigned long long v = 0;
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (!f)
		test_die(path);
	n = fread(buf, 1, sizeof(buf) - 1, f);
	buf[n] = 0;
	fclose(f);
	p = strrchr(buf, ')');
	/* Behind the name come fields 3...; the start of the stack is field 28. */
	for (int i = 2; p && i < 28; i++)
		p = strchr(p + 1, ' ');
	if (p)
		v = strtoull(p, NULL, 10);
	return v;
}

void test_space_build(pid_t pid, struct test_space *out, bool mutate)
{
	char path[64], exe[512], line[1024];
	ssize_t n;
	FILE *f;

	memset(out, 0, sizeof(*out));
	out->space = klp_unw_space_new(EM_X86_64);
	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	n = readlink(path, exe, sizeof(exe) - 1);
	if (n < 0 || !out->space)
		test_die(path);
	exe[n] = 0;
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "r");
	if (!f)
		test_die(path);
	while (fgets(line, sizeof(line), f)) {
		struct klp_unw_object o = {0};
		struct klp_error e = KLP_ERROR_INIT;
		unsigned long long start, off;
		char name[512] = "";
		void *storage;
		bool main_object;

		if (sscanf(line, "%llx-%*x %*s %llx %*s %*s %511s", &start, &off, name) < 2 || !name[0])
			continue;
		if (off && strcmp(name, "[vdso]") != 0)
			continue;
		main_object = !strcmp(name, exe);
		o.name = name;
		o.libc = strstr(name, "/libc.so.6") != NULL || strstr(name, "libc-stripped.so") != NULL;
		if (klp_unw_object_from_memory(start, test_read, &pid, &o, &storage, &e))
			continue;
		if (main_object) {
			Elf64_Ehdr eh;

			if (test_read(&pid, start, &eh, sizeof(eh)))
				test_die("header");
			out->exe_bias = eh.e_type == ET_DYN ? start : 0;
			o.entry = out->entry = out->exe_bias + eh.e_entry;
			out->exe_start = o.text_start;
			out->exe_end = o.text_end;
			if (mutate && !test_damage(&o))
				test_die("no row to damage");
		}
		if (o.libc) {
			out->libc_start = o.text_start;
			out->libc_end = o.text_end;
		}
		if (klp_unw_add_object(out->space, &o, &e) < 0) {
			fprintf(stderr, "%s: %s\n", name, e.text);
			exit(1);
		}
		out->objects++;
		free(storage);
	}
	fclose(f);
	out->start_stack = test_start_stack(pid);
}
