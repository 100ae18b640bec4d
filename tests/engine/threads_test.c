/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libklp from several threads at once: each loads into and unloads from processes of its own, while others look at the
 * processes of all. Two threads also share a process and meet at its lock. Built as it is and with ThreadSanitizer, the
 * engine included (klp.h: calls on different processes from different threads are independent).
 *
 * usage: threads_test TARGET MODULE ROUNDS
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "klp/include/klp/klp.h"

#define TARGETS 3
#define SHARED 0 /* the target that two threads work on */

static struct target {
	pid_t pid;
	FILE *in, *out;
} target[TARGETS];
static struct klp_module *module;
static unsigned rounds;
static atomic_int failed, looked, busy;
static atomic_bool over;

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "FAILED: %s: %s\n", what, why);
	failed = 1;
}

static void start(struct target *t, const char *program)
{
	int in[2], out[2];

	if (pipe(in) || pipe(out))
		exit(1);
	t->pid = fork();
	if (!t->pid) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		for (int fd = 3; fd < 64; fd++)
			close(fd);
		execl(program, program, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	t->in = fdopen(in[1], "w");
	t->out = fdopen(out[0], "r");
}

/* The target's answer to "call answer 4": 41, patched 42. */
static int answer(struct target *t)
{
	char line[64] = "";

	fputs("call answer 4\n", t->in);
	fflush(t->in);
	return fgets(line, sizeof(line), t->out) ? atoi(line) : -1;
}

static bool load_and_unload(struct target *t, bool shared)
{
	struct klp_options o = {.timeout_ms = 60000};
	struct klp_error e = KLP_ERROR_INIT;
	json_t *result = NULL;
	int rc;

	for (int unload = 0; unload < 2; unload++) {
		rc = unload ? klp_unload(t->pid, "fix", &o, &result, &e) : klp_load(t->pid, module, &o, &result, &e);
		json_decref(result);
		if (shared && rc == -EBUSY) { /* the other one has the lock */
			busy++;
			return true;
		}
		if (rc < 0) {
			fail(unload ? "unload" : "load", e.text);
			return false;
		}
		if (!shared && answer(t) != (unload ? 41 : 42)) {
			fail(unload ? "unload" : "load", "the answer is not that of the new state");
			return false;
		}
	}
	return true;
}

static void *alone(void *arg)
{
	for (unsigned i = 0; i < rounds && load_and_unload(arg, false); i++)
		;
	return NULL;
}

static void *together(void *arg)
{
	for (unsigned i = 0; i < rounds && load_and_unload(arg, true); i++)
		;
	return NULL;
}

static void *look(void *arg)
{
	for (unsigned i = 0; !over && !failed; i++) {
		const struct target *t = &target[i % TARGETS];
		struct klp_error e = KLP_ERROR_INIT;
		json_t *result = NULL;

		/* What they say changes under their eyes; that they end, and touch nothing of the others, is the test.
		 */
		(void)klp_status(t->pid, &result, &e);
		json_decref(result);
		result = NULL;
		(void)klp_stack(t->pid, &result, &e);
		json_decref(result);
		looked++;
	}
	return arg;
}

int main(int argc, char **argv)
{
	struct klp_error e = KLP_ERROR_INIT;
	pthread_t worker[TARGETS + 1], looker;

	if (argc != 4)
		return 2;
	rounds = (unsigned)atoi(argv[3]);
	signal(SIGPIPE, SIG_IGN);
	for (unsigned i = 0; i < TARGETS; i++) {
		start(&target[i], argv[1]);
		if (answer(&target[i]) != 41)
			fail("start", "the target does not answer");
	}
	if (!failed && klp_module_open(argv[2], &module, &e))
		fail(argv[2], e.text);
	if (!failed) {
		pthread_create(&worker[TARGETS], NULL, together, &target[SHARED]);
		for (unsigned i = 0; i < TARGETS; i++)
			pthread_create(&worker[i], NULL, i == SHARED ? together : alone, &target[i]);
		pthread_create(&looker, NULL, look, NULL);
		for (unsigned i = 0; i <= TARGETS; i++)
			pthread_join(worker[i], NULL);
		over = true;
		pthread_join(looker, NULL);
		if (!failed && !looked)
			fail("look", "nobody looked meanwhile");
		printf("%u rounds, %d looks, %d times busy\n", rounds, looked, busy);
		klp_module_close(module);
	}
	for (unsigned i = 0; i < TARGETS; i++) {
		kill(target[i].pid, SIGKILL);
		waitpid(target[i].pid, NULL, 0);
		fclose(target[i].in);
		fclose(target[i].out);
	}
	return failed;
}
