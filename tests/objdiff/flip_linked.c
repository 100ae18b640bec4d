/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariant B2 by mutation: the running file is what the build makes of the original tree, but for one bit of a
 * function or table that the module replaces or relies on. klp-build must refuse, for every bit.
 *
 * usage: flip_linked STEP ORIGINAL PATCHED RUNNING UNIT START:LENGTH...   UNIT as for objdiff_tool; every STEPth bit of
 * the addresses in the running file, hexadecimal. Behind + stands a range that the module has nothing to do with: there
 * no bit is in the way.
 */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tools/klp-build/objdiff/objdiff.h"

#define MAX_UNITS 16
#define MAX_SIZE (64u << 20)

static unsigned char *image;
static size_t size;

static void die(const char *what)
{
	fprintf(stderr, "flip_linked: %s\n", what);
	exit(2);
}

static void load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	image = malloc(MAX_SIZE);
	n = fd < 0 || !image ? -1 : read(fd, image, MAX_SIZE);
	if (n < (ssize_t)sizeof(Elf64_Ehdr) || n == MAX_SIZE)
		die("the running file cannot be read");
	size = (size_t)n;
	close(fd);
}

static size_t offset_of(unsigned long addr)
{
	const Elf64_Ehdr *eh = (const Elf64_Ehdr *)(const void *)image;

	for (unsigned i = 0; i < eh->e_phnum; i++) {
		Elf64_Phdr ph;

		memcpy(&ph, image + eh->e_phoff + i * sizeof(ph), sizeof(ph));
		if (ph.p_type == PT_LOAD && addr >= ph.p_vaddr && addr - ph.p_vaddr < ph.p_filesz)
			return ph.p_offset + (addr - ph.p_vaddr);
	}
	die("an address that is not in the running file");
	return 0;
}

static int run(struct klp_objdiff_input *in)
{
	struct klp_error e = KLP_ERROR_INIT;
	json_t *report = NULL;
	int rc = klp_objdiff_run(in, &report, &e);

	json_decref(report);
	return rc;
}

static int run_with(struct klp_objdiff_input *in, int fd, size_t at, unsigned bit)
{
	unsigned char was = image[at];
	int rc;

	image[at] = (unsigned char)(was ^ 1u << bit);
	if (pwrite(fd, image + at, 1, (off_t)at) != 1)
		die("the copy cannot be written");
	rc = run(in);
	image[at] = was;
	if (pwrite(fd, image + at, 1, (off_t)at) != 1)
		die("the copy cannot be written");
	return rc;
}

static void parse_unit(char *arg, struct klp_unit *u)
{
	char *a = strchr(arg, '='), *b = a ? strchr(a + 1, '=') : NULL;

	if (!b)
		die("a unit is NAME=ORIGINAL=PATCHED");
	*a++ = *b++ = 0;
	*u = (struct klp_unit){arg, a, b, false};
}

int main(int argc, char **argv)
{
	struct klp_unit units[MAX_UNITS];
	struct klp_objdiff_input in = {.units = units, .patch_name = "fix", .dry_run = true, .output = "-"};
	unsigned long step, tried = 0, passed = 0, n = 0;
	char copy[64];
	int fd, arg = 5;

	if (argc < 7)
		die("usage: STEP ORIGINAL PATCHED RUNNING UNIT... START:LENGTH...");
	step = strtoul(argv[1], NULL, 10);
	in.original_linked = argv[2];
	in.patched_linked = argv[3];
	load(argv[4]);
	for (; arg < argc && strchr(argv[arg], '=') && in.unit_count < MAX_UNITS; arg++)
		parse_unit(argv[arg], &units[in.unit_count++]);
	fd = memfd_create("running", MFD_CLOEXEC);
	if (!step || fd < 0 || write(fd, image, size) != (ssize_t)size)
		die("no copy");
	snprintf(copy, sizeof(copy), "/proc/self/fd/%d", fd);
	in.running = copy;
	if (run(&in) != KLP_OBJDIFF_BUILT)
		die("no module for the file as it is");
	for (; arg < argc; arg++) {
		char *end;
		int expected = *argv[arg] == '+' ? KLP_OBJDIFF_BUILT : KLP_OBJDIFF_REFUSED;
		unsigned long start = strtoul(argv[arg] + (*argv[arg] == '+'), &end, 16),
			      len = *end == ':' ? strtoul(end + 1, NULL, 16) : 0;

		if (!len)
			die("a range is START:LENGTH");
		for (unsigned long i = 0; i < len * 8; i++) {
			int rc;

			if (n++ % step)
				continue;
			rc = run_with(&in, fd, offset_of(start + i / 8), (unsigned)(i % 8));
			tried++;
			if (rc == expected)
				continue;
			passed++;
			printf("WRONG: bit %lu of 0x%lx, result %d\n", i % 8, start + i / 8, rc);
		}
	}
	printf("%lu bits of the running file, %lu wrong\n", tried, passed);
	return tried && !passed ? 0 : 1;
}
