/* SPDX-License-Identifier: Apache-2.0 */
#include "klpctl.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>

#define WATCH_ONE_MS 100u  /* between two looks at processes that were named ... */
#define WATCH_ALL_MS 1000u /* and at all */

static volatile sig_atomic_t enough;

static void end(int sig)
{
	(void)sig;
	enough = 1;
}

static void print_events(const struct klpctl_args *a, const json_t *events)
{
	const json_t *event;
	size_t i;

	json_array_foreach(events, i, event)
	{
		if (a->json) {
			json_dumpf(event, stdout, JSON_COMPACT);
			putchar('\n');
		} else {
			klpctl_print_event(event);
		}
	}
	fflush(stdout);
}

int klpctl_watch(struct klpctl_args *a, const struct klp_module *m)
{
	const struct sigaction stop = {.sa_handler = end};
	unsigned interval = a->interval_ms ? a->interval_ms : a->pid_count ? WATCH_ONE_MS : WATCH_ALL_MS;
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_watch *w = NULL;
	int rc;

	/* A load that has begun is ended first: the signal is looked at between two looks. */
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	rc = klp_watch_new(m, &a->opt, &w, &e);
	while (rc >= 0 && !enough && !ferror(stdout)) {
		json_t *events = json_array();

		rc = klp_watch_look(w, a->pid, a->pid_count, events, &e);
		print_events(a, events);
		json_decref(events);
		if (!rc && a->pid_count)
			break; /* all that were named have ended */
		if (rc >= 0 && !enough)
			poll(NULL, 0, (int)interval);
	}
	klp_watch_free(w);
	return rc < 0 ? klpctl_fail(a, rc, &e) : KLPCTL_DONE;
}
