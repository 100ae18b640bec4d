/* SPDX-License-Identifier: Apache-2.0 */
/* Answers questions, one a line, on its standard input: the target of the live tests. */
#include "target.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB (1 << 20)

static void start(void *(*fn)(void *), void *arg, size_t stack)
{
	pthread_attr_t a;
	pthread_t t;

	pthread_attr_init(&a);
	pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
	if (stack)
		pthread_attr_setstacksize(&a, stack);
	if (pthread_create(&t, &a, fn, arg))
		abort();
	pthread_attr_destroy(&a);
}

/* sleep, wake, slept: a thread inside sleeper() */
static int sleep_pipe[2];
static atomic_int slept;

static void *sleep_thread(void *arg)
{
	(void)arg;
	slept = sleeper(sleep_pipe[0]);
	return NULL;
}

/* pairs: threads that check the contract of pair_a and pair_b */
static atomic_long pair_calls, pair_mixes, pair_seen[4];

static void pair_count(void)
{
	int v = pair_check();

	pair_calls++;
	if (v < 0)
		pair_mixes++;
	else
		pair_seen[v & 3]++;
}

static void *pair_thread(void *arg)
{
	for (;;) {
		for (int i = 0; i < 100; i++)
			pair_count();
		if (arg)
			usleep(200);
	}
	return NULL;
}

static atomic_long born;

static void *short_thread(void *arg)
{
	pair_count();
	pair_count();
	born++;
	return arg;
}

static void *birth_thread(void *arg)
{
	for (;;) {
		start(short_thread, NULL, 0);
		usleep(2000);
	}
	return arg;
}

/* signals: a timer's handler on an alternate stack calls what is patched */
static atomic_long handled_calls, handled_wrong;

static void on_alarm(int sig)
{
	int saved = errno, v = handled(10);

	(void)sig;
	pair_count();
	handled_calls++;
	if (v != 11 && v != 12)
		handled_wrong++;
	errno = saved;
}

/* An alternate stack that holds the kernel's frame and `extra` bytes, and a page under it that says whether it was
 * overrun. */
static unsigned char *alt_guard;

static void signals_start(long extra)
{
	long stack = (long)getauxval(AT_MINSIGSTKSZ) + extra;
	struct itimerval t = {{0, 700}, {0, 700}};
	struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART | SA_ONSTACK};
	stack_t s = {.ss_size = (size_t)stack};
	unsigned char *m = mmap(NULL, 4096 + (size_t)((stack + 4095) & ~4095), PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (m == MAP_FAILED)
		abort();
	memset(m, 0x5a, 4096);
	alt_guard = m;
	s.ss_sp = m + 4096;
	if (sigaltstack(&s, NULL) || sigaction(SIGALRM, &sa, NULL) || setitimer(ITIMER_REAL, &t, NULL))
		abort();
}

static int alt_intact(void)
{
	for (int i = 0; alt_guard && i < 4096; i++)
		if (alt_guard[i] != 0x5a)
			return 0;
	return 1;
}

/* stacks: threads on 16 KiB stacks */
static atomic_long small_calls, small_wrong;

static void *small_thread(void *arg)
{
	for (;;) {
		int v = small_stack(5);

		small_calls++;
		if (v != 6 && v != 7)
			small_wrong++;
		usleep(500);
	}
	return arg;
}

/* transfers: blocking writes of 1 MiB and a sendfile, with a reader that is slow on purpose */
static struct {
	const char *name;
	atomic_long done, cut;
} transfer[4] = {{.name = "pipe"}, {.name = "unix"}, {.name = "tcp"}, {.name = "sendfile"}};
static int transfer_fd[4][2];

static void *slow_reader(void *arg)
{
	char *buf = malloc(65536);
	int fd = (int)(long)arg;

	while (read(fd, buf, 65536) != 0)
		usleep(300);
	return NULL;
}

static void *writer(void *arg)
{
	long i = (long)arg;
	char *buf = calloc(1, MIB);
	FILE *f = tmpfile();

	if (!buf || !f || fwrite(buf, 1, MIB, f) != MIB || fflush(f))
		abort();
	for (;;) {
		off_t off = 0;
		ssize_t n =
		    i == 3 ? sendfile(transfer_fd[i][1], fileno(f), &off, MIB) : write(transfer_fd[i][1], buf, MIB);

		transfer[i].done++;
		if (n != MIB)
			transfer[i].cut++;
	}
	return NULL;
}

static void tcp_pair(int fd[2])
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0);

	fd[1] = socket(AF_INET, SOCK_STREAM, 0);
	if (l < 0 || fd[1] < 0 || bind(l, (struct sockaddr *)&a, len) || listen(l, 1) ||
	    getsockname(l, (struct sockaddr *)&a, &len) || connect(fd[1], (struct sockaddr *)&a, len))
		abort();
	fd[0] = accept(l, NULL, NULL);
	close(l);
}

static void transfers_start(void)
{
	if (pipe(transfer_fd[0]) || socketpair(AF_UNIX, SOCK_STREAM, 0, transfer_fd[1]) ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, transfer_fd[3]))
		abort();
	tcp_pair(transfer_fd[2]);
	for (long i = 0; i < 4; i++) {
		start(slow_reader, (void *)(long)transfer_fd[i][0], 0);
		start(writer, (void *)i, 0);
	}
}

/* misaligned: a call of a function that is entered with rsp 8 bytes off, as gcc may do for local ones */
static int call_misaligned(int (*fn)(int), int x)
{
#ifdef __x86_64__
	int result;

	__asm__ volatile("movq %%rsp, %%rbx\n\tandq $-16, %%rsp\n\tsubq $136, %%rsp\n\tcall *%2\n\tmovq %%rbx, %%rsp"
			 : "=a"(result), "+D"(x)
			 : "r"(fn)
			 : "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
	return result;
#else
	return fn(x);
#endif
}

static int fork_call(int x)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(answer(x) & 127);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1000 - status;
}

static int grow(void)
{
	char *before = sbrk(0), *p = sbrk(1 << 20);
	void *blocks[512];

	if (p != before)
		return -1;
	memset(p, 1, 1 << 20);
	for (int i = 0; i < 512; i++) {
		blocks[i] = malloc(100000);
		if (!blocks[i])
			return -2;
		memset(blocks[i], 2, 100000);
	}
	for (int i = 0; i < 512; i++)
		free(blocks[i]);
	return 0;
}

static int call1(const char *name, int x)
{
	static const struct {
		const char *name;
		int (*fn)(int);
	} fn[] = {{"answer", answer},
		  {"other", other},
		  {"third", third},
		  {"factorial", factorial},
		  {"is_even", is_even},
		  {"middle", middle},
		  {"leaf", leaf},
		  {"caller7", caller7},
		  {"callee7", callee7},
		  {"aux_answer", aux_answer},
		  {"aux_exported", aux_exported},
		  {"handled", handled},
		  {"small_stack", small_stack}};

	for (size_t i = 0; i < sizeof(fn) / sizeof(fn[0]); i++)
		if (!strcmp(fn[i].name, name))
			return fn[i].fn(x);
	return -424242;
}

static long microbench(void)
{
	struct timespec a, b;
	volatile int sink = 0;

	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < 1000000; i++)
		sink += answer(i);
	clock_gettime(CLOCK_MONOTONIC, &b);
	return (b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec;
}

static sem_t leave; /* the main thread's, if it is to exit when asked */

static void reply(char *line)
{
	char word[32] = "", name[32] = "";
	int x = 0;

	sscanf(line, "%31s %31s %d", word, name, &x);
	if (!strcmp(word, "call"))
		printf("%d\n", call1(name, x));
	else if (!strcmp(word, "misaligned"))
		printf("%d\n", call_misaligned(!strcmp(name, "leaf") ? leaf : answer, x));
	else if (!strcmp(word, "many"))
		printf("%ld\n", many(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5, 10.5));
	else if (!strcmp(word, "huge")) {
		struct huge h = make_huge(7);

		printf("%ld %ld %g\n", h.word[0], h.word[11], h.d);
	} else if (!strcmp(word, "varargs"))
		printf("%d\n", sum_varargs(8, 1, 2.5, 3, 4.5, 5, 6.5, 7, 8.5));
	else if (!strcmp(word, "vector"))
		printf("%g\n", vector_sum(1.25, 2.5f));
	else if (!strcmp(word, "sleep")) {
		slept = 0;
		if (pipe(sleep_pipe))
			abort();
		start(sleep_thread, NULL, 0);
		printf("ok\n");
	} else if (!strcmp(word, "wake"))
		printf("%zd\n", write(sleep_pipe[1], "", 1));
	else if (!strcmp(word, "slept"))
		printf("%d\n", slept);
	else if (!strcmp(word, "pairs")) {
		for (int i = 0; i < atoi(name); i++)
			start(pair_thread, x ? (void *)1 : NULL, 0);
		printf("ok\n");
	} else if (!strcmp(word, "mixes"))
		printf("%ld %ld %ld %ld\n", (long)pair_calls, (long)pair_mixes, (long)pair_seen[1], (long)pair_seen[2]);
	else if (!strcmp(word, "births")) {
		start(birth_thread, NULL, 0);
		printf("ok\n");
	} else if (!strcmp(word, "born"))
		printf("%ld\n", (long)born);
	else if (!strcmp(word, "signals")) {
		signals_start(atol(name));
		printf("ok\n");
	} else if (!strcmp(word, "handled"))
		printf("%ld %ld %d\n", (long)handled_calls, (long)handled_wrong, alt_intact());
	else if (!strcmp(word, "stacks")) {
		for (int i = 0; i < 8; i++)
			start(small_thread, NULL, 16384);
		printf("ok\n");
	} else if (!strcmp(word, "small"))
		printf("%ld %ld\n", (long)small_calls, (long)small_wrong);
	else if (!strcmp(word, "transfers")) {
		transfers_start();
		printf("ok\n");
	} else if (!strcmp(word, "transferred")) {
		for (int i = 0; i < 4; i++)
			printf("%s %ld %ld;", transfer[i].name, (long)transfer[i].done, (long)transfer[i].cut);
		printf("\n");
	} else if (!strcmp(word, "waits")) {
		waits_start();
		printf("ok\n");
	} else if (!strcmp(word, "report"))
		waits_report();
	else if (!strcmp(word, "fork"))
		printf("%d\n", fork_call(atoi(name)));
	else if (!strcmp(word, "grow"))
		printf("%d\n", grow());
	else if (!strcmp(word, "ns"))
		printf("%ld\n", microbench());
	else if (!strcmp(word, "exec")) {
		printf("ok\n");
		fflush(stdout);
		execl("/proc/self/exe", "target", (char *)NULL);
		abort();
	} else if (!strcmp(word, "leave"))
		printf("%d\n", sem_post(&leave));
	else if (!strcmp(word, "quit"))
		exit(0);
	else
		printf("?\n");
	fflush(stdout);
}

static void *serve(void *arg)
{
	char line[256];

	while (fgets(line, sizeof(line), stdin))
		reply(line);
	exit(0);
	return arg;
}

/* A daemon that SIGTERM ends: its wait must say EINTR. */
static volatile sig_atomic_t quit;

static void on_term(int sig)
{
	(void)sig;
	quit = 1;
}

static int daemon_loop(void)
{
	struct sigaction sa = {.sa_handler = on_term};
	int fd = epoll_create1(0), wrong = 0;
	sigset_t term, open;

	sigemptyset(&open);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	if (fd < 0 || sigprocmask(SIG_BLOCK, &term, NULL) || sigaction(SIGTERM, &sa, NULL))
		return 2;
	puts("ready");
	fflush(stdout);
	while (!quit) {
		struct epoll_event ev;
		int rc = epoll_pwait(fd, &ev, 1, -1, &open);

		if (rc >= 0 || errno != EINTR || !quit)
			wrong++;
		answer(1);
	}
	return wrong ? 3 : 7;
}

int main(int argc, char **argv)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (argc > 1 && !strcmp(argv[1], "--daemon"))
		return daemon_loop();
	if (argc > 1 && (!strcmp(argv[1], "--without-main") || !strcmp(argv[1], "--main-leaves"))) {
		int waits = !strcmp(argv[1], "--main-leaves");

		start(serve, NULL, 0);
		while (waits && sem_wait(&leave))
			;
		pthread_exit(NULL);
	}
	serve(NULL);
	return 0;
}
