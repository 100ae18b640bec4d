/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hazard A6: calls that are interrupted. The listed ones go on as if nothing had been, sleeps end when they should, and
 * nothing else is ever issued again: close() would close somebody else's descriptor. Then the classes themselves, for
 * every number of a system call.
 */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/personality.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "klp/callclass.h"
#include "tests/remote/common.h"

#define INTERRUPTS 10u
#define SLEEP_MS 600u
#define SLEEP_MAX_MS (8 * SLEEP_MS) /* where the host takes the processors, the stops do not fit into less */
#define LATE_MS 150u
#define CALL_NUMBERS 512

static struct talk {
	atomic_int begun;
	atomic_uint returned;
	atomic_int error;
	_Atomic uint64_t took_ns;
} * talk;

static _Atomic uint64_t *machine; /* how late anybody was on this machine */
static int ends[2], sem_id, msg_id;
static unsigned asleep_ms;

static struct timespec asleep(void)
{
	return (struct timespec){asleep_ms / 1000, (long)(asleep_ms % 1000) * 1000000};
}

static void call_epoll(void)
{
	struct epoll_event ev;

	epoll_wait(epoll_create1(0), &ev, 1, -1);
}

static void call_semop(void)
{
	struct sembuf b = {.sem_op = -1};

	semop(sem_id, &b, 1);
}

static void call_msgrcv(void)
{
	char text[64];

	msgrcv(msg_id, text, 8, 0, 0);
}

static void call_sigtimedwait(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigtimedwait(&set, NULL, NULL);
}

static void long_timeout(int fd)
{
	struct timeval t = {.tv_sec = 1000};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
}

static void call_recv(void)
{
	char c;

	long_timeout(ends[0]);
	recv(ends[0], &c, 1, 0);
}

static void call_accept(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	long_timeout(fd);
	if (bind(fd, (struct sockaddr *)&a, sizeof(sa_family_t)) || listen(fd, 1))
		_exit(2);
	accept(fd, NULL, NULL);
}

static void call_nanosleep(void)
{
	struct timespec t = asleep();

	nanosleep(&t, NULL);
}

static void call_futex_timed(void)
{
	struct timespec t = asleep();
	uint32_t word = 0;

	syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0);
}

static const struct {
	const char *name;
	void (*call)(void);
	bool ends; /* after asleep_ms */
	int error;
} waits[] = {{"epoll_wait", call_epoll, false, 0},
	     {"semop", call_semop, false, 0},
	     {"msgrcv", call_msgrcv, false, 0},
	     {"rt_sigtimedwait", call_sigtimedwait, false, 0},
	     {"recv with SO_RCVTIMEO", call_recv, false, 0},
	     {"accept with SO_RCVTIMEO", call_accept, false, 0},
	     {"nanosleep", call_nanosleep, true, 0},
	     {"futex with a timeout", call_futex_timed, true, ETIMEDOUT}};

static void nothing(void *ctx, pid_t tid, const struct klp_unw_regs *regs, uint64_t thread_pointer)
{
	(void)tid;
	(void)regs;
	(void)thread_pointer;
	(*(unsigned *)ctx)++;
}

/* False if all is well, but the sleep was over before the last stop. */
static bool interrupted(size_t i)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_remote rem = {0};
	struct klp_process p;
	unsigned looked = 0, n = 0;
	pid_t pid;

	memset(talk, 0, sizeof(*talk));
	atomic_store(machine, 0);
	pid = fork_bound();
	if (!pid) {
		uint64_t began = now_ns();

		atomic_store(&talk->begun, 1);
		errno = 0;
		waits[i].call();
		atomic_store(&talk->error, errno);
		atomic_store(&talk->took_ns, now_ns() - began);
		atomic_store(&talk->returned, 1);
		_exit(0);
	}
	while (!atomic_load(&talk->begun))
		sleep_ms(1);
	sleep_ms(10);
	check(!klp_process_open(pid, &p, &e), "open: %s", e.text);
	rem.p = &p;
	while (n < INTERRUPTS) {
		klp_remote_interrupt(&rem, pid, nothing, &looked, &e);
		if (waits[i].ends && atomic_load(&talk->returned))
			break;
		n++;
		sleep_ms(15);
	}
	check(looked >= n, "%s: %u of %u stops", waits[i].name, looked, n);
	check(!rem.early_returns, "%s: %lu early returns counted", waits[i].name, rem.early_returns);
	if (waits[i].ends) {
		for (unsigned ms = 0; !atomic_load(&talk->returned) && ms < 3 * asleep_ms; ms++)
			sleep_ms(1);
		check(atomic_load(&talk->returned) && atomic_load(&talk->error) == waits[i].error,
		      "%s: ended with errno %d, expected %d", waits[i].name, talk->error, waits[i].error);
		check(atomic_load(&talk->took_ns) >= (asleep_ms - 1) * 1000000ull, "%s: early, after %lu us",
		      waits[i].name, talk->took_ns / 1000);
		check(atomic_load(&talk->took_ns) <= (asleep_ms + LATE_MS) * 1000000ull + atomic_load(machine),
		      "%s: late, after %lu us; the machine by %lu us", waits[i].name, talk->took_ns / 1000,
		      *machine / 1000);
	} else {
		check(!atomic_load(&talk->returned), "%s: it returned with errno %d", waits[i].name, talk->error);
	}
	klp_process_close(&p);
	finish(pid);
	return n == INTERRUPTS;
}

static bool restarts(long nr)
{
	static const long listed[] = {SYS_epoll_wait, SYS_epoll_pwait,     SYS_epoll_pwait2, SYS_semop,
				      SYS_semtimedop, SYS_rt_sigtimedwait, SYS_io_getevents, SYS_io_uring_enter,
				      SYS_accept,     SYS_accept4,         SYS_recvfrom,     SYS_recvmsg,
				      SYS_read,       SYS_msgrcv};

	for (size_t i = 0; i < sizeof(listed) / sizeof(listed[0]); i++)
		if (listed[i] == nr)
			return true;
	return false;
}

static void *sticks(void *arg)
{
	atomic_int *tid = arg;

	personality(PER_LINUX | STICKY_TIMEOUTS);
	atomic_store(tid, (int)syscall(SYS_gettid));
	while (atomic_load(tid))
		usleep(1000);
	return NULL;
}

/* What a thread is never borrowed from, by the arguments that make it so. */
static void classes(void)
{
	int64_t left[2] = {0, 0};
	const uint64_t frame = (uint64_t)(uintptr_t)left;
	const struct {
		const char *name;
		struct klp_task_syscall s;
		enum klp_call_class want;
	} row[] = {
	    {"epoll_wait for ever", {.nr = SYS_epoll_wait, .arg = {0, 0, 0, ~0ull}}, KLP_CALL_EXACT},
	    {"epoll_wait timed", {.nr = SYS_epoll_wait, .arg = {0, 0, 0, 300}}, KLP_CALL_TIMED_REG},
	    {"epoll_wait at once", {.nr = SYS_epoll_wait}, KLP_CALL_NEVER},
	    {"poll timed", {.nr = SYS_poll, .arg = {0, 0, 300}}, KLP_CALL_TIMED_REG},
	    {"ppoll timed, elsewhere", {.nr = SYS_ppoll, .arg = {0, 0, 4096}, .sp = frame}, KLP_CALL_NEVER},
	    {"ppoll timed, below the stack",
	     {.nr = SYS_ppoll, .arg = {0, 0, frame - 4096}, .sp = frame},
	     KLP_CALL_NEVER},
	    {"ppoll timed, not aligned", {.nr = SYS_ppoll, .arg = {0, 0, frame + 4}, .sp = frame}, KLP_CALL_NEVER},
	    {"ppoll timed", {.nr = SYS_ppoll, .arg = {0, 0, frame}, .sp = frame}, KLP_CALL_TIMED_MEM},
	    {"ppoll for ever", {.nr = SYS_ppoll, .sp = frame}, KLP_CALL_EXACT},
	    {"pselect6 timed", {.nr = SYS_pselect6, .arg = {0, 0, 0, 0, frame}, .sp = frame}, KLP_CALL_TIMED_MEM},
	    {"select timed", {.nr = SYS_select, .arg = {0, 0, 0, 0, frame}, .sp = frame}, KLP_CALL_TIMED_MEM},
	    {"futex", {.nr = SYS_futex, .arg = {0, FUTEX_WAIT_PRIVATE}}, KLP_CALL_EXACT},
	    {"futex timed", {.nr = SYS_futex, .arg = {0, FUTEX_WAIT_PRIVATE, 0, 4096}}, KLP_CALL_NEVER},
	    {"nanosleep", {.nr = SYS_nanosleep, .arg = {4096}}, KLP_CALL_NEVER},
	    {"clock_nanosleep", {.nr = SYS_clock_nanosleep, .arg = {1, 0, 4096}}, KLP_CALL_NEVER},
	    {"semtimedop timed", {.nr = SYS_semtimedop, .arg = {0, 0, 0, 4096}}, KLP_CALL_NEVER},
	    {"write", {.nr = SYS_write}, KLP_CALL_NEVER},
	    {"writev", {.nr = SYS_writev}, KLP_CALL_NEVER},
	    {"sendto", {.nr = SYS_sendto}, KLP_CALL_NEVER},
	    {"sendmsg", {.nr = SYS_sendmsg}, KLP_CALL_NEVER},
	    {"sendfile", {.nr = SYS_sendfile}, KLP_CALL_NEVER},
	    {"splice", {.nr = SYS_splice}, KLP_CALL_NEVER},
	    {"getrandom", {.nr = SYS_getrandom}, KLP_CALL_NEVER},
	    {"io_uring_enter", {.nr = SYS_io_uring_enter, .arg = {0, 1}}, KLP_CALL_NEVER},
	    {"recv with MSG_WAITALL", {.nr = SYS_recvfrom, .arg = {0, 0, 0, 0x100}}, KLP_CALL_NEVER},
	    {"close", {.nr = SYS_close}, KLP_CALL_NEVER},
	    {"connect", {.nr = SYS_connect}, KLP_CALL_NEVER},
	};
	const uint64_t none[6] = {0}, submits[6] = {0, 1};
	struct klp_task_syscall sticky = {.nr = SYS_ppoll};
	atomic_int tid = 0;
	pthread_t t;
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_process p;

	check(!klp_process_open(getpid(), &p, &e), "open: %s", e.text);
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		enum klp_call_class got = klp_call_classify(&p, getpid(), &row[i].s).cls;

		check(got == row[i].want, "class of %s: %d, expected %d", row[i].name, got, row[i].want);
	}
	/* The kernel leaves nothing in memory then: for the one thread. */
	sticky.arg[2] = sticky.sp = frame;
	check(!pthread_create(&t, NULL, sticks, &tid), "pthread_create");
	while (!atomic_load(&tid))
		usleep(1000);
	check(klp_call_classify(&p, atomic_load(&tid), &sticky).cls == KLP_CALL_NEVER,
	      "class of ppoll with sticky timeouts");
	check(klp_call_classify(&p, getpid(), &sticky).cls == KLP_CALL_TIMED_MEM,
	      "class of ppoll beside sticky timeouts");
	atomic_store(&tid, 0);
	pthread_join(t, NULL);
	klp_process_close(&p);
	for (long nr = 0; nr < CALL_NUMBERS; nr++)
		check(klp_call_eintr_restarts(nr, none) == restarts(nr), "EINTR of system call %ld: %s", nr,
		      restarts(nr) ? "not restarted" : "restarted, though it may do its work twice");
	check(!klp_call_eintr_restarts(SYS_io_uring_enter, submits), "io_uring_enter that submits is restarted");
}

int main(void)
{
	talk = shared(sizeof(*talk));
	sem_id = semget(IPC_PRIVATE, 1, 0600);
	msg_id = msgget(IPC_PRIVATE, 0600);
	if (sem_id < 0 || msg_id < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) {
		perror("semget, msgget, socketpair");
		return 1;
	}
	machine = shared(sizeof(*machine));
	watch_machine(machine);
	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		for (asleep_ms = SLEEP_MS; !interrupted(i) && asleep_ms < SLEEP_MAX_MS; asleep_ms *= 2)
			;
		check(asleep_ms < SLEEP_MAX_MS, "%s: %u stops take %u ms", waits[i].name, INTERRUPTS, asleep_ms);
	}
	semctl(sem_id, 0, IPC_RMID);
	msgctl(msg_id, IPC_RMID, NULL);
	classes();
	return check_end();
}
