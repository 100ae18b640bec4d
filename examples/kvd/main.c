/* SPDX-License-Identifier: Apache-2.0 */
#include "kvd.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int usage(const char *name)
{
	fprintf(stderr, "usage: %s [-p PORT] [-t THREADS (1 to %u)] [-w spin|tick|off]\n", name, KVD_WORKERS_MAX);
	return 2;
}

static bool number(const char *text, unsigned max, unsigned *out)
{
	char *end;
	unsigned long v;

	errno = 0;
	v = strtoul(text, &end, 10);
	if (errno || end == text || *end || v > max)
		return false;
	*out = (unsigned)v;
	return true;
}

int main(int argc, char **argv)
{
	enum watchdog_mode mode = WATCHDOG_TICK;
	unsigned port = 0, workers = 4;
	sigset_t set;
	int opt, sig;

	while ((opt = getopt(argc, argv, "p:t:w:")) != -1) {
		if (opt == 'p' && number(optarg, 65535, &port))
			continue;
		if (opt == 't' && number(optarg, KVD_WORKERS_MAX, &workers) && workers)
			continue;
		if (opt == 'w' && !strcmp(optarg, "spin"))
			mode = WATCHDOG_SPIN;
		else if (opt == 'w' && !strcmp(optarg, "off"))
			mode = WATCHDOG_OFF;
		else if (opt != 'w' || strcmp(optarg, "tick"))
			return usage(argv[0]);
	}
	if (optind != argc)
		return usage(argv[0]);

	/* The main thread takes the signals, the others never see one. */
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);

	protocol_workers = workers;
	opt = server_start(port, workers);
	if (opt < 0 || !watchdog_start(mode)) {
		fprintf(stderr, "%s: cannot start: %s\n", argv[0], strerror(errno));
		return 1;
	}
	printf("%d\n", opt);
	fflush(stdout);
	sigwait(&set, &sig);
	server_stop();
	server_wait();
	return 0;
}
