/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hazard S6: a library of the target goes, and another one takes its place in memory, between two reads of the dynamic
 * linker's list: the node that the first read led to is the last one of the list now, and what stands behind it would
 * be missing. Whoever then looks for a name finds it in another object or not at all. klp_process_read is replaced to
 * take the moment every time. usage: S06_list_that_stands LIBRARY
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "klp/scope.h"
#include "tests/remote/common.h"

#define OTHERS 32u

struct talk {
	_Atomic uint64_t leaving, staying; /* link maps */
	atomic_int move, moved;            /* moved: 1, or -1 if the place was not taken again */
};

int __real_klp_process_read(const struct klp_process *p, uint64_t addr, void *buf, size_t len, struct klp_error *e);
int __wrap_klp_process_read(const struct klp_process *p, uint64_t addr, void *buf, size_t len, struct klp_error *e);

static struct talk *talk;
static char directory[PATH_MAX - 32];

int __wrap_klp_process_read(const struct klp_process *p, uint64_t addr, void *buf, size_t len, struct klp_error *e)
{
	if (addr == atomic_load(&talk->leaving) && len == sizeof(struct link_map) && !atomic_load(&talk->move)) {
		atomic_store(&talk->move, 1);
		while (!atomic_load(&talk->moved))
			sleep_ms(1);
	}
	return __real_klp_process_read(p, addr, buf, len, e);
}

/* In TMPDIR, for this process alone. */
static bool make_directory(void)
{
	const char *where = getenv("TMPDIR");
	int len = snprintf(directory, sizeof(directory), "%s/klp-list.%d", where && *where ? where : "/tmp", getpid());

	return len > 0 && (size_t)len < sizeof(directory) && !mkdir(directory, 0700);
}

static const char *copy_name(unsigned i)
{
	static char name[PATH_MAX];

	snprintf(name, sizeof(name), "%s/library-%02u.so", directory, i);
	return name;
}

static void copies(const char *library)
{
	for (unsigned i = 0; i < OTHERS + 2; i++) {
		int from = open(library, O_RDONLY | O_CLOEXEC);
		int to = open(copy_name(i), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
		struct stat st;

		if (from < 0 || to < 0 || fstat(from, &st) ||
		    sendfile(to, from, NULL, (size_t)st.st_size) != st.st_size) {
			perror(copy_name(i));
			exit(1);
		}
		close(from);
		close(to);
	}
}

static void target(void)
{
	void *leaving = dlopen(copy_name(0), RTLD_NOW), *staying = dlopen(copy_name(1), RTLD_NOW), *last = NULL;

	if (!leaving || !staying)
		_exit(2);
	atomic_store(&talk->leaving, (uint64_t)(uintptr_t)leaving);
	atomic_store(&talk->staying, (uint64_t)(uintptr_t)staying);
	while (!atomic_load(&talk->move))
		sleep_ms(1);
	dlclose(leaving);
	for (unsigned i = 0; i < OTHERS && last != leaving; i++)
		last = dlopen(copy_name(i + 2), RTLD_NOW);
	atomic_store(&talk->moved, last == leaving ? 1 : -1);
	for (;;)
		pause();
}

static void look(pid_t pid)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_process p;
	struct klp_scope s;
	bool found = false;
	int rc = klp_process_open(pid, &p, &e);

	check(!rc, "opening it: %s", e.text);
	if (rc)
		return;
	rc = klp_scope_open(&p, &s, &e);
	check(!rc, "its list: %s %s", klp_reason_name(e.reason), e.text);
	if (!rc) {
		for (size_t i = 0; i < s.count; i++)
			found |= !strcmp(s.dso[i].o->path, copy_name(1));
		check(found, "the list is cut short");
		klp_scope_close(&s);
	}
	klp_process_close(&p);
}

int main(int argc, char **argv)
{
	int moved = 0;
	pid_t pid;

	if (argc != 2) {
		fprintf(stderr, "usage: S06_list_that_stands LIBRARY\n");
		return 2;
	}
	if (!make_directory()) {
		perror("a directory for the libraries");
		return 2;
	}
	talk = shared(sizeof(*talk));
	copies(argv[1]);
	pid = fork_bound();
	if (!pid)
		target();
	while (!atomic_load(&talk->staying) && thread_count(pid))
		sleep_ms(1);
	look(pid);
	moved = atomic_load(&talk->moved);
	check(moved, "the list was not read");
	finish(pid);
	for (unsigned i = 0; i < OTHERS + 2; i++)
		unlink(copy_name(i));
	rmdir(directory);
	if (moved < 0) {
		printf("SKIPPED: the dynamic linker has not used that memory again\n");
		return TEST_SKIPPED;
	}
	return check_end();
}
