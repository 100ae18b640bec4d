/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoding of sites: by hand-made bytes, hostile bytes, and all functions of programs that were compiled with known
 * options. Arguments (after the unit tests, which run without): FILE LAYOUT|REASON; every function victim_* of FILE
 * must have that answer.
 */
#include <check.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "harness.h"
#include "tests/scratch.h"

#define AT 0x401000ull

struct vector {
	unsigned m;
	const char *prefix; /* hex; "" = m single NOPs */
	const char *code;   /* hex */
	enum klp_site_layout layout;
	enum klp_reason reason;
	unsigned site, body, reach;
};

static const struct vector vectors[] = {
    {16, "", "90909055", KLP_SITE_X86_ENTRY1, 0, 1, 3, 8},
    {8, "", "90909055", KLP_SITE_X86_ENTRY1, 0, 1, 3, 8},
    {16, "", "90669055", KLP_SITE_X86_ENTRY1_2BYTE, 0, 1, 3, 8},
    {7, "", "90909055", KLP_SITE_X86_ENTRY0, 0, 0, 2, 6},
    {14, "", "909055c3", KLP_SITE_X86_ENTRY0, 0, 0, 2, 6},
    {14, "", "669055c3", KLP_SITE_X86_ENTRY0_2BYTE, 0, 0, 2, 6},
    {6, "", "9090", KLP_SITE_X86_ENTRY0, 0, 0, 2, 6},
    {14, "", "f30f1efa9090c3", KLP_SITE_X86_ENDBR, 0, 4, 6, 5},
    {16, "", "f30f1efa909090c3", KLP_SITE_X86_ENDBR, 0, 4, 6, 5},
    {5, "", "f30f1efa6690c3", KLP_SITE_X86_ENDBR_2BYTE, 0, 4, 6, 5},
    {14, "66666666662e0f1f840000000000", "6690c3", KLP_SITE_X86_ENTRY0_2BYTE, 0, 0, 2, 6},
    {16, "662e0f1f840000000000660f1f440000", "909090c3", KLP_SITE_X86_ENTRY1, 0, 1, 3, 8},
    {8, "0f1f840000000000", "909090c3", KLP_SITE_X86_ENTRY1, 0, 1, 3, 8},
    {5, "", "9090c3", 0, KLP_PREFIX_TOO_SMALL, 0, 0, 0},
    {4, "", "f30f1efa9090c3", 0, KLP_PREFIX_TOO_SMALL, 0, 0, 0},
    {0, "", "9090c3", 0, KLP_PREFIX_TOO_SMALL, 0, 0, 0},
    {14, "c3909090909090909090909090c3", "9090c3", 0, KLP_PREFIX_TOO_SMALL, 0, 0, 0}, /* the neighbour's */
    {14, "90909090909090909090909066c3", "9090c3", 0, KLP_PREFIX_TOO_SMALL, 0, 0, 0},
    {8, "9090909090900f1f", "9090c3", 0, KLP_PREFIX_TOO_SMALL, 0, 0, 0}, /* a NOP that is cut off by the symbol */
    {8, "909090909090f390", "9090c3", 0, KLP_PREFIX_TOO_SMALL, 0, 0, 0}, /* pause */
    {16, "", "0f1f00c3", 0, KLP_SITE_UNKNOWN, 0, 0, 0},
    {16, "", "f30f1efa0f1f00", 0, KLP_SITE_UNKNOWN, 0, 0, 0},
    {16, "", "90c3", 0, KLP_SITE_UNKNOWN, 0, 0, 0},
    {16, "", "554889e5", 0, KLP_SITE_UNKNOWN, 0, 0, 0},
    {16, "", "90", 0, KLP_SITE_UNKNOWN, 0, 0, 0},
    {16, "", "f30f1efa", 0, KLP_SITE_UNKNOWN, 0, 0, 0},
    {16, "", "ccf8c3", 0, KLP_SITE_UNKNOWN, 0, 0, 0},
};

static size_t unhex(const char *s, uint8_t *out)
{
	size_t n = 0;

	for (; s[0] && s[1]; s += 2) {
		unsigned b;

		sscanf(s, "%2x", &b);
		out[n++] = (uint8_t)b;
	}
	return n;
}

static bool harmless(const uint8_t *p)
{
	/* What may stand at a PC inside a site besides the final jump. */
	return p[0] == 0x90 || p[0] == 0xf5 || p[0] == 0xf8 ||
	       (p[0] == 0x66 && (p[1] == 0x90 || p[1] == 0xf5 || p[1] == 0xf8));
}

START_TEST(test_vectors)
{
	const struct vector *v = &vectors[_i];
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_site_store st[KLP_SITE_MAX_STORES];
	uint8_t code[64], b[8], dormant[8];
	struct klp_site s;
	size_t n = v->m, done;
	int ret;

	memset(code, 0x90, sizeof(code));
	if (*v->prefix)
		ck_assert_uint_eq(unhex(v->prefix, code), v->m);
	n += unhex(v->code, code + n);
	ret = klp_site_decode(ARCH, AT + v->m, AT, code, AT, n, &s, &e);
	if (v->reason) {
		ck_assert_int_eq(ret, -EINVAL);
		ck_assert_msg(e.reason == v->reason, "vector %d: %s", _i, e.text);
		return;
	}
	ck_assert_msg(!ret, "vector %d: %s", _i, e.text);
	ck_assert_int_eq(s.layout, v->layout);
	ck_assert_uint_eq(s.entry, AT + v->m);
	ck_assert_uint_eq(s.site, s.entry + v->site);
	ck_assert_uint_eq(s.body, s.entry + v->body);
	ck_assert_uint_eq(s.jump_target, s.entry - v->reach);
	ck_assert_uint_eq(s.prefix, AT);
	ck_assert_uint_eq(s.prefix_len, v->m);
	ck_assert_int_eq(s.weak_to_uprobe, v->site == 0);

	/* Arm and disarm in memory: after every store each PC of the site is the jump or a harmless instruction. */
	memset(b, 0xcc, sizeof(b));
	memcpy(b, code + v->m, n - v->m < 8 ? n - v->m : 8);
	memcpy(dormant, b, 8);
	ck_assert_int_eq(klp_site_state(ARCH, &s, b, 8, &done), KLP_STATE_DORMANT);
	ck_assert_uint_eq(klp_site_arm_stores(ARCH, &s, st), 2);
	for (size_t i = 0; i < 2; i++) {
		ck_assert_uint_eq(st[i].width, 1);
		ck_assert_uint_eq(b[st[i].addr - s.entry], st[i].expect[0]);
		b[st[i].addr - s.entry] = st[i].value[0];
		ck_assert_int_eq(klp_site_state(ARCH, &s, b, 8, &done), i ? KLP_STATE_ARMED : KLP_STATE_PARTIAL);
		ck_assert_uint_eq(done, i + 1);
		ck_assert(i || harmless(b + v->site));
		ck_assert(harmless(b + v->site + 1)); /* a thread that was between two one-byte NOPs */
	}
	ck_assert_uint_eq(b[v->site], 0xeb);
	ck_assert_uint_eq(s.site + 2 + (uint64_t)(int8_t)b[v->site + 1], s.jump_target);
	/* A uprobe at the symbol. */
	b[0] = 0xcc;
	ck_assert_int_eq(klp_site_state(ARCH, &s, b, 8, &done), v->site ? KLP_STATE_ARMED : KLP_STATE_BYPASSED);
	b[0] = v->site ? dormant[0] : 0xeb;
	/* Something else at the site. */
	for (unsigned at = v->site; at < v->site + 2; at++) {
		uint8_t keep = b[at];

		b[at] = 0xe8;
		ck_assert_int_eq(klp_site_state(ARCH, &s, b, 8, &done), KLP_STATE_FOREIGN);
		b[at] = keep;
	}
	ck_assert_int_eq(klp_site_state(ARCH, &s, b, v->site + 1, &done), KLP_STATE_FOREIGN);
	ck_assert_uint_eq(klp_site_disarm_stores(ARCH, &s, st), 2);
	for (size_t i = 0; i < 2; i++) {
		ck_assert_uint_eq(st[i].width, 1);
		ck_assert_uint_eq(b[st[i].addr - s.entry], st[i].expect[0]);
		b[st[i].addr - s.entry] = st[i].value[0];
		ck_assert(harmless(b + v->site) && harmless(b + v->site + 1));
	}
	ck_assert_mem_eq(b, dormant, 8);
}
END_TEST

START_TEST(test_refusals)
{
	struct klp_error e = KLP_ERROR_INIT;
	uint8_t code[64];
	struct klp_site s;

	memset(code, 0x90, sizeof(code));
	ck_assert_int_eq(klp_site_decode(ARCH, AT, 0, code, AT, 64, &s, &e), -ENOENT);
	ck_assert_int_eq(e.reason, KLP_NO_SITE);
	ck_assert_int_eq(klp_site_decode(ARCH, AT, AT + 4, code, AT, 64, &s, &e), -EINVAL);
	ck_assert_int_eq(e.reason, KLP_PREFIX_TOO_SMALL);
	ck_assert_int_eq(klp_site_decode(ARCH, AT, AT + 17, code, AT, 64, &s, &e), -EINVAL);
	ck_assert_int_eq(klp_site_decode(ARCH, AT + 8192, AT, code, AT, 64, &s, &e), -EINVAL);
	ck_assert_int_eq(klp_site_decode(ARCH, AT + 64, AT, code, AT, 64, &s, &e), -EINVAL);
	ck_assert_int_eq(klp_site_decode(ARCH, AT + 16, AT - 1, code, AT, 64, &s, &e), -EINVAL);
	ck_assert_int_eq(klp_site_decode(ARCH, UINT64_MAX, UINT64_MAX - 16, code, AT, 64, &s, &e), -EINVAL);
	ck_assert_int_eq(klp_site_decode(0xffff, AT, AT, code, AT, 64, &s, &e), -ENOTSUP);
	ck_assert_int_eq(e.reason, KLP_WRONG_ARCH);
}
END_TEST

/* Random bytes at the end of a readable page: an answer, never a read outside (valgrind and ASan builds see it, and the
 * heap's end). */
START_TEST(test_random_bytes)
{
	static const uint8_t common[] = {0x90, 0x66, 0x0f, 0x1f, 0xf3, 0x1e, 0xfa,
					 0x84, 0x44, 0x00, 0x2e, 0x48, 0xeb, 0xcc};
	unsigned good = 0;

	for (int round = 0; round < 200000; round++) {
		size_t len = (size_t)(random() % 40 + 1);
		uint8_t *code = malloc(len);
		struct klp_error e = KLP_ERROR_INIT;
		struct klp_site s;

		for (size_t i = 0; i < len; i++)
			code[i] = random() % 3 ? 0x90 : common[(size_t)random() % sizeof(common)];
		if (!klp_site_decode(ARCH, AT + (uint64_t)(random() % 44), AT, code, AT, len, &s, &e)) {
			good++;
			ck_assert_uint_ge(s.jump_target, s.prefix);
			ck_assert_uint_le(s.body, AT + len);
		}
		free(code);
	}
	ck_assert_uint_gt(good, 1000);
}
END_TEST

/* Damaged ELF files: an error or a list, never a crash. */
static int damage(const char *path)
{
	char *copy = scratch_name("decode");
	int in = open(path, O_RDONLY | O_CLOEXEC), fd = mkstemp(copy);
	off_t size = lseek(in, 0, SEEK_END);
	uint8_t *orig = malloc((size_t)size), *bytes = malloc((size_t)size);
	unsigned failed = 0;

	need(in >= 0 && fd >= 0 && size > 0 && orig && bytes && pread(in, orig, (size_t)size, 0) == size);
	for (int round = 0; round < 400; round++) {
		const Elf64_Ehdr *eh = (const Elf64_Ehdr *)orig;
		size_t len = round % 4 ? (size_t)size : (size_t)random() % (size_t)size;
		struct klp_error e = KLP_ERROR_INIT;
		struct klp_site_list l;

		memcpy(bytes, orig, (size_t)size);
		for (int i = 0; i < 8; i++) {
			/* Headers, section headers, anything. */
			size_t at = i < 2   ? (size_t)random() % 64
				    : i < 6 ? eh->e_shoff + (size_t)random() % (eh->e_shnum * 64ul)
					    : (size_t)random() % (size_t)size;

			if (at < (size_t)size && (i >= 2 || round % 3 == 0))
				bytes[at] = (uint8_t)random();
		}
		need(!ftruncate(fd, 0) && pwrite(fd, bytes, len, 0) == (ssize_t)len);
		if (klp_site_list_file(copy, &l, &e))
			failed++;
		else
			klp_site_list_free(&l);
	}
	unlink(copy);
	free(copy);
	close(fd);
	close(in);
	free(orig);
	free(bytes);
	need(failed > 10);
	return 0;
}

static int check_file(const char *path, const char *want)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_site_list l;
	unsigned seen = 0;

	if (klp_site_list_file(path, &l, &e))
		harness_fail(__FILE__, __LINE__, e.text);
	for (size_t i = 0; i < l.count; i++) {
		const struct klp_site_list_entry *f = &l.entry[i];
		const char *got = f->reason == KLP_NO_SITE            ? "NO_SITE"
				  : f->reason == KLP_SITE_UNKNOWN     ? "SITE_UNKNOWN"
				  : f->reason == KLP_PREFIX_TOO_SMALL ? "PREFIX_TOO_SMALL"
				  : f->reason                         ? "other"
								      : klp_site_layout_name(f->site.layout);

		need(f->reason || f->site.entry == f->entry);
		if (!strcmp(f->name, "_start"))
			need(f->reason == KLP_NO_SITE); /* the C library's own start has none */
		if (strncmp(f->name, "victim_", 7))
			continue;
		seen++;
		if (strcmp(got, want)) {
			dprintf(2, "%s: %s: found %s, wanted %s\n", path, f->name, got, want);
			return 1;
		}
	}
	printf("%s: %u functions %s\n", path, seen, want);
	need(seen >= 10);
	klp_site_list_free(&l);
	return damage(path);
}

int main(int argc, char **argv)
{
	Suite *s;
	TCase *tc;
	SRunner *sr;
	int failed;

	if (argc == 3)
		return check_file(argv[1], argv[2]);
	s = suite_create("decode");
	tc = tcase_create("decode");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_vectors, 0, sizeof(vectors) / sizeof(vectors[0]));
	tcase_add_test(tc, test_refusals);
	tcase_add_test(tc, test_random_bytes);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
