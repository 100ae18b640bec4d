/* SPDX-License-Identifier: Apache-2.0 */
#include "common.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAPS_MAX (1u << 20)

static unsigned failures;

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

void sleep_ms(unsigned ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &t) == EINTR)
		;
}

unsigned rounds(unsigned quick, unsigned full)
{
	const char *v = getenv("KLP_FULL");

	return v && *v && *v != '0' ? full : quick;
}

void *shared(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return p;
}

pid_t fork_bound(void)
{
	pid_t parent = getpid(), pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		perror("fork");
		exit(1);
	}
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
	}
	return pid;
}

static void *watch_processor(void *arg)
{
	_Atomic uint64_t *worst = arg;

	for (;;) {
		uint64_t began = now_ns(), late, known = atomic_load(worst);

		sleep_ms(1);
		late = now_ns() - began - 1000000;
		while (late > known && !atomic_compare_exchange_weak(worst, &known, late))
			;
	}
	return NULL;
}

void watch_machine(_Atomic uint64_t *worst)
{
	cpu_set_t ours, one;
	pthread_attr_t a;
	pthread_t t;

	if (fork_bound())
		return;
	if (sched_getaffinity(0, sizeof(ours), &ours))
		_exit(1);
	for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &ours))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		pthread_attr_init(&a);
		pthread_attr_setaffinity_np(&a, sizeof(one), &one);
		if (pthread_create(&t, &a, watch_processor, worst))
			_exit(1);
	}
	for (;;)
		pause();
}

void finish(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
}

int cycle_start(pid_t pid, unsigned wait_ms, struct klp_process *p, struct klp_remote *rem, struct klp_error *e)
{
	int rc = klp_process_open(pid, p, e);

	if (rc)
		return rc;
	rc = klp_process_lock(p, 2000, e);
	if (!rc)
		rc = klp_process_check(p, e);
	if (!rc)
		rc = klp_remote_find(p, rem, e);
	if (!rc)
		rc = klp_remote_start(rem, wait_ms, e);
	if (rc)
		klp_process_close(p);
	return rc;
}

int cycle(pid_t pid, unsigned wait_ms, struct tool_result *r)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_process p;
	struct klp_remote rem;
	int rc = cycle_start(pid, wait_ms, &p, &rem, &e);

	if (!rc) {
		rc = klp_remote_ping(&rem, &e);
		if (!rc)
			rc = klp_remote_sync(&rem, &e);
		if (!rc)
			rc = klp_remote_stop(&rem, &e);
		if (!rc)
			rc = klp_remote_remove(&rem, wait_ms, &e);
		r->stops += rem.threads_stopped;
		r->early_returns += rem.early_returns;
		if (rem.longest_stop_ns > r->longest_stop_ns)
			r->longest_stop_ns = rem.longest_stop_ns;
		klp_process_close(&p);
	}
	r->rc = rc;
	r->error = e;
	return rc;
}

static pid_t killed_tool;

bool tool_dies(pid_t target)
{
	struct tool_result r = {0};
	int status;
	pid_t tool = fork_bound();

	if (!tool) {
		killed_tool = getpid();
		cycle(target, 5000, &r);
		_exit(r.rc ? 2 : 0);
	}
	check(waitpid(tool, &status, 0) == tool && (!WIFEXITED(status) || !WEXITSTATUS(status)),
	      "a tool that was to be killed has failed before");
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

void tool_is_killed(bool its_tracer_too)
{
	kill(killed_tool, SIGKILL);
	if (its_tracer_too)
		kill(getpid(), SIGKILL);
	while (getppid() == killed_tool)
		;
}

pid_t tool_spawn(pid_t pid, unsigned count, unsigned wait_ms, bool may_refuse, struct tool_result *r)
{
	pid_t tool;

	memset(r, 0, sizeof(*r));
	r->rc = -EINTR; /* until it says otherwise */
	tool = fork_bound();
	if (tool)
		return tool;
	for (unsigned i = 0; i < count; i++) {
		int rc = cycle(pid, wait_ms, r);

		if (rc && !(may_refuse && r->error.reason == KLP_NO_BORROW))
			_exit(1);
		if (rc)
			r->refused++;
		else
			r->cycles++;
	}
	r->rc = 0;
	_exit(0);
}

void tool_cycles(pid_t pid, unsigned count, unsigned wait_ms, bool may_refuse, struct tool_result *r)
{
	pid_t tool = tool_spawn(pid, count, wait_ms, may_refuse, r);
	int status;

	while (waitpid(tool, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status))
		check(false, "the tool ended with status %x", (unsigned)status);
}

void check_at(const char *file, int line, bool good, const char *fmt, ...)
{
	va_list ap;

	if (good)
		return;
	failures++;
	fprintf(stderr, "%s:%d: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

int check_end(void)
{
	printf(failures ? "%u failures\n" : "good\n", failures);
	return failures ? 1 : 0;
}

char *maps_text(pid_t pid)
{
	char path[64], *text = calloc(1, MAPS_MAX);
	size_t len;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	if (!f || !text) {
		if (f)
			fclose(f);
		return text;
	}
	len = fread(text, 1, MAPS_MAX - 1, f);
	text[len] = 0;
	fclose(f);
	return text;
}

uint64_t status_hex(pid_t pid, pid_t tid, const char *key)
{
	char path[80], text[8192], *at;
	uint64_t v = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, tid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	text[fread(text, 1, sizeof(text) - 1, f)] = 0;
	fclose(f);
	at = strstr(text, key);
	if (at)
		v = strtoull(at + strlen(key), NULL, 16);
	return v;
}

unsigned thread_count(pid_t pid)
{
	char path[64];
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	if (!d)
		return 0;
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static void tell_file(pid_t pid, const char *tid, const char *name, const char *const *keys)
{
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%.16s/%s", pid, tid, name);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		bool wanted = !keys;

		for (unsigned i = 0; keys && keys[i]; i++)
			wanted |= !strncmp(line, keys[i], strlen(keys[i]));
		if (wanted)
			fprintf(stderr, "%d/%s %s: %s%s", pid, tid, name, line, strchr(line, '\n') ? "" : "\n");
	}
	if (f)
		fclose(f);
}

void tell_threads(pid_t pid)
{
	static const char *const keys[] = {"State", "TracerPid", "SigPnd", "ShdPnd", "SigBlk", NULL};
	char path[64];
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (d = readdir(dir))) {
		if (d->d_name[0] == '.')
			continue;
		tell_file(pid, d->d_name, "status", keys);
		tell_file(pid, d->d_name, "syscall", NULL);
		tell_file(pid, d->d_name, "wchan", NULL);
		tell_file(pid, d->d_name, "stack", NULL);
	}
	if (dir)
		closedir(dir);
}
