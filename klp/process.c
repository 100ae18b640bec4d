/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/process.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "klp/machine.h"
#include "klp/maps.h"
#include "klp/objects.h"
#include "klp/sharing.h"

#define KLP_AUXV_MAX 128u
#define KLP_LIVE_TRIES 8u /* threads that end between being listed and being used */
#define KLP_PIECES 256u   /* read by one system call; IOV_MAX is 1024 */

static int klp_read_small(const char *path, char *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, len - 1);
	if (n < 0)
		n = -errno;
	close(fd);
	if (n < 0)
		return (int)n;
	buf[n] = 0;
	return (int)n;
}

/* Fields of /proc/PID/stat behind the command: [0] is the state (field 3). */
static int klp_stat(const struct klp_process *p, pid_t tid, char *state, uint64_t *flags, uint64_t *start_time,
		    uint64_t *start_stack)
{
	char path[80], text[2048], *at;
	int rc;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", p->pid, tid);
	rc = klp_read_small(path, text, sizeof(text));
	if (rc < 0)
		return rc;
	at = strrchr(text, ')');
	if (!at || sscanf(at + 1,
			  " %c %*d %*d %*d %*d %*d %" SCNu64 " %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %" SCNu64
			  " %*u %*d %*u %*u %*u %" SCNu64,
			  state, flags, start_time, start_stack) != 4)
		return -EINVAL;
	return 0;
}

int klp_task_start(const struct klp_process *p, pid_t tid, uint64_t *ticks)
{
	uint64_t flags, stack;
	char state;

	return klp_stat(p, tid, &state, &flags, ticks, &stack);
}

static int klp_process_auxv(const struct klp_process *p, uint64_t type, uint64_t *value, struct klp_error *e)
{
	uint64_t pair[2 * KLP_AUXV_MAX];
	char path[80];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/auxv", p->pid, p->live_tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return klp_fail(e, errno, errno == EACCES || errno == EPERM ? KLP_PERMISSION : KLP_NO_PROCESS, "%s: %s",
				path, strerror(errno));
	*value = 0;
	n = read(fd, pair, sizeof(pair));
	for (size_t i = 0; n > 0 && i + 1 < (size_t)n / sizeof(*pair) && pair[i]; i += 2)
		if (pair[i] == type)
			*value = pair[i + 1];
	close(fd);
	return 0;
}

static void klp_process_break(struct klp_process *p)
{
	p->brk_start = p->brk_end = 0;
	for (size_t i = 0; i < p->map_count; i++) {
		if (strcmp(p->map[i].path, "[heap]"))
			continue;
		if (!p->brk_start)
			p->brk_start = p->map[i].start;
		p->brk_end = p->map[i].end;
	}
	/* No heap yet: it will begin somewhere behind the executable (randomised by at most 32 MiB, 1 GiB for compat);
	 * the end of its data stands for both, so that the room above it is not taken. */
	for (size_t i = 0; !p->brk_start && i < p->object_count; i++)
		if (p->object[i].main)
			p->brk_start = p->brk_end = p->object[i].end;
}

/* The dynamic linker: where the kernel has put it; or the program itself if it was called by its name. */
static int klp_process_find_interpreter(struct klp_process *p, struct klp_error *e)
{
	uint64_t base;
	int rc = klp_process_auxv(p, AT_BASE, &base, e);

	for (size_t i = 0; i < p->object_count && !rc; i++) {
		struct klp_object *o = &p->object[i];
		const char *name = strrchr(o->path, '/');

		o->interpreter = base ? o->start == base : o->main && name && !strncmp(name, "/ld-", 4);
	}
	return rc;
}

/* A thread that is not a zombie: the main thread may have exited while others live. */
static pid_t klp_process_some_thread(const struct klp_process *p, struct klp_error *e)
{
	uint64_t flags, start, stack;
	pid_t *tid = NULL, found = 0;
	size_t n = 0;
	char state;
	int rc = klp_process_tids(p, &tid, &n, e);

	if (rc)
		return rc;
	for (size_t i = 0; i < n && !found; i++)
		if (!klp_stat(p, tid[i], &state, &flags, &start, &stack) && state != 'Z' && state != 'X')
			found = tid[i];
	free(tid);
	return found ? found : klp_fail(e, ESRCH, KLP_ZOMBIE, "process %d has exited already (zombie)", p->pid);
}

static int klp_process_live(struct klp_process *p, struct klp_error *e)
{
	pid_t tid = klp_process_some_thread(p, e);

	if (tid < 0)
		return tid;
	p->live_tid = tid;
	return 0;
}

static int klp_process_refresh_once(struct klp_process *p, struct klp_error *e)
{
	struct klp_process before = *p; /* its map is compared, then freed */
	uint64_t entry = 0;
	int rc;

	p->map = NULL;
	p->map_count = 0;
	rc = klp_maps_read(p, e);
	if (!rc && !klp_objects_keep(p, &before)) {
		rc = klp_process_auxv(p, AT_ENTRY, &entry, e);
		if (!rc)
			rc = klp_objects_read(p, entry, e);
		if (!rc)
			rc = klp_process_find_interpreter(p, e);
	}
	if (rc)
		klp_objects_free(p); /* their paths belonged to the old list */
	else
		klp_process_break(p);
	klp_maps_free(&before);
	return rc;
}

int klp_process_refresh(struct klp_process *p, struct klp_error *e)
{
	struct klp_error first = KLP_ERROR_INIT, ignored = KLP_ERROR_INIT;
	pid_t was = p->live_tid;
	int rc = klp_process_refresh_once(p, &first);

	/* The files of a thread that has ended say nothing: another one's do. */
	if (rc && !klp_process_live(p, &ignored) && p->live_tid != was)
		return klp_process_refresh_once(p, e);
	if (rc)
		*e = first;
	return rc;
}

int klp_process_reread(struct klp_process *p, struct klp_error *e)
{
	klp_objects_free(p);
	return klp_process_refresh(p, e);
}

static bool klp_process_same_namespace(pid_t pid)
{
	char path[64], mine[64], theirs[64];
	ssize_t a, b;

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
	a = readlink("/proc/self/ns/pid", mine, sizeof(mine));
	b = readlink(path, theirs, sizeof(theirs));
	return a > 0 && a == b && !memcmp(mine, theirs, (size_t)a);
}

int klp_process_open(pid_t pid, struct klp_process *p, struct klp_error *e)
{
	struct klp_task_info info;
	uint64_t flags, stack;
	char path[80], text[4096], *at;
	char state;
	int rc;

	memset(p, 0, sizeof(*p));
	p->pid = pid;
	p->mem_fd = p->lock_fd = -1;
	if (pid <= 0)
		return klp_fail(e, EINVAL, KLP_USAGE, "%d is no process id", pid);
	rc = klp_stat(p, pid, &state, &flags, &p->start_time, &p->start_stack);
	if (rc)
		return klp_fail(e, ESRCH, KLP_NO_PROCESS, "there is no process %d", pid);
	if (flags & 0x00200000u) /* PF_KTHREAD */
		return klp_fail(e, EINVAL, KLP_KERNEL_MADE, "%d is a thread of the kernel", pid);
	rc = klp_process_live(p, e);
	if (rc)
		return rc;
	/* start_stack is shown only to those who may ptrace; after the main thread's exit any live thread tells it. */
	klp_stat(p, p->live_tid, &state, &flags, &stack, &p->start_stack);
	rc = klp_task_info(p, p->live_tid, &info, e);
	if (rc)
		return rc;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, p->live_tid);
	if (klp_read_small(path, text, sizeof(text)) > 0 && (at = strstr(text, "\nNStgid:"))) {
		char *end;

		p->ns_pid = pid;
		for (at += 8; *at && *at != '\n'; at = end) {
			long v = strtol(at, &end, 10);

			if (end == at)
				break;
			p->ns_pid = (pid_t)v;
		}
	} else {
		p->ns_pid = pid;
	}
	snprintf(path, sizeof(path), "/proc/%d/task/%d/mem", pid, p->live_tid);
	p->mem_fd = open(path, O_RDWR | O_CLOEXEC);
	if (p->mem_fd < 0)
		return klp_fail(e, errno, errno == EACCES || errno == EPERM ? KLP_PERMISSION : KLP_NO_PROCESS,
				"the memory of process %d: %s", pid, strerror(errno));
	p->same_ns = klp_process_same_namespace(pid);
	p->stack_limit = 8u << 20;
	snprintf(path, sizeof(path), "/proc/%d/limits", pid);
	if (klp_read_small(path, text, sizeof(text)) > 0 && (at = strstr(text, "Max stack size"))) {
		at += strlen("Max stack size");
		at += strspn(at, " ");
		p->stack_limit = !strncmp(at, "unlimited", 9) ? UINT64_MAX : strtoull(at, NULL, 10);
	}
	rc = klp_process_refresh(p, e);
	if (!rc && p->machine != KLP_HOST_MACHINE)
		rc = klp_fail(e, EINVAL, KLP_WRONG_ARCH,
			      "process %d runs code for machine %u, this klpctl is for machine %u", pid, p->machine,
			      KLP_HOST_MACHINE);
	if (rc)
		klp_process_close(p);
	return rc;
}

void klp_process_close(struct klp_process *p)
{
	klp_objects_free(p);
	klp_maps_free(p);
	if (p->mem_fd >= 0)
		close(p->mem_fd);
	if (p->lock_fd >= 0)
		close(p->lock_fd);
	p->mem_fd = p->lock_fd = -1;
}

static int klp_process_check_memory(const struct klp_process *p, struct klp_error *e)
{
	pid_t other = klp_process_shares_memory(p);

	if (other)
		return klp_fail(
		    e, EBUSY, KLP_BUSY,
		    "process %d lives in the memory of its parent %d until it executes a program of its own "
		    "(vfork, posix_spawn): patch that one",
		    p->pid, other);
	other = klp_process_shared_with(p);
	return other ? klp_fail(e, EBUSY, KLP_BUSY,
				"process %d lives in the memory of process %d and is none of its threads (clone with "
				"CLONE_VM): what it is in the middle of is not known",
				other, p->pid)
		     : 0;
}

int klp_process_check(struct klp_process *p, struct klp_error *e)
{
	pid_t *tid = NULL;
	unsigned filters = 0;
	bool first = true;
	int seccomp = 0;
	size_t n = 0;
	int rc = klp_process_check_memory(p, e);

	if (!rc)
		rc = klp_process_tids(p, &tid, &n, e);

	p->survey = (struct klp_survey){.done = rc == 0};
	for (size_t i = 0; i < n && !rc; i++) {
		struct klp_error ignored = KLP_ERROR_INIT;
		struct klp_task_info info;

		if (klp_task_status(p, tid[i], &info, &ignored))
			continue;
		p->survey.all_blocked |= info.sig_blocked == KLP_ALL_BLOCKED;
		/* The one thread that is borrowed has its filters evaluated; dispatch makes system calls on all of
		 * them. */
		if (first) {
			seccomp = info.seccomp;
			filters = info.seccomp_filters;
			first = false;
		}
		if (!klp_task_is_kernel_made(&info) && info.state != 'Z' &&
		    (info.seccomp != seccomp || info.seccomp_filters != filters))
			rc = klp_fail(e, EPERM, KLP_SECCOMP, "the threads of process %d have different seccomp filters",
				      p->pid);
		else if (info.tracer)
			rc = klp_fail(e, EBUSY, KLP_TRACED, "thread %d of process %d is traced by %d", tid[i], p->pid,
				      info.tracer);
		else if (info.state == 'T')
			rc = klp_fail(e, EBUSY, KLP_STOPPED,
				      "process %d is stopped by job control (SIGSTOP): continue it first", p->pid);
		else if (info.shadow_stack)
			rc = klp_fail(e, ENOTSUP, KLP_SHADOW_STACK, "process %d runs with a hardware shadow stack",
				      p->pid);
	}
	free(tid);
	return rc;
}

/* The file keeps the address space that it was opened for: it reads nothing when that is no more, while the pid may
 * have another one by then (exec). */
static bool klp_process_is_over(const struct klp_process *p)
{
	char byte;

	return p->mem_fd >= 0 && pread(p->mem_fd, &byte, 1, 0) == 0;
}

static int klp_memory_fail(const struct klp_process *p, struct klp_error *e, int err, const char *what, uint64_t addr,
			   size_t len)
{
	enum klp_reason reason = err == ESRCH                    ? KLP_NO_PROCESS
				 : err == EPERM || err == EACCES ? KLP_PERMISSION
								 : KLP_TARGET_MEMORY;

	if (klp_process_is_over(p))
		return klp_fail(e, ESRCH, KLP_NO_PROCESS, "process %d has ended, or executes another program", p->pid);
	return klp_fail(e, err, reason, "%s %zu bytes at 0x%" PRIx64 " of process %d: %s", what, len, addr, p->pid,
			strerror(err));
}

/* One call takes at most 2 GiB less a page, and a partial transfer is an error to us. */
static int klp_memory_move(pid_t tid, bool write, uint64_t addr, void *buf, size_t len)
{
	struct iovec mine = {buf, len}, theirs = {(void *)(uintptr_t)addr, len};
	ssize_t n =
	    write ? process_vm_writev(tid, &mine, 1, &theirs, 1, 0) : process_vm_readv(tid, &mine, 1, &theirs, 1, 0);

	return n < 0 ? -errno : (size_t)n == len ? 0 : -EFAULT;
}

int klp_process_read(const struct klp_process *p, uint64_t addr, void *buf, size_t len, struct klp_error *e)
{
	int rc = len ? klp_memory_move(p->live_tid, false, addr, buf, len) : 0;
	ssize_t n;

	if (!rc)
		return 0;
	/* Pages that the target itself may not read (execute-only), or a thread that ended: through the file. */
	if (rc == -EFAULT || rc == -ESRCH || rc == -ENOSYS || rc == -EPERM) {
		n = addr > INT64_MAX ? -1 : pread(p->mem_fd, buf, len, (off_t)addr);
		if (n >= 0 && (size_t)n == len)
			return 0;
	}
	return klp_memory_fail(p, e, -rc, "reading", addr, len);
}

int klp_process_read_pieces(const struct klp_process *p, const struct klp_piece *piece, size_t count,
			    struct klp_error *e)
{
	struct iovec mine[KLP_PIECES], theirs[KLP_PIECES];

	while (count) {
		size_t n = count < KLP_PIECES ? count : KLP_PIECES, len = 0;
		ssize_t got;

		for (size_t i = 0; i < n; i++) {
			mine[i] = (struct iovec){piece[i].buf, piece[i].len};
			theirs[i] = (struct iovec){(void *)(uintptr_t)piece[i].addr, piece[i].len};
			len += piece[i].len;
		}
		got = process_vm_readv(p->live_tid, mine, n, theirs, n, 0);
		if (got < 0 || (size_t)got != len) { /* one by one: tells which, and knows other ways */
			for (size_t i = 0; i < n; i++) {
				int rc = klp_process_read(p, piece[i].addr, piece[i].buf, piece[i].len, e);

				if (rc)
					return rc;
			}
		}
		piece += n;
		count -= n;
	}
	return 0;
}

int klp_process_write(const struct klp_process *p, uint64_t addr, const void *buf, size_t len, struct klp_error *e)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	pid_t tid = p->live_tid;
	int rc = len ? -ESRCH : 0;

	/* What was meant for one program must not be written into another. */
	if (klp_process_is_over(p))
		return klp_memory_fail(p, e, ESRCH, "writing", addr, len);
	for (unsigned tries = 0; rc == -ESRCH && tid > 0 && tries < KLP_LIVE_TRIES; tries++) {
		rc = klp_memory_move(tid, true, addr, (void *)(uintptr_t)buf, len);
		if (rc == -ESRCH) /* that thread has ended; klp_process_refresh will look for another one */
			tid = klp_process_some_thread(p, &ignored);
	}
	return rc ? klp_memory_fail(p, e, -rc, "writing", addr, len) : 0;
}

int klp_process_write_text(const struct klp_process *p, uint64_t addr, const void *buf, size_t len, struct klp_error *e)
{
	ssize_t n = pwrite(p->mem_fd, buf, len, (off_t)addr);

	return n >= 0 && (size_t)n == len ? 0 : klp_memory_fail(p, e, n < 0 ? errno : EFAULT, "writing", addr, len);
}
