/* SPDX-License-Identifier: Apache-2.0 */
#include "klpctl.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void klpctl_help(void)
{
	puts("klpctl: live patching of running programs\n"
	     "\n"
	     "  klpctl load    [-p PID]... [--timeout S] [--replace] [--consistency thread|immediate]\n"
	     "                 [--no-samples] [--json] [-v] "
	     "FILE.klp\n"
	     "  klpctl unload  [-p PID]... [--timeout S] [--no-samples] [--json] [-v] NAME\n"
	     "  klpctl watch   [-p PID]... [--interval S] [--timeout S] [--replace] [--json] [-v] FILE.klp\n"
	     "  klpctl status  [-p PID]... [--json] [--watch]\n"
	     "  klpctl check   [-p PID]... [--json] FILE.klp\n"
	     "  klpctl info    [--json] FILE.klp\n"
	     "  klpctl sites   [--json] FILE | -p PID\n"
	     "  klpctl stack   -p PID [--json]\n"
	     "  klpctl symfile -p PID [--json] DIR\n"
	     "  klpctl perfmap -p PID\n"
	     "  klpctl force   -p PID NAME\n"
	     "\n"
	     "Without -p: load, watch and check find every process that maps the patched object, unload and status "
	     "every "
	     "patched process.\n"
	     "Exit codes: 0 done or already so, 1 failed, 2 usage, 3 not applicable, 4 refused, 5 transition pending, "
	     "6 no permission.");
}

static int klpctl_usage(const char *fmt, const char *what)
{
	fprintf(stderr, "klpctl: ");
	fprintf(stderr, fmt, what);
	fprintf(stderr, "; see klpctl --help\n");
	return KLPCTL_USAGE;
}

static int klpctl_number(const char *text, double min, double max, double *out)
{
	char *end;

	errno = 0;
	*out = strtod(text, &end);
	return errno || end == text || *end || !(*out >= min && *out <= max) ? -1 : 0;
}

static int klpctl_add_pid(struct klpctl_args *a, const char *text)
{
	double pid;
	pid_t *grown;

	if (klpctl_number(text, 1, INT_MAX, &pid) || pid != (double)(pid_t)pid)
		return klpctl_usage("'%s' is no process id", text);
	if (a->pid_count == KLPCTL_MAX_PIDS)
		return klpctl_usage("too many processes: %s", text);
	grown = realloc(a->pid, (a->pid_count + 1) * sizeof(pid_t));
	if (!grown)
		return klpctl_usage("%s", "out of memory");
	a->pid = grown;
	a->pid[a->pid_count++] = (pid_t)pid;
	return 0;
}

/* -p takes one pid or several separated by commas or blanks, as `pidof` prints them. */
static int klpctl_add_pids(struct klpctl_args *a, char *text)
{
	char *save = NULL;
	int rc = 0;
	size_t before = a->pid_count;

	for (char *word = strtok_r(text, ", \n", &save); word && !rc; word = strtok_r(NULL, ", \n", &save))
		rc = klpctl_add_pid(a, word);
	if (!rc && a->pid_count == before)
		rc = klpctl_usage("-p needs a process id%s", "");
	return rc;
}

int klpctl_parse(int argc, char **argv, struct klpctl_args *a)
{
	static const struct option longopts[] = {
	    {"pid", required_argument, NULL, 'p'},
	    {"timeout", required_argument, NULL, 't'},
	    {"replace", no_argument, NULL, 'r'},
	    {"consistency", required_argument, NULL, 'c'},
	    {"json", no_argument, NULL, 'j'},
	    {"watch", no_argument, NULL, 'w'},
	    {"interval", required_argument, NULL, 'i'},
	    {"verbose", no_argument, NULL, 'v'},
	    {"no-samples", no_argument, NULL, 'S'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	static const char *const commands[] = {"load",  "unload", "status", "check",   "info",   "sites",
					       "stack", "force",  "watch",  "symfile", "perfmap"};
	double number;
	bool known = false, bare;
	int c, rc;

	memset(a, 0, sizeof(*a));
	if (argc >= 2 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))) {
		klpctl_help();
		exit(KLPCTL_DONE);
	}
	if (argc >= 2 && !strcmp(argv[1], "--version")) {
		puts("klpctl " KLP_VERSION);
		exit(KLPCTL_DONE);
	}
	if (argc < 2)
		return klpctl_usage("%s", "no command");
	a->command = argv[1];
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		known |= !strcmp(a->command, commands[i]);
	if (!known)
		return klpctl_usage("unknown command '%s'", a->command);
	opterr = 0;
	optind = 1;
	while ((c = getopt_long(argc - 1, argv + 1, "p:t:i:rjwvh", longopts, NULL)) != -1) {
		switch (c) {
		case 'p':
			rc = klpctl_add_pids(a, optarg);
			if (rc)
				return rc;
			break;
		case 't':
			if (klpctl_number(optarg, 0.001, 86400, &number))
				return klpctl_usage("'%s' is no number of seconds (0.001 to 86400)", optarg);
			a->opt.timeout_ms = (unsigned)(number * 1000);
			break;
		case 'i':
			if (klpctl_number(optarg, 0.01, 3600, &number))
				return klpctl_usage("'%s' is no number of seconds (0.01 to 3600)", optarg);
			a->interval_ms = (unsigned)(number * 1000);
			break;
		case 'r':
			a->opt.replace = true;
			break;
		case 'c':
			if (strcmp(optarg, "thread") && strcmp(optarg, "immediate"))
				return klpctl_usage("unknown consistency '%s'", optarg);
			a->opt.immediate = !strcmp(optarg, "immediate");
			break;
		case 'j':
			a->json = true;
			break;
		case 'w':
			a->watch = true;
			break;
		case 'S':
			a->opt.no_samples = true;
			break;
		case 'v':
			a->verbose = true;
			break;
		case 'h':
			klpctl_help();
			exit(KLPCTL_DONE);
		default:
			return klpctl_usage("unknown or incomplete option '%s'", argv[optind]);
		}
	}
	argc--;
	argv++;
	if (argc - optind > 1)
		return klpctl_usage("too many operands: '%s'", argv[optind + 1]);
	a->operand = argc > optind ? argv[optind] : NULL;
	bare = !strcmp(a->command, "status") || !strcmp(a->command, "stack") || !strcmp(a->command, "perfmap");
	if (!a->operand && !bare && (strcmp(a->command, "sites") || !a->pid_count))
		return klpctl_usage("%s needs an operand", a->command);
	if (a->operand && bare)
		return klpctl_usage("%s takes no operand", a->command);
	if (!a->pid_count && (!strcmp(a->command, "stack") || !strcmp(a->command, "force") ||
			      !strcmp(a->command, "symfile") || !strcmp(a->command, "perfmap")))
		return klpctl_usage("%s needs -p", a->command);
	if (a->pid_count > 1 && !strcmp(a->command, "perfmap"))
		return klpctl_usage("%s takes one process", a->command);
	return 0;
}
