/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/callclass.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "klp/registers.h"

#define KLP_PIDFD_THREAD 0200u /* PIDFD_THREAD, which is O_EXCL */
#define KLP_SOCKET_NAME "socket:["
#define KLP_MSG_WAITALL 0x100u

static struct klp_call klp_timeout(uint64_t ms, unsigned arg)
{
	int32_t t = (int32_t)ms;

	return t < 0    ? (struct klp_call){KLP_CALL_EXACT, 0}
	       : t == 0 ? (struct klp_call){KLP_CALL_NEVER, 0}
			: (struct klp_call){KLP_CALL_TIMED_REG, arg};
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

struct klp_call klp_call_classify(const struct klp_process *p, const struct klp_task_syscall *s)
{
	const struct klp_call exact = {KLP_CALL_EXACT, 0}, never = {KLP_CALL_NEVER, 0};
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
		return klp_timeout(a[3], 3);
#ifdef SYS_epoll_pwait2
	case SYS_epoll_pwait2:
		return a[3] ? never : exact;
#endif
#ifdef SYS_poll
	case SYS_poll:
		return klp_timeout(a[2], 2);
#endif
	case SYS_ppoll:
		return a[2] ? never : exact;
#ifdef SYS_select
	case SYS_select:
#endif
	case SYS_pselect6:
		return a[4] ? never : exact;
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
