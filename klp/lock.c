/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One tool at a time per process: an abstract socket, which is gone with its holder. Its name and the place of its name
 * are the same for every tool, wherever it runs: the process's pid in its own pid namespace, and its network namespace.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "klp/process.h"
#include "klp/tracer.h"

#define KLP_LOCK_POLL_US 10000u

struct klp_lock_place {
	int net; /* the target's network namespace */
	int fd;  /* the socket, or -errno */
};

/* On a thread that ends: a thread that may enter a namespace may not always come back. */
static int klp_lock_socket_there(void *arg)
{
	struct klp_lock_place *l = arg;

	l->fd = -EPERM;
	if (!setns(l->net, CLONE_NEWNET)) {
		l->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (l->fd < 0)
			l->fd = -errno;
	}
	return 0;
}

static void klp_ns_path(const struct klp_process *p, const char *which, char *path, size_t len)
{
	snprintf(path, len, "/proc/%d/task/%d/ns/%s", p->pid, p->live_tid, which);
}

/* -errno if there is none. A tool that may not enter the target's network namespace stays in its own: two of those, of
 * an ordinary user, do not see each other. */
static int klp_lock_socket(const struct klp_process *p, struct klp_error *e)
{
	struct klp_lock_place l = {-1, -EPERM};
	struct stat ours, theirs;
	char path[80];

	klp_ns_path(p, "net", path, sizeof(path));
	if (!stat("/proc/thread-self/ns/net", &ours) && !stat(path, &theirs) &&
	    (ours.st_ino != theirs.st_ino || ours.st_dev != theirs.st_dev)) {
		l.net = open(path, O_RDONLY | O_CLOEXEC);
		if (l.net >= 0) {
			int rc = klp_tracer_run(klp_lock_socket_there, &l, e);

			close(l.net);
			if (rc)
				return rc;
		}
	}
	if (l.fd == -EPERM) {
		l.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (l.fd < 0)
			l.fd = -errno;
	}
	return l.fd < 0 ? klp_fail(e, -l.fd, KLP_INTERNAL, "no socket for the lock: %s", strerror(-l.fd)) : l.fd;
}

int klp_process_lock(struct klp_process *p, unsigned wait_ms, struct klp_error *e)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct stat ns = {0};
	char path[80];
	socklen_t len;
	int n;

	klp_ns_path(p, "pid", path, sizeof(path));
	if (stat(path, &ns))
		return klp_fail(e, errno, errno == EACCES || errno == EPERM ? KLP_PERMISSION : KLP_NO_PROCESS, "%s: %s",
				path, strerror(errno));
	n = snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "klp-%ju-%d", (uintmax_t)ns.st_ino, p->ns_pid);
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
	p->lock_fd = klp_lock_socket(p, e);
	if (p->lock_fd < 0)
		return p->lock_fd;
	for (uint64_t waited = 0;; waited += KLP_LOCK_POLL_US) {
		if (!bind(p->lock_fd, (struct sockaddr *)&a, len))
			return 0;
		if (errno != EADDRINUSE || waited >= (uint64_t)wait_ms * 1000)
			break;
		usleep(KLP_LOCK_POLL_US);
	}
	close(p->lock_fd);
	p->lock_fd = -1;
	return klp_fail(e, EBUSY, KLP_BUSY, "another klpctl works on process %d", p->pid);
}
