/* SPDX-License-Identifier: Apache-2.0 */
/*
 * P05, P37: a thread blocked in each call. First all of them in one process, then each alone in a process whose only
 * thread it is, so that the tool must borrow that one or refuse. Untimed calls must not return before they are
 * released; timed ones are neither early nor later than in a control run without a tool.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <unistd.h>

#include "common.h"

#define TIMED_MS 300u
#define LATE_NS 100000000ull /* a timeout that began anew would be late by up to TIMED_MS */
#define EARLY_NS 1000000ull  /* select, poll and epoll_wait count milliseconds */
#define CALLS_MAX 40u

struct slot {
	atomic_uint rounds, wrong, eintr, early;
	_Atomic uint64_t late_ns;
	atomic_int last_errno;
	atomic_long last_result;
	/* what the call waits on */
	int pipe[2], pair[2], listener, other[2];
	int sysv;
	uint32_t word;
	sem_t sem;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	int flag;
	pid_t child;
	struct sockaddr_in addr;
};

struct call {
	const char *name;
	bool timed;
	/* The call, once: 0 if its result is right, else -1. */
	int (*run)(struct slot *s);
	void (*release)(struct slot *s);
	unsigned rounding; /* 1: the kernel counts in milliseconds */
	bool left;         /* what is left of its timeout is in memory: it can be borrowed at any moment */
};

static atomic_int *released;

/* ---- release ---- */
static void by_pipe(struct slot *s)
{
	check(write(s->pipe[1], "x", 1) == 1, "write: %s", strerror(errno));
}

static void by_connect(struct slot *s)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	check(!connect(fd, (struct sockaddr *)&s->addr, sizeof(s->addr)), "connect: %s", strerror(errno));
	close(fd);
}

static void by_futex(struct slot *s)
{
	__atomic_store_n(&s->word, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &s->word, FUTEX_WAKE, 1000, NULL, NULL, 0);
}

static void by_cond(struct slot *s)
{
	pthread_mutex_lock(&s->mutex);
	s->flag = 1;
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->mutex);
}

static void by_sem(struct slot *s)
{
	sem_post(&s->sem);
}

static void by_semop(struct slot *s)
{
	struct sembuf op = {0, 1, 0};

	check(!semop(s->sysv, &op, 1), "semop: %s", strerror(errno));
}

static void by_msg(struct slot *s)
{
	struct {
		long type;
		char text[4];
	} m = {1, "abc"};

	check(!msgsnd(s->sysv, &m, 4, 0), "msgsnd: %s", strerror(errno));
}

static void by_pair(struct slot *s)
{
	check(send(s->pair[1], "x", 1, 0) == 1, "send: %s", strerror(errno));
}

static void by_kill(struct slot *s)
{
	kill(s->child, SIGTERM);
}

static void by_nothing(struct slot *s)
{
	(void)s;
}

/* ---- the calls without a timeout ---- */
static int call_read(struct slot *s)
{
	char c = 0;

	return read(s->pipe[0], &c, 1) == 1 && c == 'x' ? 0 : -1;
}

static int call_recv(struct slot *s)
{
	char c = 0;

	return recv(s->pair[0], &c, 1, 0) == 1 && c == 'x' ? 0 : -1;
}

static int call_recvmsg(struct slot *s)
{
	char c = 0;
	struct iovec v = {&c, 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};

	return recvmsg(s->pair[0], &m, 0) == 1 && c == 'x' ? 0 : -1;
}

static int call_accept(struct slot *s)
{
	int fd = accept(s->listener, NULL, NULL);

	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

static int epoll_on(struct slot *s, int timeout)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u32 = 77}, got = {0};
	int saved, rc, fd = epoll_create1(0);

	if (fd < 0 || epoll_ctl(fd, EPOLL_CTL_ADD, s->pipe[0], &ev))
		return -2;
	rc = epoll_wait(fd, &got, 1, timeout);
	saved = errno;
	close(fd);
	errno = saved;
	return rc == 1 && got.data.u32 != 77 ? -3 : rc;
}

static int call_epoll(struct slot *s)
{
	return epoll_on(s, -1) == 1 ? 0 : -1;
}

static int call_poll(struct slot *s)
{
	struct pollfd f = {.fd = s->pipe[0], .events = POLLIN};

	return poll(&f, 1, -1) == 1 && f.revents == POLLIN ? 0 : -1;
}

static int call_ppoll(struct slot *s)
{
	struct pollfd f = {.fd = s->pipe[0], .events = POLLIN};
	sigset_t mask;

	sigfillset(&mask);
	return ppoll(&f, 1, NULL, &mask) == 1 && f.revents == POLLIN ? 0 : -1;
}

static int call_select(struct slot *s)
{
	fd_set set;

	FD_ZERO(&set);
	FD_SET(s->pipe[0], &set);
	return select(s->pipe[0] + 1, &set, NULL, NULL, NULL) == 1 ? 0 : -1;
}

static int call_futex(struct slot *s)
{
	long rc = syscall(SYS_futex, &s->word, FUTEX_WAIT, 0, NULL, NULL, 0);

	return rc == 0 || (errno == EAGAIN && atomic_load(released)) ? 0 : -1;
}

static int call_cond(struct slot *s)
{
	pthread_mutex_lock(&s->mutex);
	while (!s->flag)
		pthread_cond_wait(&s->cond, &s->mutex);
	pthread_mutex_unlock(&s->mutex);
	return 0;
}

static int call_sem(struct slot *s)
{
	return sem_wait(&s->sem);
}

static int call_semop(struct slot *s)
{
	struct sembuf op = {0, -1, 0};

	return semop(s->sysv, &op, 1);
}

static int call_msgrcv(struct slot *s)
{
	struct {
		long type;
		char text[8];
	} m;

	return msgrcv(s->sysv, &m, 8, 0, 0) == 4 && !memcmp(m.text, "abc", 4) ? 0 : -1;
}

static int call_wait4(struct slot *s)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGTERM, SIG_DFL);
		for (;;)
			pause();
	}
	s->child = pid;
	return waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM ? 0 : -1;
}

static int call_uring(struct slot *s)
{
	struct io_uring ring;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	char c = 0;
	int rc = io_uring_queue_init(4, &ring, 0), saved;

	if (rc)
		return 1; /* not permitted here */
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_poll_add(sqe, s->pipe[0], POLLIN);
	io_uring_submit(&ring);
	/* The wait itself is an io_uring_enter without submissions. */
	rc = (int)syscall(SYS_io_uring_enter, ring.ring_fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0);
	saved = errno;
	if (rc >= 0)
		rc = io_uring_peek_cqe(&ring, &cqe) ? -1 : read(s->pipe[0], &c, 1) == 1 ? 0 : -1;
	io_uring_queue_exit(&ring);
	errno = saved;
	return rc;
}

/* ---- the timed ones: 0 when the time has passed ---- */
static struct timespec timed_spec(void)
{
	return (struct timespec){.tv_sec = 0, .tv_nsec = (long)TIMED_MS * 1000000};
}

static struct timespec timed_end(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	t.tv_nsec += (long)TIMED_MS * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	return t;
}

static int timed_epoll(struct slot *s)
{
	return epoll_on(s, (int)TIMED_MS);
}

static int timed_poll(struct slot *s)
{
	struct pollfd f = {.fd = s->pipe[0], .events = POLLIN};

	return poll(&f, 1, (int)TIMED_MS);
}

static int timed_ppoll(struct slot *s)
{
	struct pollfd f = {.fd = s->pipe[0], .events = POLLIN};
	struct timespec t = timed_spec();

	return ppoll(&f, 1, &t, NULL);
}

static int timed_select(struct slot *s)
{
	struct timeval t = {0, (long)TIMED_MS * 1000};
	fd_set set;

	FD_ZERO(&set);
	FD_SET(s->pipe[0], &set);
	return select(s->pipe[0] + 1, &set, NULL, NULL, &t);
}

static int timed_nanosleep(struct slot *s)
{
	struct timespec t = timed_spec();

	(void)s;
	return nanosleep(&t, NULL);
}

static int timed_clock_rel(struct slot *s)
{
	struct timespec t = timed_spec();

	(void)s;
	errno = clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
	return errno ? -1 : 0;
}

static int timed_clock_abs(struct slot *s)
{
	struct timespec t = timed_end(CLOCK_MONOTONIC);

	(void)s;
	errno = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
	return errno ? -1 : 0;
}

static int timed_futex(struct slot *s)
{
	struct timespec t = timed_spec();

	return syscall(SYS_futex, &s->word, FUTEX_WAIT, 0, &t, NULL, 0) == -1 && errno == ETIMEDOUT ? 0 : -1;
}

static int timed_cond(struct slot *s)
{
	struct timespec t = timed_end(CLOCK_REALTIME);
	int rc;

	pthread_mutex_lock(&s->mutex);
	rc = pthread_cond_timedwait(&s->cond, &s->mutex, &t);
	pthread_mutex_unlock(&s->mutex);
	return rc == ETIMEDOUT ? 0 : -1;
}

static int timed_sem(struct slot *s)
{
	struct timespec t = timed_end(CLOCK_REALTIME);

	return sem_timedwait(&s->sem, &t) == -1 && errno == ETIMEDOUT ? 0 : -1;
}

static int timed_sigtimedwait(struct slot *s)
{
	struct timespec t = timed_spec();
	sigset_t set;

	(void)s;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	return sigtimedwait(&set, NULL, &t) == -1 && errno == EAGAIN ? 0 : -1;
}

static int timed_semtimedop(struct slot *s)
{
	struct sembuf op = {0, -1, 0};
	struct timespec t = timed_spec();

	return semtimedop(s->sysv, &op, 1, &t) == -1 && errno == EAGAIN ? 0 : -1;
}

static int timed_socket(int fd)
{
	struct timeval t = {0, (long)TIMED_MS * 1000};

	return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
}

static int timed_recv(struct slot *s)
{
	char c;

	return !timed_socket(s->pair[0]) && recv(s->pair[0], &c, 1, 0) == -1 && errno == EAGAIN ? 0 : -1;
}

static int timed_socket_read(struct slot *s)
{
	char c;

	return !timed_socket(s->pair[0]) && read(s->pair[0], &c, 1) == -1 && errno == EAGAIN ? 0 : -1;
}

static int timed_accept(struct slot *s)
{
	return !timed_socket(s->listener) && accept(s->listener, NULL, NULL) == -1 && errno == EAGAIN ? 0 : -1;
}

static const struct call calls[] = {
    {"read", false, call_read, by_pipe, 0, false},
    {"recv", false, call_recv, by_pair, 0, false},
    {"recvmsg", false, call_recvmsg, by_pair, 0, false},
    {"accept", false, call_accept, by_connect, 0, false},
    {"epoll_wait", false, call_epoll, by_pipe, 0, false},
    {"poll", false, call_poll, by_pipe, 0, false},
    {"ppoll", false, call_ppoll, by_pipe, 0, false},
    {"select", false, call_select, by_pipe, 0, false},
    {"futex", false, call_futex, by_futex, 0, false},
    {"pthread_cond_wait", false, call_cond, by_cond, 0, false},
    {"sem_wait", false, call_sem, by_sem, 0, false},
    {"semop", false, call_semop, by_semop, 0, false},
    {"msgrcv", false, call_msgrcv, by_msg, 0, false},
    {"wait4", false, call_wait4, by_kill, 0, false},
    {"io_uring_enter", false, call_uring, by_pipe, 0, false},
    {"epoll_wait timed", true, timed_epoll, by_nothing, 1, false},
    {"poll timed", true, timed_poll, by_nothing, 1, false},
    {"ppoll timed", true, timed_ppoll, by_nothing, 0, true},
    {"select timed", true, timed_select, by_nothing, 0, true},
    {"nanosleep", true, timed_nanosleep, by_nothing, 0, false},
    {"clock_nanosleep relative", true, timed_clock_rel, by_nothing, 0, false},
    {"clock_nanosleep absolute", true, timed_clock_abs, by_nothing, 0, false},
    {"futex timed", true, timed_futex, by_nothing, 0, false},
    {"pthread_cond_timedwait", true, timed_cond, by_nothing, 0, false},
    {"sem_timedwait", true, timed_sem, by_nothing, 0, false},
    {"sigtimedwait", true, timed_sigtimedwait, by_nothing, 0, false},
    {"semtimedop", true, timed_semtimedop, by_nothing, 0, false},
    {"recv SO_RCVTIMEO", true, timed_recv, by_nothing, 0, false},
    {"read SO_RCVTIMEO", true, timed_socket_read, by_nothing, 0, false},
    {"accept SO_RCVTIMEO", true, timed_accept, by_nothing, 0, false},
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))
_Static_assert(CALLS <= CALLS_MAX, "a slot for each");

static struct slot *slots;

static void slot_init(struct slot *s)
{
	socklen_t len = sizeof(s->addr);
	pthread_mutexattr_t ma;
	pthread_condattr_t ca;

	memset(s, 0, sizeof(*s));
	if (pipe(s->pipe) || socketpair(AF_UNIX, SOCK_STREAM, 0, s->pair))
		exit(1);
	s->listener = socket(AF_INET, SOCK_STREAM, 0);
	s->addr.sin_family = AF_INET;
	s->addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(s->listener, (struct sockaddr *)&s->addr, len) || listen(s->listener, 8) ||
	    getsockname(s->listener, (struct sockaddr *)&s->addr, &len))
		exit(1);
	s->sysv = -1;
	sem_init(&s->sem, 1, 0);
	pthread_mutexattr_init(&ma);
	pthread_mutexattr_setpshared(&ma, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&s->mutex, &ma);
	pthread_condattr_init(&ca);
	pthread_condattr_setpshared(&ca, PTHREAD_PROCESS_SHARED);
	pthread_cond_init(&s->cond, &ca);
}

static void slot_open(struct slot *s, const struct call *c)
{
	slot_init(s);
	if (strstr(c->name, "semop") || strstr(c->name, "semtimedop"))
		s->sysv = semget(IPC_PRIVATE, 1, 0600);
	else if (!strcmp(c->name, "msgrcv"))
		s->sysv = msgget(IPC_PRIVATE, 0600);
}

static void slot_close(struct slot *s, const struct call *c)
{
	int fds[] = {s->pipe[0], s->pipe[1], s->pair[0], s->pair[1], s->listener};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		close(fds[i]);
	if (s->sysv >= 0 && !strcmp(c->name, "msgrcv"))
		msgctl(s->sysv, IPC_RMID, NULL);
	else if (s->sysv >= 0)
		semctl(s->sysv, 0, IPC_RMID);
}

static void *call_loop(void *arg)
{
	const struct call *c = arg;
	struct slot *s = &slots[c - calls];

	do {
		uint64_t began = now_ns(), took;
		int rc = c->run(s);

		if (rc > 0 && !c->timed)
			break; /* not permitted here: the call says so itself */
		took = now_ns() - began;
		if (rc) {
			atomic_store(&s->last_errno, errno);
			atomic_store(&s->last_result, rc);
			atomic_fetch_add(errno == EINTR ? &s->eintr : &s->wrong, 1);
		}
		if (c->timed) {
			uint64_t want = (uint64_t)TIMED_MS * 1000000, slack = c->rounding ? EARLY_NS : 0;

			if (took + slack < want)
				atomic_fetch_add(&s->early, 1);
			else if (took > want && took - want > atomic_load(&s->late_ns))
				atomic_store(&s->late_ns, took - want);
		} else if (!atomic_load(released)) {
			atomic_fetch_add(&s->early, 1);
		}
		atomic_fetch_add(&s->rounds, 1);
	} while (c->timed && !atomic_load(released));
	return NULL;
}

/* A process with these calls, one thread each; a single one runs in the main thread. */
static pid_t target_start(size_t first, size_t count)
{
	pid_t pid;

	atomic_store(released, 0);
	for (size_t i = first; i < first + count; i++)
		slot_open(&slots[i], &calls[i]);
	pid = fork_bound();
	if (!pid) {
		pthread_t t[CALLS];
		sigset_t set;

		sigemptyset(&set);
		sigaddset(&set, SIGUSR2);
		sigprocmask(SIG_BLOCK, &set, NULL);
		if (count == 1) {
			call_loop((void *)(uintptr_t)&calls[first]);
		} else {
			for (size_t i = first; i < first + count; i++)
				if (pthread_create(&t[i], NULL, call_loop, (void *)(uintptr_t)&calls[i]))
					_exit(2);
			for (size_t i = first; i < first + count; i++)
				pthread_join(t[i], NULL);
		}
		_exit(0);
	}
	sleep_ms(100);
	return pid;
}

static void target_end(pid_t pid, size_t first, size_t count)
{
	uint64_t until = now_ns() + 5000000000ull;
	int status = 0;
	pid_t got = 0;

	atomic_store(released, 1);
	for (size_t i = first; i < first + count; i++)
		calls[i].release(&slots[i]);
	while (got == 0 && now_ns() < until) {
		got = waitpid(pid, &status, WNOHANG);
		sleep_ms(5);
	}
	check(got == pid && WIFEXITED(status) && !WEXITSTATUS(status), "the target with %s: %s, status %x",
	      calls[first].name, got ? "ended" : "did not end", (unsigned)status);
	if (!got)
		finish(pid);
	for (size_t i = first; i < first + count; i++)
		slot_close(&slots[i], &calls[i]);
}

/* control: how late it was in the control run; machine: how late anybody was on this machine meanwhile. */
static void verdict(size_t i, const char *how, uint64_t control, uint64_t machine)
{
	const struct slot *s = &slots[i];

	check(!s->eintr && !s->wrong && !s->early, "%s %s: %u EINTR, %u wrong (%ld, errno %d), %u early of %u",
	      calls[i].name, how, s->eintr, s->wrong, s->last_result, s->last_errno, s->early, s->rounds);
	check(!calls[i].timed || s->late_ns <= (control > machine ? control : machine) + LATE_NS,
	      "%s %s: late by %lu us, the control run by %lu us, the machine by %lu us", calls[i].name, how,
	      s->late_ns / 1000, control / 1000, machine / 1000);
	check(s->rounds, "%s %s: never returned", calls[i].name, how);
}

int main(int argc, char **argv)
{
	unsigned together = rounds(150, 1000), alone = rounds(25, 200);
	struct tool_result *r = shared(sizeof(*r));
	_Atomic uint64_t *machine = shared(sizeof(*machine));
	uint64_t late[CALLS] = {0};
	const char *only = argc > 1 ? argv[1] : NULL;
	pid_t pid;

	slots = shared(sizeof(*slots) * CALLS);
	released = shared(sizeof(*released));
	watch_machine(machine);
	if (!only) {
		pid = target_start(0, CALLS);
		sleep_ms(2000);
		target_end(pid, 0, CALLS);
		for (size_t i = 0; i < CALLS; i++) {
			late[i] = slots[i].late_ns;
			verdict(i, "in the control run", late[i], 0);
		}
		atomic_store(machine, 0);
		pid = target_start(0, CALLS);
		tool_cycles(pid, together, 5000, false, r);
		check(!r->rc && r->cycles == together, "all calls: cycle %u: %s %s", r->cycles,
		      klp_reason_name(r->error.reason), r->error.text);
		target_end(pid, 0, CALLS);
		for (size_t i = 0; i < CALLS; i++)
			verdict(i, "together", late[i], atomic_load(machine));
		printf("together: %u cycles, %u stops, longest %lu us, %lu early returns\n", r->cycles, r->stops,
		       r->longest_stop_ns / 1000, r->early_returns);
	}
	for (size_t i = 0; i < CALLS; i++) {
		if (only && strcmp(only, calls[i].name))
			continue;
		atomic_store(machine, 0);
		pid = target_start(i, 1);
		/* A timed call is borrowed only where its beginning was seen. */
		tool_cycles(pid, calls[i].timed ? alone / 4 : alone, calls[i].timed ? 2 * TIMED_MS : 100, true, r);
		check(!r->rc, "%s alone: %s %s", calls[i].name, klp_reason_name(r->error.reason), r->error.text);
		check(!calls[i].left || !r->refused, "%s alone: %u refused", calls[i].name, r->refused);
		target_end(pid, i, 1);
		verdict(i, "alone", late[i], atomic_load(machine));
		printf("%-26s alone: %u done, %u refused, longest stop %lu us\n", calls[i].name, r->cycles, r->refused,
		       r->longest_stop_ns / 1000);
	}
	return check_end();
}
