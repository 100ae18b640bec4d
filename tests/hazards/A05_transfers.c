/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hazard A5: a program whose only thread is inside a transfer of a MiB. It is never borrowed, so nothing is cut short;
 * and when a stop does cut a transfer short, it is counted.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/remote/common.h"

#define MIB (1u << 20)
#define BLOCKED_MS 2000u

static struct {
	atomic_int begun;
	_Atomic long result;
} * talk;

static long by_write(int fd, const char *buf, FILE *f)
{
	(void)f;
	return write(fd, buf, MIB);
}

static long by_send(int fd, const char *buf, FILE *f)
{
	(void)f;
	return send(fd, buf, MIB, 0);
}

static long by_sendfile(int fd, const char *buf, FILE *f)
{
	off_t at = 0;

	(void)buf;
	return sendfile(fd, fileno(f), &at, MIB);
}

static const struct {
	const char *name;
	bool is_pipe;
	long (*transfer)(int fd, const char *buf, FILE *f);
} kinds[] = {{"write to a pipe", true, by_write},
	     {"write to a socket", false, by_write},
	     {"send", false, by_send},
	     {"sendfile", false, by_sendfile}};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static bool blocked(pid_t pid)
{
	char path[64], c = 'r';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
	f = fopen(path, "re");
	if (f) {
		c = (char)fgetc(f);
		fclose(f);
	}
	return c != 'r' && c != '-';
}

/* The target, inside its transfer; *fd is where the reader reads. */
static pid_t target_start(size_t kind, int *fd)
{
	int ends[2];
	pid_t pid;

	if (kinds[kind].is_pipe ? pipe(ends) : socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) {
		perror("pipe");
		exit(1);
	}
	atomic_store(&talk->begun, 0);
	atomic_store(&talk->result, -1);
	pid = fork_bound();
	if (!pid) {
		char *buf = calloc(1, MIB);
		FILE *f = tmpfile();

		close(ends[0]);
		if (!buf || !f || fwrite(buf, 1, MIB, f) != MIB || fflush(f))
			_exit(1);
		atomic_store(&talk->begun, 1);
		atomic_store(&talk->result, kinds[kind].transfer(ends[1], buf, f));
		_exit(0);
	}
	close(ends[1]);
	*fd = ends[0];
	for (unsigned ms = 0; !(atomic_load(&talk->begun) && blocked(pid)) && ms < BLOCKED_MS; ms++)
		sleep_ms(1);
	sleep_ms(5);
	check(atomic_load(&talk->begun) && blocked(pid) && talk->result == -1, "%s: not inside its transfer",
	      kinds[kind].name);
	return pid;
}

/* Takes everything; what the target's call returned. */
static long target_end(pid_t pid, int fd)
{
	char buf[65536];
	int status;

	while (read(fd, buf, sizeof(buf)) > 0)
		;
	close(fd);
	waitpid(pid, &status, 0);
	return atomic_load(&talk->result);
}

static void nothing(void *ctx, pid_t tid, const struct klp_unw_regs *regs, uint64_t thread_pointer)
{
	(void)ctx;
	(void)tid;
	(void)regs;
	(void)thread_pointer;
}

int main(void)
{
	struct tool_result *r = shared(sizeof(*r));
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_remote rem = {0};
	struct klp_process p;
	long result;
	pid_t pid;
	int fd;

	talk = shared(sizeof(*talk));
	for (size_t i = 0; i < KINDS; i++) {
		pid = target_start(i, &fd);
		tool_cycles(pid, 1, 200, false, r);
		check(r->rc && r->error.reason == KLP_NO_BORROW, "%s: %s instead of NO_BORROW", kinds[i].name,
		      klp_reason_name(r->error.reason));
		result = target_end(pid, fd);
		check(result == MIB, "%s: cut short, %ld bytes of %u", kinds[i].name, result, MIB);
		check(!r->early_returns, "%s: %lu early returns counted", kinds[i].name, r->early_returns);
		printf("%s: %s\n", kinds[i].name, r->error.text);
	}

	/* The thread is stopped all the same: the harm is real, and it is counted. */
	pid = target_start(0, &fd);
	check(!klp_process_open(pid, &p, &e), "open: %s", e.text);
	rem.p = &p;
	check(klp_remote_interrupt(&rem, pid, nothing, NULL, &e) >= 0, "interrupt: %s", e.text);
	klp_process_close(&p);
	result = target_end(pid, fd);
	check(result > 0 && result < MIB, "stopped: %ld bytes, this kernel does not cut a transfer short", result);
	check(rem.early_returns == 1, "stopped: a transfer was cut short, %lu counted", rem.early_returns);
	return check_end();
}
