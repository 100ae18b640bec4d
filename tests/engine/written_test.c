/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of which little was written, of a child: what is read is what klp_process_read gives, and what nobody has
 * written is not touched. */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "klp/process.h"
#include "klp/written.h"

#define PAGES 200

static size_t page;
static char *area;
static pid_t child;
static struct klp_process p;

/* Pages of the child's area that are there. */
static unsigned present(void)
{
	uint64_t entry[PAGES];
	char path[64];
	unsigned n = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", child);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, entry, sizeof(entry), (off_t)((uintptr_t)area / page * 8)), sizeof(entry));
	close(fd);
	for (size_t i = 0; i < PAGES; i++)
		n += (unsigned)(entry[i] >> 63);
	return n;
}

/* A child that has written at these offsets, and waits. */
static void start(const size_t *at, size_t count)
{
	struct klp_error e = KLP_ERROR_INIT;
	int ready[2];
	char c;

	page = (size_t)sysconf(_SC_PAGESIZE);
	area = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(area, MAP_FAILED);
	ck_assert_int_eq(madvise(area, PAGES * page, MADV_NOHUGEPAGE), 0);
	ck_assert_int_eq(pipe(ready), 0);
	child = fork();
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (size_t i = 0; i < count; i++)
			area[at[i]] = (char)(i + 1);
		if (write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	ck_assert_int_eq(read(ready[0], &c, 1), 1);
	close(ready[0]);
	close(ready[1]);
	ck_assert_msg(!klp_process_open(child, &p, &e), "%s", e.text);
}

static void end(void)
{
	klp_process_close(&p);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	munmap(area, PAGES * page);
}

/* The same from any place to any place, and nothing beside it. */
static void check_range(size_t from, size_t len, const size_t *at, size_t count)
{
	struct klp_error e = KLP_ERROR_INIT;
	char *got = calloc(len + 1, 1), *want = calloc(len + 1, 1);

	for (size_t i = 0; i < count; i++)
		if (at[i] >= from && at[i] < from + len)
			want[at[i] - from] = (char)(i + 1);
	got[len] = want[len] = 'x';
	ck_assert_msg(!klp_process_read_written(&p, (uintptr_t)area + from, got, len, &e), "%s", e.text);
	ck_assert_msg(!memcmp(got, want, len + 1), "%zu bytes at %zu differ", len, from);
	free(got);
	free(want);
}

START_TEST(what_was_written_is_read)
{
	const size_t size = (size_t)sysconf(_SC_PAGESIZE);
	const size_t at[] = {0, 5, size - 1, 64 * size, 65 * size + 7, 100 * size, 127 * size, 199 * size + size - 1};
	const size_t n = sizeof(at) / sizeof(*at);
	unsigned there;

	start(at, n);
	there = present();
	check_range(0, PAGES * page, at, n);
	check_range(0, 0, at, n);
	check_range(3, 3, at, n);
	check_range(page - 1, 63 * page + 2, at, n);
	check_range(64 * page, page, at, n);
	check_range(64 * page + 1, page + 6, at, n);
	check_range(66 * page, 30 * page + 9, at, n);
	check_range(127 * page, 73 * page, at, n);
	check_range(199 * page + 1, page - 1, at, n);
	ck_assert_uint_eq(there, 6);
	ck_assert_uint_eq(present(), there);
	end();
}
END_TEST

START_TEST(nothing_was_written)
{
	start(NULL, 0);
	check_range(0, PAGES * page, NULL, 0);
	ck_assert_uint_eq(present(), 0);
	end();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("written");
	TCase *tc = tcase_create("written");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, what_was_written_is_read);
	tcase_add_test(tc, nothing_was_written);
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
