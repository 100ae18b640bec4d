/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc tells of one thread. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "klp/machine.h"
#include "klp/process.h"

#define PF_IO_WORKER_ 0x00000010u /* include/linux/sched.h; in stat since Linux 5.12 */
#define PF_USER_WORKER_ 0x00004000u
#define PF_KTHREAD_ 0x00200000u

static int klp_task_file(const struct klp_process *p, pid_t tid, const char *name, char *buf, size_t len)
{
	char path[80];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", p->pid, tid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, buf, len - 1);
	if (n < 0)
		n = -errno;
	close(fd);
	if (n <= 0)
		return n < 0 ? (int)n : -ESRCH;
	buf[n] = 0;
	return 0;
}

static int klp_task_fail(struct klp_error *e, int rc, const struct klp_process *p, pid_t tid, const char *name)
{
	enum klp_reason reason = rc == -ENOENT || rc == -ESRCH   ? KLP_NO_PROCESS
				 : rc == -EACCES || rc == -EPERM ? KLP_PERMISSION
								 : KLP_IO;

	return klp_fail(e, -rc, reason, "/proc/%d/task/%d/%s: %s", p->pid, tid, name, strerror(-rc));
}

static const char *klp_status_field(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at ? at + strlen(key) : NULL;
}

int klp_task_status(const struct klp_process *p, pid_t tid, struct klp_task_info *i, struct klp_error *e)
{
	char text[8192];
	const char *at;
	int rc;

	memset(i, 0, sizeof(*i));
	rc = klp_task_file(p, tid, "status", text, sizeof(text));
	if (rc)
		return klp_task_fail(e, rc, p, tid, "status");
	i->ns_tid = tid;
	if (!strncmp(text, "Name:\t", 6))
		snprintf(i->comm, sizeof(i->comm), "%.*s", (int)strcspn(text + 6, "\n"), text + 6);
	if ((at = klp_status_field(text, "\nState:\t")))
		i->state = *at;
	if ((at = klp_status_field(text, "\nNSpid:"))) {
		char *end;

		while (*at && *at != '\n') {
			long v = strtol(at, &end, 10);

			if (end == at)
				break;
			i->ns_tid = (pid_t)v;
			at = end;
		}
	}
	if ((at = klp_status_field(text, "\nTracerPid:")))
		i->tracer = (pid_t)strtol(at, NULL, 10);
	if ((at = klp_status_field(text, "\nSigPnd:")))
		i->sig_pending = strtoull(at, NULL, 16);
	if ((at = klp_status_field(text, "\nShdPnd:")))
		i->shd_pending = strtoull(at, NULL, 16);
	if ((at = klp_status_field(text, "\nSigBlk:")))
		i->sig_blocked = strtoull(at, NULL, 16);
	if ((at = klp_status_field(text, "\nSigCgt:")))
		i->sig_caught = strtoull(at, NULL, 16);
	if ((at = klp_status_field(text, "\nSeccomp_filters:")))
		i->seccomp_filters = (unsigned)strtoul(at, NULL, 10);
	if ((at = klp_status_field(text, "\nSeccomp:")))
		i->seccomp = (int)strtol(at, NULL, 10);
	if ((at = klp_status_field(text, "\nvoluntary_ctxt_switches:")))
		i->switches_voluntary = strtoull(at, NULL, 10);
	if ((at = klp_status_field(text, "\nnonvoluntary_ctxt_switches:")))
		i->switches_involuntary = strtoull(at, NULL, 10);
	if ((at = klp_status_field(text, "\nx86_Thread_features:")))
		i->shadow_stack = strncmp(at, "\tshstk", 6) == 0 ||
				  (strchr(at, '\n') && memmem(at, (size_t)(strchr(at, '\n') - at), "shstk", 5));
	return 0;
}

int klp_task_info(const struct klp_process *p, pid_t tid, struct klp_task_info *i, struct klp_error *e)
{
	char text[2048], comm[sizeof(i->comm)] = "", *close_paren, state;
	const char *at;
	uint64_t flags;
	int rc = klp_task_file(p, tid, "stat", text, sizeof(text));

	memset(i, 0, sizeof(*i));
	if (rc)
		return klp_task_fail(e, rc, p, tid, "stat");
	close_paren = strrchr(text, ')');
	if (!close_paren || sscanf(close_paren + 1, " %c %*d %*d %*d %*d %*d %" SCNu64, &state, &flags) != 2)
		return klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "/proc/%d/task/%d/stat makes no sense", p->pid, tid);
	at = strchr(text, '(');
	if (at && at < close_paren)
		snprintf(comm, sizeof(comm), "%.*s", (int)(close_paren - at - 1), at + 1);
	rc = klp_task_status(p, tid, i, e);
	if (rc)
		return rc;
	memcpy(i->comm, comm, sizeof(comm));
	i->flags = flags;
	return 0;
}

bool klp_task_is_kernel_made(const struct klp_task_info *i)
{
	return (i->flags & (PF_IO_WORKER_ | PF_USER_WORKER_ | PF_KTHREAD_)) != 0;
}

static int klp_syscall_parse(const char *text, struct klp_task_syscall *s)
{
	int n;

	memset(s, 0, sizeof(*s));
	if (!strncmp(text, "running", 7)) {
		s->running = true;
		s->nr = -1;
		return 0;
	}
	n = sscanf(text,
		   "%ld 0x%" SCNx64 " 0x%" SCNx64 " 0x%" SCNx64 " 0x%" SCNx64 " 0x%" SCNx64 " 0x%" SCNx64 " 0x%" SCNx64
		   " 0x%" SCNx64,
		   &s->nr, &s->arg[0], &s->arg[1], &s->arg[2], &s->arg[3], &s->arg[4], &s->arg[5], &s->sp, &s->pc);
	if (n == 9)
		return 0;
	if (n >= 1 && s->nr == -1 && sscanf(text, "%*d 0x%" SCNx64 " 0x%" SCNx64, &s->sp, &s->pc) == 2) {
		memset(s->arg, 0, sizeof(s->arg));
		return 0;
	}
	return -EINVAL;
}

#ifdef KLP_CALL_NUMBER_OF_ANY
/* It is in a call only if the instruction that makes one stands before its program counter. */
static void klp_syscall_check(const struct klp_process *p, struct klp_task_syscall *s)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	uint32_t insn;

	if (s->running || s->nr < 0 ||
	    (!klp_process_read(p, s->pc - sizeof(insn), &insn, sizeof(insn), &ignored) && insn == KLP_CALL_INSN))
		return;
	s->nr = -1;
	memset(s->arg, 0, sizeof(s->arg));
}
#else
static void klp_syscall_check(const struct klp_process *p, const struct klp_task_syscall *s)
{
	(void)p;
	(void)s;
}
#endif

int klp_task_syscall(const struct klp_process *p, pid_t tid, struct klp_task_syscall *s, struct klp_error *e)
{
	char text[512];
	int rc = klp_task_file(p, tid, "syscall", text, sizeof(text));

	memset(s, 0, sizeof(*s));
	if (rc)
		return klp_task_fail(e, rc, p, tid, "syscall");
	if (klp_syscall_parse(text, s))
		return klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "/proc/%d/task/%d/syscall makes no sense", p->pid, tid);
	klp_syscall_check(p, s);
	return 0;
}

static int klp_runs_read(int fd, bool from_status, char out[KLP_RUNS_TEXT])
{
	char text[4096];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	const char *at = text;
	unsigned long long runs;

	if (n <= 0)
		return n ? -errno : -ESRCH;
	text[n] = 0;
	if (from_status)
		at = klp_status_field(text, "\nvoluntary_ctxt_switches:");
	else if (sscanf(text, "%*u %*u %llu", &runs) != 1 || !runs)
		return -ENOTSUP; /* "0 0 0": this kernel does not count */
	if (!at || strlen(at) >= KLP_RUNS_TEXT)
		return -EINVAL;
	strcpy(out, at);
	return 0;
}

int klp_task_runs_open(const struct klp_process *p, pid_t tid, bool from_status, struct klp_task_runs *r)
{
	char path[80];
	int rc;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", p->pid, tid, from_status ? "status" : "schedstat");
	r->from_status = from_status;
	memset(r->text, 0, sizeof(r->text));
	r->fd = open(path, O_RDONLY | O_CLOEXEC);
	rc = r->fd < 0 ? -errno : klp_runs_read(r->fd, from_status, r->text);
	if (rc)
		klp_task_runs_close(r);
	return rc;
}

int klp_task_runs_same(const struct klp_task_runs *r)
{
	char text[KLP_RUNS_TEXT];
	int rc = klp_runs_read(r->fd, r->from_status, text);

	return rc ? rc : !strcmp(text, r->text);
}

void klp_task_runs_close(struct klp_task_runs *r)
{
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
}

void klp_task_comm(const struct klp_process *p, pid_t tid, char *buf, size_t len)
{
	buf[0] = 0;
	if (!klp_task_file(p, tid, "comm", buf, len))
		buf[strcspn(buf, "\n")] = 0;
}

int klp_task_syscall_fd(const struct klp_process *p, int fd, struct klp_task_syscall *s)
{
	char text[512];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	int rc;

	memset(s, 0, sizeof(*s));
	if (n <= 0)
		return n ? -errno : -ESRCH;
	text[n] = 0;
	rc = klp_syscall_parse(text, s);
	if (!rc)
		klp_syscall_check(p, s);
	return rc;
}

uint64_t klp_task_thread_pointer(const struct klp_process *p, pid_t tid, int64_t robust_delta)
{
	uint64_t head = 0;
	size_t len = 0;

	(void)p;
	if (!robust_delta || syscall(SYS_get_robust_list, tid, &head, &len) || !head)
		return 0;
	return head - (uint64_t)robust_delta;
}

pid_t klp_task_by_ns_tid(const struct klp_process *p, uint64_t ns_tid, struct klp_task_info *info)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	pid_t *tid = NULL, found = 0;
	size_t n = 0;

	if (!ns_tid || ns_tid > INT32_MAX)
		return 0;
	if (p->same_ns) /* the number is ours too */
		return !klp_task_info(p, (pid_t)ns_tid, info, &ignored) && info->state != 'Z' && info->state != 'X'
			   ? (pid_t)ns_tid
			   : 0;
	if (klp_process_tids(p, &tid, &n, &ignored))
		return 0;
	while (n-- > 0 && !found) /* it was born last */
		if (!klp_task_info(p, tid[n], info, &ignored) && (uint64_t)info->ns_tid == ns_tid &&
		    info->state != 'Z' && info->state != 'X')
			found = tid[n];
	free(tid);
	return found;
}
