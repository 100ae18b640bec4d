/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads of a process. Who is not in this list is taken for one that was born later (klp_transition_seal), so it
 * must not skip one that lives.
 *
 * The kernel walks the threads in the order of their births (fs/proc/base.c: proc_task_readdir). If the one where it
 * stands is reaped in that moment the walk ends there, as if there were no more: the threads behind it are missing.
 * And a call that goes on where an earlier one stopped, at a thread that is no more, counts them off from the first
 * one, of whom some have ended since: others are missing. So a list counts only if
 *
 *	one call of getdents64() has read it all,
 *	its position has moved by as many as it listed: it steps over a thread that has just ended, without a word,
 *	and the last one listed is still there: then it was when the walk looked for one behind it, and found none.
 */
#include "klp/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KLP_TIDS_FIRST (64u << 10) /* bytes of the first attempt; a thread takes 24 */
#define KLP_TIDS_MAX (4u << 20)
#define KLP_TIDS_TRIES 1000u /* one in some hundred fails beside threads that are born and end all the time */

struct klp_dirent { /* struct linux_dirent64, getdents64(2) */
	uint64_t ino;
	int64_t off;
	unsigned short len;
	unsigned char type;
	char name[];
};

/* The tids of `len` bytes from getdents64() are put at the buffer's beginning: none is longer than its entry. -1: too
 * many. */
static long klp_tids_gather(char *buf, size_t len)
{
	long count = 0;

	for (size_t at = 0; at + sizeof(struct klp_dirent) <= len;) {
		struct klp_dirent d;
		pid_t tid;

		memcpy(&d, buf + at, sizeof(d));
		if (d.len < sizeof(d) || d.len > len - at ||
		    !memchr(buf + at + offsetof(struct klp_dirent, name), 0, d.len - offsetof(struct klp_dirent, name)))
			return 0;
		tid = (pid_t)strtol(buf + at + offsetof(struct klp_dirent, name), NULL, 10);
		at += d.len;
		if (tid <= 0) /* "." and ".." */
			continue;
		if (count == KLP_MAX_TIDS)
			return -1;
		memcpy(buf + (size_t)count * sizeof(tid), &tid, sizeof(tid));
		count++;
	}
	return count;
}

enum klp_walk { KLP_WALK_WHOLE, KLP_WALK_AGAIN, KLP_WALK_MORE_ROOM, KLP_WALK_TOO_MANY, KLP_WALK_ENDED };

static enum klp_walk klp_tids_walk(int fd, char *buf, size_t room, size_t *count)
{
	char more[512], last[32];
	long len = syscall(SYS_getdents64, fd, buf, room), n;
	off_t at;
	pid_t tid;

	if (len < 0)
		return errno == EINTR ? KLP_WALK_AGAIN : KLP_WALK_ENDED;
	at = lseek(fd, 0, SEEK_CUR);
	if (syscall(SYS_getdents64, fd, more, sizeof(more)))
		return (size_t)len + sizeof(more) > room ? KLP_WALK_MORE_ROOM : KLP_WALK_AGAIN;
	n = klp_tids_gather(buf, (size_t)len);
	if (n < 0)
		return KLP_WALK_TOO_MANY;
	if (!n)
		return KLP_WALK_ENDED;
	if (at != n + 2) /* "." and ".." */
		return KLP_WALK_AGAIN;
	memcpy(&tid, buf + ((size_t)n - 1) * sizeof(tid), sizeof(tid));
	snprintf(last, sizeof(last), "%d", tid);
	if (faccessat(fd, last, F_OK, 0))
		return KLP_WALK_AGAIN;
	*count = (size_t)n;
	return KLP_WALK_WHOLE;
}

int klp_process_tids(const struct klp_process *p, pid_t **tids, size_t *count, struct klp_error *e)
{
	enum klp_walk walk = KLP_WALK_AGAIN;
	size_t room = KLP_TIDS_FIRST;
	char path[64], *buf = NULL, *grown;
	int fd, rc = 0;

	*tids = NULL;
	*count = 0;
	snprintf(path, sizeof(path), "/proc/%d/task", p->pid);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return klp_fail(e, errno == ENOENT ? ESRCH : errno, KLP_NO_PROCESS, "%s: %s", path, strerror(errno));
	for (unsigned tries = 0; !rc && tries < KLP_TIDS_TRIES; tries++) {
		if (walk == KLP_WALK_MORE_ROOM)
			room *= 2;
		if (!buf || walk == KLP_WALK_MORE_ROOM) {
			grown = room > KLP_TIDS_MAX ? NULL : realloc(buf, room);
			if (!grown) {
				rc = klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the thread list");
				break;
			}
			buf = grown;
		}
		walk = lseek(fd, 0, SEEK_SET) ? KLP_WALK_ENDED : klp_tids_walk(fd, buf, room, count);
		if (walk != KLP_WALK_AGAIN && walk != KLP_WALK_MORE_ROOM)
			break;
	}
	close(fd);
	if (!rc && walk == KLP_WALK_TOO_MANY)
		rc = klp_fail(e, E2BIG, KLP_LIMIT, "process %d has more than %d threads", p->pid, KLP_MAX_TIDS);
	else if (!rc && walk == KLP_WALK_ENDED)
		rc = klp_fail(e, ESRCH, KLP_NO_PROCESS, "process %d has ended", p->pid);
	else if (!rc && walk != KLP_WALK_WHOLE)
		rc = klp_fail(e, EAGAIN, KLP_PENDING,
			      "threads of process %d end so fast that a list of the others is never whole", p->pid);
	if (rc)
		free(buf);
	else
		*tids = (pid_t *)(void *)buf;
	return rc;
}
