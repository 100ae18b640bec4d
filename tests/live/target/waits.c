/* SPDX-License-Identifier: Apache-2.0 */
/* One thread in each kind of wait: none may ever fail, return early or (those with a period) return late because of
 * klp. */
#include "target.h"

#include <errno.h>
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
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_MS 300
#define NEVER 0 /* this wait must not return at all */

static int pipe_fd(void)
{
	int fd[2];

	if (pipe(fd))
		abort();
	return fd[0];
}

static void *make_pipe(void)
{
	return (void *)(long)pipe_fd();
}

static int fd_of(void *arg)
{
	return (int)(long)arg;
}

static int once_read(void *arg)
{
	char c;

	return read(fd_of(arg), &c, 1) < 0 ? errno : -1;
}

static void *make_listener(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(sa_family_t)) || listen(fd, 1)) /* autobind */
		abort();
	return (void *)(long)fd;
}

static int once_accept(void *arg)
{
	return accept(fd_of(arg), NULL, NULL) < 0 ? errno : -1;
}

static void *make_epoll(void)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int fd = epoll_create1(0);

	if (fd < 0 || epoll_ctl(fd, EPOLL_CTL_ADD, pipe_fd(), &ev))
		abort();
	return (void *)(long)fd;
}

static int once_epoll(void *arg)
{
	struct epoll_event ev;

	return epoll_wait(fd_of(arg), &ev, 1, -1) < 0 ? errno : -1;
}

static int once_epoll_timed(void *arg)
{
	struct epoll_event ev;
	int rc = epoll_wait(fd_of(arg), &ev, 1, PERIOD_MS);

	return rc == 0 ? 0 : rc < 0 ? errno : -1;
}

static int once_poll(void *arg)
{
	struct pollfd p = {.fd = fd_of(arg), .events = POLLIN};

	return poll(&p, 1, -1) < 0 ? errno : -1;
}

static int once_ppoll(void *arg)
{
	struct pollfd p = {.fd = fd_of(arg), .events = POLLIN};
	struct timespec t = {.tv_nsec = PERIOD_MS * 1000000L};
	int rc = ppoll(&p, 1, &t, NULL);

	return rc == 0 ? 0 : rc < 0 ? errno : -1;
}

static int once_select(void *arg)
{
	fd_set set;

	FD_ZERO(&set);
	FD_SET(fd_of(arg), &set);
	return select(fd_of(arg) + 1, &set, NULL, NULL, NULL) < 0 ? errno : -1;
}

static int once_nanosleep(void *arg)
{
	struct timespec t = {.tv_nsec = PERIOD_MS * 1000000L};

	(void)arg;
	return nanosleep(&t, NULL) ? errno : 0;
}

static int once_clock_nanosleep(void *arg)
{
	struct timespec t;

	(void)arg;
	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += PERIOD_MS * 1000000L;
	t.tv_sec += t.tv_nsec / 1000000000L;
	t.tv_nsec %= 1000000000L;
	return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static void *make_word(void)
{
	return calloc(1, 256);
}

static int once_futex(void *arg)
{
	return syscall(SYS_futex, arg, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0) ? errno : -1;
}

static int once_futex_timed(void *arg)
{
	struct timespec t = {.tv_nsec = PERIOD_MS * 1000000L};

	if (!syscall(SYS_futex, arg, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0))
		return -1;
	return errno == ETIMEDOUT ? 0 : errno;
}

struct cond {
	pthread_mutex_t lock;
	pthread_cond_t cond;
};

static void *make_cond(void)
{
	struct cond *c = malloc(sizeof(*c));

	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->cond, NULL);
	return c;
}

static int once_cond(void *arg)
{
	struct cond *c = arg;

	pthread_mutex_lock(&c->lock);
	pthread_cond_wait(&c->cond, &c->lock);
	pthread_mutex_unlock(&c->lock);
	return -1;
}

static int once_cond_timed(void *arg)
{
	struct cond *c = arg;
	struct timespec t;
	int rc;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_nsec += PERIOD_MS * 1000000L;
	t.tv_sec += t.tv_nsec / 1000000000L;
	t.tv_nsec %= 1000000000L;
	pthread_mutex_lock(&c->lock);
	rc = pthread_cond_timedwait(&c->cond, &c->lock, &t);
	pthread_mutex_unlock(&c->lock);
	return rc == ETIMEDOUT ? 0 : rc ? rc : -1;
}

static void *make_sem(void)
{
	sem_t *s = malloc(sizeof(*s));

	sem_init(s, 0, 0);
	return s;
}

static int once_sem(void *arg)
{
	return sem_wait(arg) ? errno : -1;
}

static int once_sigtimedwait(void *arg)
{
	struct timespec t = {.tv_nsec = PERIOD_MS * 1000000L};
	sigset_t set;

	(void)arg;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2); /* blocked in every thread of the program */
	if (sigtimedwait(&set, NULL, &t) >= 0)
		return -1;
	return errno == EAGAIN ? 0 : errno;
}

#define IPC_KEY_OF_TARGET 0x6bu

static int sem_id = -1, msg_id = -1;

static void ipc_remove(void)
{
	if (sem_id >= 0)
		semctl(sem_id, 0, IPC_RMID);
	if (msg_id >= 0)
		msgctl(msg_id, IPC_RMID, NULL);
}

static void *make_ipc(void)
{
	/* The key is made of the pid: lib.sh removes what a killed target leaves. What is there already is such a
	 * one's. */
	key_t key = (key_t)((IPC_KEY_OF_TARGET << 24) | (unsigned)getpid());

	semctl(semget(key, 0, 0), 0, IPC_RMID);
	msgctl(msgget(key, 0), IPC_RMID, NULL);
	sem_id = semget(key, 1, IPC_CREAT | IPC_EXCL | 0600);
	msg_id = msgget(key, IPC_CREAT | IPC_EXCL | 0600);
	if (sem_id < 0 || msg_id < 0)
		abort();
	atexit(ipc_remove);
	return NULL;
}

static int once_semop(void *arg)
{
	struct sembuf b = {.sem_op = -1};

	(void)arg;
	return semop(sem_id, &b, 1) ? errno : -1;
}

static int once_msgrcv(void *arg)
{
	struct {
		long type;
		char text[8];
	} m;

	(void)arg;
	return msgrcv(msg_id, &m, sizeof(m.text), 0, 0) < 0 ? errno : -1;
}

static void *make_timed_socket(void)
{
	struct timeval t = {.tv_usec = PERIOD_MS * 1000L};
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) || setsockopt(fd[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)))
		abort();
	return (void *)(long)fd[0];
}

static int once_recv(void *arg)
{
	char c;

	if (recv(fd_of(arg), &c, 1, 0) >= 0)
		return -1;
	return errno == EAGAIN ? 0 : errno;
}

static void *make_child(void)
{
	int fd[2];
	pid_t pid;

	if (pipe(fd))
		abort();
	pid = fork();
	if (!pid) {
		char c;

		close(fd[1]);
		while (read(fd[0], &c, 1) < 0)
			;
		_exit(0); /* when the parent is gone */
	}
	close(fd[0]);
	return (void *)(long)pid;
}

static int once_wait4(void *arg)
{
	return wait4((pid_t)(long)arg, NULL, 0, NULL) < 0 ? errno : -1;
}

static void *make_ring(void)
{
	struct io_uring_params p;

	memset(&p, 0, sizeof(p));
	return (void *)syscall(SYS_io_uring_setup, 4, &p);
}

static int once_ring(void *arg)
{
	return syscall(SYS_io_uring_enter, fd_of(arg), 0, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0 ? errno : -1;
}

static const struct wait_kind kinds[] = {
    {"read", once_read, make_pipe, NEVER},
    {"accept", once_accept, make_listener, NEVER},
    {"epoll_wait", once_epoll, make_epoll, NEVER},
    {"epoll_wait_timed", once_epoll_timed, make_epoll, PERIOD_MS},
    {"poll", once_poll, make_pipe, NEVER},
    {"ppoll", once_ppoll, make_pipe, PERIOD_MS},
    {"select", once_select, make_pipe, NEVER},
    {"nanosleep", once_nanosleep, NULL, PERIOD_MS},
    {"clock_nanosleep", once_clock_nanosleep, NULL, PERIOD_MS},
    {"futex", once_futex, make_word, NEVER},
    {"futex_timed", once_futex_timed, make_word, PERIOD_MS},
    {"cond_wait", once_cond, make_cond, NEVER},
    {"cond_timedwait", once_cond_timed, make_cond, PERIOD_MS},
    {"sem_wait", once_sem, make_sem, NEVER},
    {"sigtimedwait", once_sigtimedwait, NULL, PERIOD_MS},
    {"semop", once_semop, make_ipc, NEVER},
    {"msgrcv", once_msgrcv, NULL, NEVER},
    {"recv_timeo", once_recv, make_timed_socket, PERIOD_MS},
    {"wait4", once_wait4, make_child, NEVER},
    {"io_uring_enter", once_ring, make_ring, NEVER},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static struct {
	void *arg;
	atomic_long returns, wrong, early, late_us, last;
} stat[KINDS];

static long now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000L + t.tv_nsec / 1000;
}

static void *waiter(void *arg)
{
	size_t i = (size_t)(long)arg;
	const struct wait_kind *k = &kinds[i];

	for (;;) {
		long began = now_us(), took;
		int rc = blocker(k, stat[i].arg);

		took = now_us() - began;
		stat[i].returns++;
		if (rc || !k->period_ms) {
			stat[i].wrong++;
			stat[i].last = rc;
			usleep(1000);
			continue;
		}
		if (took < k->period_ms * 1000 - 1000) /* epoll and poll round down to a jiffy at worst */
			stat[i].early++;
		if (took - k->period_ms * 1000 > stat[i].late_us)
			stat[i].late_us = took - k->period_ms * 1000;
	}
	return NULL;
}

void waits_start(void)
{
	pthread_t t;

	for (size_t i = 0; i < KINDS; i++) {
		stat[i].arg = kinds[i].make ? kinds[i].make() : NULL;
		if (kinds[i].make == make_ring && (long)stat[i].arg < 0)
			continue; /* this kernel or container has no io_uring: it shows no thread in the report */
		stat[i].returns = 0;
		if (pthread_create(&t, NULL, waiter, (void *)(long)i))
			abort();
	}
}

/* "KIND returns wrong early late_us errno" for each, on one line, separated by semicolons. */
void waits_report(void)
{
	for (size_t i = 0; i < KINDS; i++)
		if (!(kinds[i].make == make_ring && (long)stat[i].arg < 0))
			printf("%s %ld %ld %ld %ld %ld;", kinds[i].name, (long)stat[i].returns, (long)stat[i].wrong,
			       (long)stat[i].early, (long)stat[i].late_us, (long)stat[i].last);
	printf("\n");
}
