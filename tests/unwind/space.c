/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unwind/space.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "klp/machine.h"
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

struct test_line {
	uint64_t start, end, offset;
	bool exec, write;
	char name[512];
};

static struct test_line *test_lines(pid_t pid, size_t *count)
{
	struct test_line *at = NULL, *grown;
	char path[64], line[1024];
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "r");
	if (!f)
		test_die(path);
	while (fgets(line, sizeof(line), f)) {
		unsigned long long start, end, off;
		char prot[5];

		if ((n & (n + 1)) == 0) {
			grown = realloc(at, (2 * n + 2) * sizeof(*at));
			if (!grown)
				test_die("maps");
			at = grown;
		}
		at[n] = (struct test_line){0};
		if (sscanf(line, "%llx-%llx %4s %llx %*s %*s %511s", &start, &end, prot, &off, at[n].name) < 4)
			continue;
		at[n].start = start;
		at[n].end = end;
		at[n].offset = off;
		at[n].exec = prot[2] == 'x';
		at[n].write = prot[1] == 'w';
		n++;
	}
	fclose(f);
	*count = n;
	return at;
}

/* FNV-1a over what the table depends on. */
static uint64_t test_hash(const struct test_line *at, size_t n)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < n; i++) {
		const uint64_t word[4] = {at[i].start, at[i].end, at[i].offset, at[i].exec};

		if (!at[i].exec && (!at[i].name[0] || at[i].name[0] == '[' || at[i].write))
			continue;
		for (size_t k = 0; k < sizeof(word); k++)
			h = (h ^ ((const uint8_t *)word)[k]) * 0x100000001b3u;
	}
	return h;
}

uint64_t test_space_signature(pid_t pid)
{
	size_t n;
	struct test_line *at = test_lines(pid, &n);
	uint64_t h = test_hash(at, n);

	free(at);
	return h;
}

/* A file that is only read has no text here. */
static bool test_is_executable(const struct test_line *at, size_t n, const char *name, const struct klp_unw_object *o)
{
	for (size_t i = 0; i < n; i++)
		if (at[i].exec && at[i].start < o->text_end && o->text_start < at[i].end && !strcmp(at[i].name, name))
			return true;
	return false;
}

static void test_add_main(pid_t pid, struct test_space *out, uint64_t start, struct klp_unw_object *o, bool mutate)
{
	Elf64_Ehdr eh;

	if (test_read(&pid, start, &eh, sizeof(eh)))
		test_die("header");
	out->exe_bias = eh.e_type == ET_DYN ? start : 0;
	o->entry = out->entry = out->exe_bias + eh.e_entry;
	out->exe_start = o->text_start;
	out->exe_end = o->text_end;
	if (mutate && !test_damage(o))
		test_die("no row to damage");
}

void test_space_build(pid_t pid, struct test_space *out, bool mutate)
{
	struct test_line *at;
	bool dynamic = false;
	char path[64], exe[512];
	ssize_t len;
	size_t n;

	memset(out, 0, sizeof(*out));
	out->space = klp_unw_space_new(KLP_HOST_MACHINE);
	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	len = readlink(path, exe, sizeof(exe) - 1);
	if (len < 0 || !out->space)
		test_die(path);
	exe[len] = 0;
	at = test_lines(pid, &n);
	out->signature = test_hash(at, n);
	out->fixed = calloc(n + 1, sizeof(*out->fixed));
	if (!out->fixed)
		test_die("maps");
	for (size_t i = 0; i < n; i++) {
		dynamic |= strstr(at[i].name, "/ld-") != NULL;
		if (at[i].exec && !at[i].write && at[i].name[0] == '/')
			out->fixed[out->fixed_count++] = (struct memory_range){at[i].start, at[i].end};
	}
	for (size_t i = 0; i < n; i++) {
		const char *name = at[i].name;
		struct klp_unw_object o = {.name = name};
		struct klp_error e = KLP_ERROR_INIT;
		bool main_object = !strcmp(name, exe);
		void *storage;

		if (!name[0] || (at[i].offset && strcmp(name, "[vdso]") != 0) || (main_object && out->entry))
			continue;
		o.libc = strstr(name, "/libc.so.6") || strstr(name, "libc-stripped.so") || (main_object && !dynamic);
		if (klp_unw_object_from_memory(at[i].start, test_read, &pid, &o, &storage, &e))
			continue;
		if (test_is_executable(at, n, name, &o)) {
			if (main_object)
				test_add_main(pid, out, at[i].start, &o, mutate);
			if (o.libc) {
				out->libc_start = o.text_start;
				out->libc_end = o.text_end;
			}
			/* While the dynamic linker is at work its tables may make no sense yet. */
			if (klp_unw_add_object(out->space, &o, &e) >= 0)
				out->objects++;
		}
		free(storage);
	}
	free(at);
	out->start_stack = test_start_stack(pid);
}

void test_space_free(struct test_space *s)
{
	klp_unw_space_free(s->space);
	free(s->fixed);
	memset(s, 0, sizeof(*s));
}
