/* SPDX-License-Identifier: Apache-2.0 */
/* The list of mappings, from this process's own /proc/self/maps, while it changes between two reads of the file. */
#include <check.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "klp/maps.h"

#define PAGES 400

/* A listing of which a part is passed on when `change` has been called: once, when the area is being listed. */
struct listing {
	int fd;
	char *area;
	size_t page;
	void (*change)(struct listing *l);
};

static ssize_t read_listing(void *cookie, char *buf, size_t size)
{
	struct listing *l = cookie;
	/* As a reader with a small buffer does. */
	ssize_t n = read(l->fd, buf, size < 4096 ? size : 4096);
	char here[64];

	/* Some of the area has been listed, and not all of it: the last page's line is not there. */
	if (n > 0 && l->change) {
		snprintf(here, sizeof(here), "%lx-", (unsigned long)(uintptr_t)(l->area + l->page));
		if (memmem(buf, (size_t)n, here, strlen(here))) {
			l->change(l);
			l->change = NULL;
		}
	}
	return n;
}

static void one_mapping(struct listing *l)
{
	ck_assert_int_eq(mprotect(l->area, PAGES * l->page, PROT_READ | PROT_WRITE), 0);
}

static void nothing_there(struct listing *l)
{
	ck_assert_int_eq(munmap(l->area + 2 * l->page, (PAGES - 2) * l->page), 0);
}

/* Every second page readable only, so that each is a mapping of its own, many reads long. */
static void start(struct listing *l)
{
	l->page = (size_t)sysconf(_SC_PAGESIZE);
	l->area = mmap(NULL, PAGES * l->page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(l->area, MAP_FAILED);
	for (size_t i = 0; i < PAGES; i += 2)
		ck_assert_int_eq(mprotect(l->area + i * l->page, l->page, PROT_READ), 0);
	l->fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(l->fd, 0);
}

static void parse(struct listing *l, struct klp_process *p)
{
	cookie_io_functions_t io = {.read = read_listing};
	FILE *f = fopencookie(l, "r", io);
	struct klp_error e = {0};

	ck_assert_ptr_nonnull(f);
	ck_assert_msg(!klp_maps_parse(p, f, &e), "%s", e.text);
	fclose(f);
	close(l->fd);
	ck_assert_msg(!l->change, "the area was not listed");
	for (size_t i = 0; i < p->map_count; i++) {
		ck_assert(p->map[i].start < p->map[i].end);
		ck_assert(!i || p->map[i].start >= p->map[i - 1].end);
	}
}

START_TEST(a_mapping_that_grows_while_it_is_listed)
{
	struct klp_process p = {.pid = getpid()};
	struct listing l = {.change = one_mapping};

	start(&l);
	parse(&l, &p);
	for (size_t i = 0; i < PAGES; i++) {
		const struct klp_mapping *m = klp_process_mapping(&p, (uintptr_t)(l.area + i * l.page));

		ck_assert_ptr_nonnull(m);
		ck_assert_uint_eq(m->prot & PROT_READ, PROT_READ);
	}
	klp_maps_free(&p);
	munmap(l.area, PAGES * l.page);
}
END_TEST

START_TEST(mappings_that_go_while_they_are_listed)
{
	struct klp_process p = {.pid = getpid()};
	struct listing l = {.change = nothing_there};

	start(&l);
	parse(&l, &p);
	ck_assert_ptr_null(klp_process_mapping(&p, (uintptr_t)(l.area + (PAGES - 1) * l.page)));
	klp_maps_free(&p);
	munmap(l.area, PAGES * l.page);
}
END_TEST

/* Lines that no kernel writes are an error with a reason, and whatever was read is given back. */
START_TEST(lines_without_sense)
{
	static const char *const lines[] = {
	    "x\n",
	    "1000-2000\n",
	    "2000-1000 r-xp 00000000 00:00 0 \n",
	    "1000-1000 r-xp 00000000 00:00 0 \n",
	    "1000-2000 r-xpp 00000000 00:00 0 \n",
	    "1000-2000 r 00000000 00:00 0 \n",
	    "0-1 r--p 0 00:00 0 a\n1-2 r--p 0 00:00\n",
	};
	struct klp_process p = {.pid = getpid()};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		FILE *f = fmemopen((void *)(uintptr_t)lines[i], strlen(lines[i]), "r");
		struct klp_error e = {0};

		ck_assert_int_ne(klp_maps_parse(&p, f, &e), 0);
		ck_assert_int_eq(e.reason, KLP_TARGET_MEMORY);
		fclose(f);
	}
	klp_maps_free(&p);
}
END_TEST

START_TEST(the_later_line_is_believed)
{
	static const char text[] = "1000-2000 r--p 00000000 00:00 0 a\n"
				   "2000-3000 r--p 00000000 00:00 0 b\n"
				   "3000-4000 r--p 00000000 00:00 0 c\n"
				   "1800-5000 rw-p 00000000 00:00 0 d\n"
				   "4800-6000 r-xp 00000000 00:00 0 e\n";
	struct klp_process p = {.pid = getpid()};
	struct klp_error e = {0};
	FILE *f = fmemopen((void *)(uintptr_t)text, strlen(text), "r");

	ck_assert_int_eq(klp_maps_parse(&p, f, &e), 0);
	fclose(f);
	ck_assert_uint_eq(p.map_count, 3);
	ck_assert_str_eq(klp_process_mapping(&p, 0x17ff)->path, "a");
	ck_assert_str_eq(klp_process_mapping(&p, 0x1800)->path, "d");
	ck_assert_str_eq(klp_process_mapping(&p, 0x47ff)->path, "d");
	ck_assert_str_eq(klp_process_mapping(&p, 0x4800)->path, "e");
	klp_maps_free(&p);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("maps");
	TCase *t = tcase_create("maps");
	SRunner *r;
	int failed;

	tcase_add_test(t, a_mapping_that_grows_while_it_is_listed);
	tcase_add_test(t, mappings_that_go_while_they_are_listed);
	tcase_add_test(t, lines_without_sense);
	tcase_add_test(t, the_later_line_is_believed);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
