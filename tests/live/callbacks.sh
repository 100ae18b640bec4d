# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the tests of callbacks and states share. Sourced behind lib.sh. The program's main thread waits in a read of its own, not in the C
# library's, so it can run callbacks; what the callbacks note is asked for with `log`.
# shellcheck disable=SC2154 # lib.sh sets them
:

callbacks_program() { # [LINK-FLAGS]: its source into $work/tree/prog.c, built
	mkdir "$work/tree"
	cat >"$work/tree/prog.c" <<-'C'
	#include <errno.h>
	#include <poll.h>
	#include <sys/select.h>
	#include <pthread.h>
	#include <signal.h>
	#include <stdio.h>
	#include <stdlib.h>
	#include <string.h>
	#include <time.h>
	#include <unistd.h>
	#define NOINLINE __attribute__((noipa))

	int limit = 10;
	static char notes[4096];
	static int pipes[2], slept, seen_errno, kept = -1, calls[4];

	NOINLINE void note(const char *what)
	{
		if (strlen(notes) + strlen(what) + 2 < sizeof(notes)) {
			if (*notes)
				strcat(notes, " ");
			strcat(notes, what);
		}
	}

	NOINLINE void count(int kind)
	{
		calls[kind]++;
	}

	NOINLINE int answer(int x)
	{
		return x * 10 + 1;
	}

	NOINLINE int other(int x)
	{
		return x * 100 + 1;
	}

	NOINLINE int sleeper(int fd)
	{
		char c = 0;

		while (read(fd, &c, 1) < 0)
			;
		return 100 + c;
	}

	static void *sleep_thread(void *arg)
	{
		(void)arg;
		slept = sleeper(pipes[0]);
		for (;;)
			pause();
		return NULL;
	}

	/* Values in a vector register across the call, and in the red zone where there is one. */
	NOINLINE long kept_read(int fd, char *buf)
	{
	#ifdef __aarch64__
		register long nr __asm__("x8") = 63, n __asm__("x0") = fd, length __asm__("x2") = 1;
		register char *to __asm__("x1") = buf;

		__asm__ volatile("fmov d17, %4\n\tsvc #0\n\tfmov x9, d17\n\tcmp x9, %4\n\tb.eq 1f\n\tmov x0, #-1000\n1:"
				 : "+r"(n)
				 : "r"(nr), "r"(to), "r"(length), "r"(0x1122334455667788l)
				 : "x9", "v17", "x30", "cc", "memory"); /* x30: it is saved, else nobody knows the caller */
	#elif defined __riscv
		register long nr __asm__("a7") = 63, n __asm__("a0") = fd, length __asm__("a2") = 1;
		register char *to __asm__("a1") = buf;

		__asm__ volatile("fmv.d.x ft7, %4\n\tecall\n\tfmv.x.d t5, ft7\n\tbeq t5, %4, 1f\n\tli a0, -1000\n1:"
				 : "+r"(n)
				 : "r"(nr), "r"(to), "r"(length), "r"(0x1122334455667788l)
				 : "t5", "ft7", "ra", "s0", "memory"); /* they are saved, else nobody knows the callers */
	#else
		long n;

		__asm__ volatile("movq %4, %%xmm9\n\t"
				 "movq %4, -128(%%rsp)\n\tmovq %4, -64(%%rsp)\n\tmovq %4, -8(%%rsp)\n\t"
				 "syscall\n\t"
				 "movq %%xmm9, %%rcx\n\t"
				 "cmpq %4, %%rcx\n\tjne 1f\n\t"
				 "cmpq %4, -128(%%rsp)\n\tjne 1f\n\tcmpq %4, -64(%%rsp)\n\tjne 1f\n\tcmpq %4, -8(%%rsp)\n\tje 2f\n"
				 "1:\tmovq $-1000, %%rax\n2:"
				 : "=a"(n)
				 : "0"(0l), "D"((long)fd), "S"(buf), "r"(0x1122334455667788l), "d"(1l)
				 : "rcx", "r11", "memory", "xmm9");
	#endif
		return n;
	}

	static void *kept_thread(void *arg)
	{
		char c;

		(void)arg;
		kept = (int)kept_read(pipes[0], &c);
		return NULL; /* and is gone */
	}

	NOINLINE void wake(void)
	{
		if (write(pipes[1], "", 1) != 1)
			abort();
	}

	/* Calls with a timeout of 1.2 s: how long the shortest took, and how late the worst ended; a callback on its thread may end behind it. */
	static long shortest = 10000000, latest;
	static struct timespec callback_ended;

	NOINLINE void callback_ends(void)
	{
		clock_gettime(CLOCK_MONOTONIC, &callback_ended);
	}

	static long us_between(const struct timespec *a, const struct timespec *b)
	{
		return (b->tv_sec - a->tv_sec) * 1000000 + (b->tv_nsec - a->tv_nsec) / 1000;
	}

	/* Its timeout lies in a register or, in architectures that have ppoll only, in memory. */
	static int timed_poll(void)
	{
		struct pollfd f = {.fd = pipes[0], .events = POLLIN};

		return poll(&f, 1, 1200);
	}

	/* In memory. */
	static int timed_select(void)
	{
		struct timeval t = {.tv_sec = 1, .tv_usec = 200000};
		fd_set set;

		FD_ZERO(&set);
		FD_SET(pipes[0], &set);
		return select(pipes[0] + 1, &set, NULL, NULL, &t);
	}

	static int (*timed)(void) = timed_poll;
	static struct timespec timed_began;

	static long timed_for(void)
	{
		struct timespec now;

		clock_gettime(CLOCK_MONOTONIC, &now);
		return us_between(&timed_began, &now) / 1000;
	}

	static void *timed_thread(void *arg)
	{
		struct timespec a, b;

		(void)arg;
		for (;;) {
			long us, late, behind_callback;

			clock_gettime(CLOCK_MONOTONIC, &a);
			timed_began = a;
			if (timed())
				abort();
			clock_gettime(CLOCK_MONOTONIC, &b);
			us = us_between(&a, &b);
			late = us - 1200000;
			behind_callback = us_between(&callback_ended, &b);
			if (behind_callback < late)
				late = behind_callback;
			shortest = us < shortest ? us : shortest;
			latest = late > latest ? late : latest;
		}
		return NULL;
	}

	/* Two of the library's functions deep, which hold nothing; five from glibc 2.41 on. */
	static void *signal_thread(void *arg)
	{
		sigset_t set;
		int sig;

		(void)arg;
		sigemptyset(&set);
		sigaddset(&set, SIGRTMAX);
		for (;;)
			if (sigwait(&set, &sig))
				abort();
		return NULL;
	}

	/* Blocks inside a handler. */
	static void on_hup(int sig)
	{
		char c;

		(void)sig;
		if (read(pipes[0], &c, 1) < 0)
			abort();
	}

	NOINLINE void *handler_thread(void *arg)
	{
		(void)arg;
		for (;;)
			raise(SIGHUP);
		return NULL;
	}

	static void start_thread_of(void *(*fn)(void *), size_t stack)
	{
		pthread_attr_t a;
		pthread_t t;

		pthread_attr_init(&a);
		if (stack && pthread_attr_setstacksize(&a, stack))
			abort();
		if (pipe(pipes) || pthread_create(&t, &a, fn, NULL))
			abort();
		pthread_attr_destroy(&a);
	}

	static void reply(char *line)
	{
		char word[32] = "", name[32] = "", out[4200];
		int x = 0;

		sscanf(line, "%31s %31s %d", word, name, &x);
		if (!strcmp(word, "call") && !strcmp(name, "other"))
			sprintf(out, "%d\n", other(x));
		else if (!strcmp(word, "call"))
			sprintf(out, "%d\n", answer(x));
		else if (!strcmp(word, "timed")) {
			timed = strcmp(name, "select") ? timed_poll : timed_select;
			start_thread_of(timed_thread, 0);
			sprintf(out, "ok\n");
		} else if (!strcmp(word, "timed_for"))
			sprintf(out, "%ld\n", timed_for());
		else if (!strcmp(word, "times"))
			sprintf(out, "%ld %ld\n", shortest, latest);
		else if (!strcmp(word, "fork")) {
			pid_t child = pipe(pipes) ? -1 : fork();

			if (!child)
				sleep_thread(NULL);
			sprintf(out, "%d\n", (int)child);
		} else if (!strcmp(word, "log")) {
			sprintf(out, "%s\n", notes);
			notes[0] = 0;
		} else if (!strcmp(word, "limit"))
			sprintf(out, "%d\n", limit);
		else if (!strcmp(word, "errno"))
			sprintf(out, "%d\n", seen_errno);
		else if (!strcmp(word, "sleep")) {
			slept = 0;
			start_thread_of(sleep_thread, (size_t)atoi(name));
			sprintf(out, "ok\n");
		} else if (!strcmp(word, "keep")) {
			start_thread_of(kept_thread, 0);
			sprintf(out, "ok\n");
		} else if (!strcmp(word, "sigwait")) {
			start_thread_of(signal_thread, 0);
			sprintf(out, "ok\n");
		} else if (!strcmp(word, "kept")) {
			sprintf(out, "%d\n", kept);
		} else if (!strcmp(word, "handler")) {
			start_thread_of(handler_thread, 0);
			sprintf(out, "ok\n");
		} else if (!strcmp(word, "calls")) {
			sprintf(out, "%d %d %d %d\n", calls[0], calls[1], calls[2], calls[3]);
		} else if (!strcmp(word, "wake"))
			sprintf(out, "%d\n", (int)write(pipes[1], "", 1));
		else if (!strcmp(word, "slept"))
			sprintf(out, "%d\n", slept);
		else
			sprintf(out, "?\n");
		if (write(1, out, strlen(out)) < 0)
			abort();
	}

	static void on_signal(int sig)
	{
		note(sig == SIGUSR1 ? "signal" : "other-signal");
	}

	NOINLINE int serve(void)
	{
		char line[256];
		ssize_t n;

		for (;;) {
			errno = 77;
			n = read(0, line, sizeof(line) - 1);
			seen_errno = errno;
			if (n < 0 && seen_errno == EINTR) {
				note("EINTR");
				continue;
			}
			if (n <= 0)
				return 0;
			line[n] = 0;
			reply(line);
		}
	}

	/* Never waits but with a timeout. */
	NOINLINE int serve_poll(void)
	{
		struct pollfd f = {.fd = 0, .events = POLLIN};
		char line[256];
		ssize_t n;

		for (;;) {
			if (poll(&f, 1, 100) != 1)
				continue;
			n = read(0, line, sizeof(line) - 1);
			if (n <= 0)
				return 0;
			line[n] = 0;
			reply(line);
		}
	}

	/* Waits in the C library, which holds a lock of its own meanwhile. */
	NOINLINE int serve_stdio(void)
	{
		char line[256];

		while (fgets(line, sizeof(line), stdin))
			reply(line);
		return 0;
	}

	int main(int argc, char **argv)
	{
		struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

		sigaction(SIGUSR1, &sa, NULL);
		sa.sa_flags = 0;
		sigaction(SIGUSR2, &sa, NULL);
		sa.sa_handler = on_hup;
		sigaction(SIGHUP, &sa, NULL);
		if (argc > 1)
			return !strcmp(argv[1], "--stdio") ? serve_stdio() : serve_poll();
		return serve();
	}
	C
	cat >"$work/tree/Makefile" <<-'MAKE'
	prog: prog.o
	MAKE
	printf '\t$(CC) -o $@ prog.o -pthread %s\nprog.o: prog.c\n\t$(CC) -O2 -g -I%s $(KLP_CFLAGS) -c prog.c\n' "${1:-}" "$root/klp/include" \
		>>"$work/tree/Makefile"
	make -s -C "$work/tree" KLP_CFLAGS="$klp_cflags" || die "the test's program does not build"
	cp "$work/tree/prog" "$work/prog"
}

# patched NAME SED: prepares $work/NAME.diff from what sed makes of the program and the lines of standard input, which go behind it.
patched() {
	rm -rf "$work/a" "$work/b"
	mkdir "$work/a" "$work/b"
	cp "$work/tree/prog.c" "$work/a/"
	{
		sed "$2" "$work/tree/prog.c"
		printf '#include <klp/patch.h>\n'
		cat
	} >"$work/b/prog.c"
	(cd "$work" && diff -u a/prog.c b/prog.c) >"$work/$1.diff"
}
built() { # WANTED-STATUS NAME: runs klp-build on $work/NAME.diff; what it says is in $work/log
	local got
	"$klp_build" -s "$work/tree" -b "make KLP_CFLAGS='$klp_cflags'" -t ./prog "$work/$2.diff" -o "$work/$2.klp" >"$work/log" 2>&1
	got=$?
	[ "$got" = "$1" ] || die "klp-build $2: exit status $got, expected $1: $(tail -5 "$work/log")"
}
callback_module() { # NAME SED: both, from standard input
	patched "$1" "$2"
	built 0 "$1"
}
all_four() { # NOTE: the source of four callbacks that note what they are, with NOTE behind it
	printf 'static int pre(void)\n{\n\tnote("pre_patch%s");\n\treturn 0;\n}\nKLP_PRE_PATCH(pre);\n' "$1"
	printf 'static void post(void)\n{\n\tnote("post_patch%s");\n}\nKLP_POST_PATCH(post);\n' "$1"
	printf 'static void pre_un(void)\n{\n\tnote("pre_unpatch%s");\n}\nKLP_PRE_UNPATCH(pre_un);\n' "$1"
	printf 'static void post_un(void)\n{\n\tnote("post_unpatch%s");\n}\nKLP_POST_UNPATCH(post_un);\n' "$1"
}
load_own() { # NAME [OPTION...]
	local n=$1
	shift
	ctl "${RC:-0}" load -v --json -p "$(p)" "$@" "$work/$n.klp"
}
state_patch() { # VERSION NEW-LIMIT: callbacks that put the program's limit up and back; what it was before is the state's data
	cat <<-C
	#include <stdlib.h>
	KLP_STATE(7, $1);
	static int take(void)
	{
		if (klp_state_prev_version(7)) {
			note(klp_state_prev_version(7) == 1 ? "had:1" : "had:2");
			return 0;
		}
		note("allocated");
		klp_state_data(7) = malloc(sizeof(int));
		return klp_state_data(7) ? 0 : -12;
	}
	KLP_PRE_PATCH(take);
	static void apply(void)
	{
		if (!klp_state_prev_version(7))
			*(int *)klp_state_data(7) = limit;
		limit = $2;
	}
	KLP_POST_PATCH(apply);
	static void restore(void)
	{
		limit = *(int *)klp_state_data(7);
	}
	KLP_PRE_UNPATCH(restore);
	static void drop(void)
	{
		note("freed");
		free(klp_state_data(7));
	}
	KLP_POST_UNPATCH(drop);
	C
}
slow_pre_patch() { # source: a pre_patch that lasts until the file $GO of the program's environment is there, and a post_unpatch
	cat <<-'C'
	#include <stdlib.h>
	#include <time.h>
	static int slow(void)
	{
		const struct timespec t = {0, 1000000};
		const char *go = getenv("GO");

		note("begin");
		while (access(go, F_OK))
			nanosleep(&t, NULL);
		note("end");
		callback_ends();
		return 0;
	}
	KLP_PRE_PATCH(slow);
	static void undo(void)
	{
		note("undone");
	}
	KLP_POST_UNPATCH(undo);
	C
}
runs() { # a callback runs now
	[ "$("$klpctl" status --json -p "$(p)" | jq -r '[.processes[0].patches[].callback | select(. != null and .state == "running")] | length')" = 1 ]
}
