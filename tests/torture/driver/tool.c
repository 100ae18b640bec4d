/* SPDX-License-Identifier: Apache-2.0 */
#include "driver.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define TOOL_ARGS 16
#define LATE_MAX 8

void tool_start(struct tool *t, const char *arg, ...)
{
	const char *argv[TOOL_ARGS] = {"klpctl", arg};
	unsigned n = 2;
	va_list ap;

	memset(t, 0, sizeof(*t));
	va_start(ap, arg);
	while (n + 1 < TOOL_ARGS && (argv[n] = va_arg(ap, const char *)))
		n++;
	va_end(ap);
	for (unsigned i = 1; i < n; i++) {
		const char *base = strrchr(argv[i], '/');

		strncat(t->command, base ? base + 1 : argv[i], sizeof(t->command) - strlen(t->command) - 2);
		strcat(t->command, i + 1 < n ? " " : "");
	}
	t->out = memfd_create("out", MFD_CLOEXEC);
	t->err = memfd_create("err", MFD_CLOEXEC);
	if (t->out < 0 || t->err < 0)
		fail("memfd: %s", strerror(errno));
	t->pid = fork();
	if (t->pid < 0)
		fail("fork: %s", strerror(errno));
	if (!t->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(t->out, 1);
		dup2(t->err, 2);
		execv(torture.klpctl, (char **)(uintptr_t)argv);
		_exit(127);
	}
	t->fd = (int)syscall(SYS_pidfd_open, t->pid, 0);
	if (t->fd < 0)
		fail("pidfd: %s", strerror(errno));
	torture.tools++;
}

static uint64_t occurrences(const char *text, const char *what)
{
	uint64_t n = 0;

	for (const char *p = text; (p = strstr(p, what)); p += strlen(what))
		n++;
	return n;
}

/* Transitions are counted by the events of the tools that began them: a killed one has told so far as it came. */
static void tool_count(struct tool *t)
{
	static char text[1u << 16];
	ssize_t n = pread(t->err, text, sizeof(text) - 1, 0);
	uint64_t reversed;

	text[n > 0 ? n : 0] = 0;
	reversed = occurrences(text, "reversing transition");
	torture.reversals += reversed;
	torture.transitions +=
	    reversed + occurrences(text, "starting patching") + occurrences(text, "starting unpatching");
	torture.completed += occurrences(text, "patching complete");
	if (torture.verbose && n > 0)
		say("%s", text);
}

void tool_said(const struct tool *t)
{
	static char text[1u << 16];
	const int fd[] = {t->out, t->err};

	for (unsigned i = 0; i < 2; i++) {
		ssize_t n = pread(fd[i], text, sizeof(text) - 1, 0);

		text[n > 0 ? n : 0] = 0;
		say("klpctl %s has said:\n%s\n", t->command, text);
	}
}

/* The result's first process. */
static const json_t *tool_process(const struct tool *t)
{
	return t->json ? json_array_get(json_object_get(t->json, "processes"), 0) : NULL;
}

static void tool_figures(const struct tool *t)
{
	const json_t *p = tool_process(t);
	uint64_t stop = (uint64_t)json_integer_value(json_object_get(p, "longest_stop_us"));
	uint64_t early = (uint64_t)json_integer_value(json_object_get(p, "early_returns"));

	if (stop > torture.longest_stop_us)
		torture.longest_stop_us = stop;
	torture.early_returns += early;
	torture.stopped_threads += (uint64_t)json_integer_value(json_object_get(p, "threads_stopped"));
}

/*
 * It has called exit, and the kernel is at it: exit_mmap() waits for locks of the C library's file that every fork and
 * exec of the storm takes as well. On a loaded machine it was seen to wait for more than a minute.
 */
static bool tool_ends(const struct tool *t)
{
	const unsigned long exiting = 4; /* PF_EXITING of the kernel's include/linux/sched.h */
	unsigned long flags = 0;
	char path[64], text[512], *at;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", t->pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	at = fgets(text, sizeof(text), f) ? strrchr(text, ')') : NULL;
	fclose(f);
	if (!at || sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %lu", &flags) != 1 || !(flags & exiting))
		return false;
	say("klpctl %s (process %d) has come to its end, which takes the kernel more than %u s\n", t->command, t->pid,
	    TOOL_HANG_S);
	return true;
}

static void tool_end(struct tool *t, int timeout_ms)
{
	struct pollfd f = {.fd = t->fd, .events = POLLIN};
	json_error_t e;

	if (t->ended)
		return;
	if (poll(&f, 1, timeout_ms) != 1 && (!tool_ends(t) || poll(&f, 1, EXIT_HANG_S * 1000) != 1))
		fail("klpctl %s (process %d) does not end", t->command, t->pid);
	if (waitpid(t->pid, &t->status, 0) != t->pid)
		fail("waitpid: %s", strerror(errno));
	t->ended = true;
	close(t->fd);
	tool_count(t);
	if (WIFSIGNALED(t->status) && !(t->killed && WTERMSIG(t->status) == SIGKILL))
		fail("klpctl %s died of signal %d", t->command, WTERMSIG(t->status));
	if (WIFEXITED(t->status) && lseek(t->out, 0, SEEK_CUR) > 0) {
		lseek(t->out, 0, SEEK_SET);
		t->json = json_loadfd(t->out, t->lines ? JSON_DISABLE_EOF_CHECK : 0, &e);
		if (!t->json)
			fail("klpctl %s printed no JSON: %s", t->command, e.text);
		tool_figures(t);
	}
}

/*
 * Where the plug-in was, threads of kind c map and unmap other objects. A tool that has to look at what it left there
 * can find somebody else's bytes, or none any more, and refuses; the next one finds it otherwise.
 */
static bool tool_met_another(const struct tool *t)
{
	const char *reason = tool_result(t, "reason");
	bool changes = !strncmp(t->command, "load", 4) || !strncmp(t->command, "unload", 6);

	return changes && WIFEXITED(t->status) && WEXITSTATUS(t->status) == 4 && strchr(torture.kinds, 'o') &&
	       strchr(torture.kinds, 'c') && target_plugin_phase() >= PHASE_COUNT &&
	       (!strcmp(reason, "TARGET_MEMORY") || !strcmp(reason, "SITE_TAKEN"));
}

/*
 * On a machine with more to do than it has processors the helper's answer can come too late for klpctl: it gives up and
 * says so (1, HELPER), and what it began stays to be gone on with, as after a timeout. Not for ever, though.
 */
static bool tool_gave_up(struct tool *t)
{
	bool met = tool_met_another(t);

	torture.met_another += met;
	if (!met &&
	    (!WIFEXITED(t->status) || WEXITSTATUS(t->status) != 1 || strcmp(tool_result(t, "reason"), "HELPER"))) {
		torture.late_in_a_row = 0;
		return false;
	}
	if (++torture.late_in_a_row > LATE_MAX)
		fail("klpctl %s: %u tools in a row could not go on: %s", t->command, LATE_MAX,
		     tool_result(t, "message"));
	return true;
}

int tool_wait(struct tool *t)
{
	bool first = !t->ended;

	tool_end(t, TOOL_HANG_S * 1000);
	if (first && !t->killed)
		t->late = tool_gave_up(t);
	torture.late += first && t->late;
	if (t->late)
		return 5;
	return WIFEXITED(t->status) ? WEXITSTATUS(t->status) : 128 + WTERMSIG(t->status);
}

void tool_kill(struct tool *t, uint64_t after_us)
{
	struct pollfd f = {.fd = t->fd, .events = POLLIN};
	struct timespec wait = {(time_t)(after_us / 1000000), (long)(after_us % 1000000) * 1000};

	if (ppoll(&f, 1, &wait, NULL) == 0) {
		t->killed = true;
		kill(t->pid, SIGKILL);
	}
	tool_wait(t);
	torture.kills += WIFSIGNALED(t->status);
}

void tool_close(struct tool *t)
{
	tool_wait(t);
	json_decref(t->json);
	close(t->out);
	close(t->err);
	memset(t, 0, sizeof(*t));
}

int64_t tool_number(const struct tool *t, const char *key)
{
	const json_t *v = json_object_get(tool_process(t), key);

	return json_is_integer(v) ? json_integer_value(v) : -1;
}

const char *tool_result(const struct tool *t, const char *key)
{
	const char *s = json_string_value(json_object_get(tool_process(t), key));

	return s ? s : "";
}

void tool_toggle(struct tool *t, const struct module *m, bool load, const char *timeout)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", torture.pid);
	if (!load)
		torture.module[m - torture.module].opening = 0;
	tool_start(t, load ? "load" : "unload", "-v", "--json", "-p", pid, "--timeout", timeout,
		   load ? m->file : m->name, NULL);
}
