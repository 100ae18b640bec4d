/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/callclass.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "klp/registers.h"

#define KLP_PIDFD_THREAD 0200u /* PIDFD_THREAD, which is O_EXCL */
#define KLP_SOCKET_NAME "socket:["
#define KLP_MSG_WAITALL 0x100u
#define KLP_NANOSECONDS 1000000000u
#define KLP_MICROSECONDS 1000000u

static struct klp_call klp_timeout_in_register(uint64_t ms, unsigned arg)
{
	int32_t t = (int32_t)ms;

	return t < 0    ? (struct klp_call){.cls = KLP_CALL_EXACT}
	       : t == 0 ? (struct klp_call){.cls = KLP_CALL_NEVER}
			: (struct klp_call){.cls = KLP_CALL_TIMED_REG, .timeout_arg = arg};
}

/* With STICKY_TIMEOUTS (personality(2)), which each thread has for itself, the kernel leaves nothing, and the call
 * fails with EINTR. */
static bool klp_timeouts_stick(const struct klp_process *p, pid_t tid)
{
	char path[64], line[32];
	bool known = false;
	unsigned long v = STICKY_TIMEOUTS;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/personality", p->pid, tid);
	f = fopen(path, "re");
	if (f) {
		known = fgets(line, sizeof(line), f) != NULL;
		fclose(f);
	}
	if (known)
		v = strtoul(line, NULL, 16);
	return v & STICKY_TIMEOUTS;
}

/* Only on the stack does nobody else store to it or take it away, and only where it can be written the kernel leaves
 * what is left. */
static struct klp_call klp_timeout_in_memory(const struct klp_process *p, pid_t tid, const struct klp_task_syscall *s,
					     uint64_t at, uint32_t unit)
{
	const struct klp_mapping *m = klp_process_mapping(p, s->sp);

	if (!at)
		return (struct klp_call){.cls = KLP_CALL_EXACT};
	if (!m || m->shared || (m->prot & (PROT_READ | PROT_WRITE)) != (PROT_READ | PROT_WRITE) || at % 8 ||
	    at < s->sp - KLP_RED_ZONE || at < m->start || at >= m->end || m->end - at < 16 ||
	    klp_timeouts_stick(p, tid))
		return (struct klp_call){.cls = KLP_CALL_NEVER};
	return (struct klp_call){.cls = KLP_CALL_TIMED_MEM, .timeout = at, .timeout_unit = unit};
}

/* By its name, where the kernel hands out no copy. */
static bool klp_descriptor_may_be_socket(const struct klp_process *p, int fd)
{
	char path[96], name[16];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/fd/%d", p->pid, p->live_tid, fd);
	len = readlink(path, name, sizeof(name));
	return len < (ssize_t)sizeof(KLP_SOCKET_NAME) - 1 ||
	       !memcmp(name, KLP_SOCKET_NAME, sizeof(KLP_SOCKET_NAME) - 1);
}

/*
 * A socket's SO_RCVTIMEO is a relative timeout that no register shows, and a call issued again waits for all of it.
 * true unless the descriptor is known to have none. Anything but a socket has none.
 */
static bool klp_descriptor_times_out(const struct klp_process *p, int fd)
{
	struct timeval t = {0, 0};
	socklen_t len = sizeof(t);
	/* A main thread that has exited has no descriptors any more: through a thread that lives (Linux 6.9). */
	int proc = (int)syscall(SYS_pidfd_open, p->live_tid == p->pid ? p->pid : p->live_tid,
				p->live_tid == p->pid ? 0 : KLP_PIDFD_THREAD),
	    copy;
	bool timed;

	if (proc < 0)
		return klp_descriptor_may_be_socket(p, fd);
	copy = (int)syscall(SYS_pidfd_getfd, proc, fd, 0);
	close(proc);
	if (copy < 0)
		return true;
	timed = getsockopt(copy, SOL_SOCKET, SO_RCVTIMEO, &t, &len) ? errno != ENOTSOCK : t.tv_sec || t.tv_usec;
	close(copy);
	return timed;
}

struct klp_call klp_call_classify(const struct klp_process *p, pid_t tid, const struct klp_task_syscall *s)
{
	const struct klp_call exact = {.cls = KLP_CALL_EXACT}, never = {.cls = KLP_CALL_NEVER};
	const uint64_t *a = s->arg;

	switch (s->nr) {
	case SYS_futex:
		switch (a[1] & ~(uint64_t)(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME)) {
		case FUTEX_WAIT:
			return a[3] ? never : exact; /* with a timeout it is relative */
		case FUTEX_WAIT_BITSET:              /* its timeout is absolute */
		case FUTEX_LOCK_PI:
			return exact;
		default:
			return never;
		}
#ifdef SYS_epoll_wait /* newer architectures have only the calls that follow */
	case SYS_epoll_wait:
#endif
	case SYS_epoll_pwait:
		return klp_timeout_in_register(a[3], 3);
#ifdef SYS_epoll_pwait2
	case SYS_epoll_pwait2:
		return a[3] ? never : exact;
#endif
#ifdef SYS_poll
	case SYS_poll:
		return klp_timeout_in_register(a[2], 2);
#endif
	case SYS_ppoll:
		return klp_timeout_in_memory(p, tid, s, a[2], KLP_NANOSECONDS);
#ifdef SYS_select
	case SYS_select:
		return klp_timeout_in_memory(p, tid, s, a[4], KLP_MICROSECONDS);
#endif
	case SYS_pselect6:
		return klp_timeout_in_memory(p, tid, s, a[4], KLP_NANOSECONDS);
#ifdef SYS_pause
	case SYS_pause:
#endif
	case SYS_rt_sigsuspend:
	case SYS_wait4:
	case SYS_waitid:
	case SYS_flock:
	case SYS_msgrcv: /* takes a message or nothing */
		return exact;
	case SYS_semop:
		return klp_registers_call_is_known(s->nr) ? exact : never;
	case SYS_semtimedop:
		return a[3] || !klp_registers_call_is_known(s->nr) ? never : exact;
	case SYS_rt_sigtimedwait:
		return a[2] ? never : exact;
	case SYS_clock_nanosleep:
		return a[1] & 1 ? exact : never; /* TIMER_ABSTIME */
	case SYS_read: /* blocked, so nothing has been transferred; what comes is returned at once */
	case SYS_readv:
	case SYS_accept:
	case SYS_accept4:
		return klp_descriptor_times_out(p, (int)a[0]) ? never : exact;
	case SYS_recvfrom:
		return a[3] & KLP_MSG_WAITALL || klp_descriptor_times_out(p, (int)a[0]) ? never : exact;
	case SYS_recvmsg:
		return a[2] & KLP_MSG_WAITALL || klp_descriptor_times_out(p, (int)a[0]) ? never : exact;
	default:
		return never;
	}
}

bool klp_call_eintr_restarts(long nr, const uint64_t arg[6])
{
	switch (nr) {
#ifdef SYS_epoll_wait /* newer architectures have only the calls that follow */
	case SYS_epoll_wait:
#endif
	case SYS_epoll_pwait:
#ifdef SYS_epoll_pwait2
	case SYS_epoll_pwait2:
#endif
	case SYS_semop:
	case SYS_semtimedop:
	case SYS_rt_sigtimedwait:
	case SYS_io_getevents:
	case SYS_accept:
	case SYS_accept4:
	case SYS_recvfrom:
	case SYS_recvmsg:
	case SYS_read: /* a socket with SO_RCVTIMEO */
	case SYS_msgrcv:
		return true;
#ifdef SYS_io_uring_enter
	case SYS_io_uring_enter:
		return arg[1] == 0;
#endif
	default:
		return false;
	}
}

bool klp_call_ended_early(long nr, const uint64_t arg[6], long result)
{
	if (result == -EINTR)
		return true;
	switch (nr) {
	case SYS_write:
	case SYS_pwrite64:
	case SYS_sendto:
		return result > 0 && (uint64_t)result < arg[2];
	case SYS_sendfile:
		return result > 0 && (uint64_t)result < arg[3];
	case SYS_splice:
		return result > 0 && (uint64_t)result < arg[4];
	case SYS_getrandom:
		return result > 0 && (uint64_t)result < arg[1];
	case SYS_recvfrom:
		return (arg[3] & KLP_MSG_WAITALL) && result > 0 && (uint64_t)result < arg[2];
	default:
		return false;
	}
}
