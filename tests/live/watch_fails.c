/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch_fails PID MODULE LOADS UNLOADS: klpctl watch, of which the first LOADS loads fail as when the object moves
 * under them, and the first UNLOADS unloads as when somebody else works on the process. klp_load and klp_unload are
 * replaced for that. Prints the events, one a line, until the process ends.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "klp/include/klp/error.h"
#include "load_file.h"

static int loads, unloads;

int __real_klp_load(pid_t pid, const struct klp_module *m, const struct klp_options *o, json_t **result,
		    struct klp_error *e);
int __wrap_klp_load(pid_t pid, const struct klp_module *m, const struct klp_options *o, json_t **result,
		    struct klp_error *e);
int __real_klp_unload(pid_t pid, const char *name, const struct klp_options *o, json_t **result, struct klp_error *e);
int __wrap_klp_unload(pid_t pid, const char *name, const struct klp_options *o, json_t **result, struct klp_error *e);

static int fail(json_t **result, enum klp_reason reason, struct klp_error *e)
{
	*result = json_pack("{s:s}", "result", "refused");
	return klp_fail(e, EBUSY, reason, "made to fail");
}

int __wrap_klp_load(pid_t pid, const struct klp_module *m, const struct klp_options *o, json_t **result,
		    struct klp_error *e)
{
	return loads-- > 0 ? fail(result, KLP_NO_SITE, e) : __real_klp_load(pid, m, o, result, e);
}

int __wrap_klp_unload(pid_t pid, const char *name, const struct klp_options *o, json_t **result, struct klp_error *e)
{
	return unloads-- > 0 ? fail(result, KLP_BUSY, e) : __real_klp_unload(pid, name, o, result, e);
}

int main(int argc, char **argv)
{
	const struct klp_options o = {.timeout_ms = 10000};
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_module *m = NULL;
	struct klp_watch *w = NULL;
	pid_t pid;
	int rc = argc != 5;

	if (rc)
		return 2;
	pid = (pid_t)atoi(argv[1]);
	loads = atoi(argv[3]);
	unloads = atoi(argv[4]);
	rc = klp_module_open(argv[2], &m, &e);
	if (!rc)
		rc = klp_watch_new(m, &o, &w, &e);
	for (bool left = true; left && rc >= 0;) {
		json_t *events = json_array(), *event;
		size_t i;

		rc = klp_watch_look(w, &pid, 1, events, &e);
		json_array_foreach(events, i, event)
		{
			json_dumpf(event, stdout, JSON_COMPACT);
			putchar('\n');
		}
		fflush(stdout);
		json_decref(events);
		left = rc > 0;
		usleep(20000);
	}
	if (rc < 0)
		fprintf(stderr, "%s: %s\n", klp_reason_name(e.reason), e.text);
	klp_watch_free(w);
	klp_module_close(m);
	return rc < 0;
}
