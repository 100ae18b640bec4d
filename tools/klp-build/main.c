/* SPDX-License-Identifier: Apache-2.0 */
/* The command line and the supervisor: whatever ends the run, the work directory goes and nothing of the build stays.
 */
#include "klp-build.h"
#include "numbered.h"
#include "unwind-check.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "klp/include/klp/klp.h"
#include "objdiff/objdiff.h"

#define KB_GRACE_MS 2000 /* from SIGTERM to SIGKILL for what the build left running */

static void kb_help(void)
{
	puts(
	    "klp-build: makes a live patch module from a source diff\n"
	    "\n"
	    "  klp-build -s SOURCE -b COMMAND -t TARGET [options] DIFF... -o FILE.klp\n"
	    "  klp-build compare [--json] ORIGINAL.o PATCHED.o\n"
	    "  klp-build lines [--apart] ORIGINAL.c PATCHED.c\n"
	    "  klp-build --check-unwind FILE     compare a program's unwind tables with its code\n"
	    "\n"
	    "  -s, --source DIR      the source tree; it is not changed\n"
	    "  -b, --build COMMAND   what builds it, run by sh in the tree\n"
	    "      --compile-commands FILE\n"
	    "                        in place of -b and -t: a compile_commands.json. Only the units that the diffs "
	    "touch\n"
	    "                        are compiled, nothing is linked; each --running is a target, and is needed\n"
	    "  -t, --target FILE     the program or library that the command makes, relative to the tree. Given again: "
	    "a\n"
	    "                        program and its libraries, which are patched together by one module\n"
	    "  -o, --output FILE     the module\n"
	    "  -n, --name NAME       the patch's name; else that of the output file\n"
	    "      --description TEXT\n"
	    "      --label TEXT      what the patch is known by, beside the CVE numbers of the diffs; can be given\n"
	    "                        again\n"
	    "      --running FILE    the file that runs (may be stripped); else TARGET in the tree. Given again: "
	    "other\n"
	    "                        builds of the same source; FILE-BUILD_ID.klp is made for each. Of several "
	    "targets\n"
	    "                        one for each, by its name, or as TARGET=FILE\n"
	    "      --debug FILE|DIR  its debug file, or where to look for it\n"
	    "  -p, --strip N         leading path components of the diffs; else 1 is tried, then 0\n"
	    "      --cc-dir DIR      where compilers are that are not in the PATH; can be given again\n"
	    "      --dry-run         decide everything, write no module\n"
	    "      --report FILE     what was found, as .json or .html\n"
	    "      --explain NAME    why this function or datum is in the module, or is refused\n"
	    "      --keep DIR        work in DIR, which must not exist, and leave it\n"
	    "  -v, --verbose         show the build's output\n"
	    "\n"
	    "Exit codes: 0 built, 1 failed, 2 usage, 3 no functional change, 4 refused (or: unwind tables are wrong).");
}

static int kb_usage(const char *what, const char *arg)
{
	kb_error("%s%s; see klp-build --help", what, arg);
	return KB_USAGE;
}

static volatile sig_atomic_t kb_signal;

static void kb_on_signal(int sig)
{
	kb_signal = sig;
}

/* nohup */
static bool kb_is_ignored(int sig)
{
	struct sigaction sa;

	return !sigaction(sig, NULL, &sa) && sa.sa_handler == SIG_IGN;
}

static void kb_end_group(pid_t worker)
{
	struct timespec tick = {.tv_nsec = 20000000};

	kill(-worker, SIGTERM);
	for (int ms = 0; ms < KB_GRACE_MS; ms += 20) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (kill(-worker, 0))
			return;
		nanosleep(&tick, NULL);
	}
	kill(-worker, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
}

static int kb_supervise(struct kb_run *r)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct sigaction sa = {.sa_handler = kb_on_signal};
	sigset_t block, old;
	int status = 0, rc;
	pid_t worker, got;

	/* What the build leaves running becomes our child, so that it can be ended too. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	sigemptyset(&block);
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		sigaddset(&block, signals[i]);
	sigaddset(&block, SIGCHLD);
	sigprocmask(SIG_BLOCK, &block, &old);
	fflush(NULL);
	worker = fork();
	if (worker < 0) {
		kb_error("fork: %s", strerror(errno));
		return KB_FAILED;
	}
	if (!worker) {
		setpgid(0, 0);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sigprocmask(SIG_SETMASK, &old, NULL);
		rc = kb_drive(r);
		fflush(NULL);
		_exit(rc);
	}
	setpgid(worker, worker);
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		if (signals[i] != SIGHUP || !kb_is_ignored(SIGHUP))
			sigaction(signals[i], &sa, NULL);
	for (;;) {
		int sig;

		got = waitpid(worker, &status, WNOHANG);
		if (got == worker || (got < 0 && errno != EINTR))
			break;
		if (!sigwait(&block, &sig) && sig != SIGCHLD) {
			kb_signal = sig;
			break;
		}
		while ((got = waitpid(-1, &status, WNOHANG)) > 0 && got != worker)
			;
		if (got == worker)
			break;
	}
	kb_end_group(worker);
	if (!r->o->keep && kb_remove_tree(r->work))
		kb_error("%s could not be removed", r->work);
	if (kb_signal) {
		sigprocmask(SIG_SETMASK, &old, NULL);
		signal(kb_signal, SIG_DFL);
		raise(kb_signal);
	}
	if (!WIFEXITED(status)) {
		kb_error("the comparison ended by signal %d", WTERMSIG(status));
		return KB_FAILED;
	}
	return WEXITSTATUS(status);
}

/* The report of two objects, by name: what a script asks. The reasons are under "reasons". */
static json_t *kb_compare_json(const json_t *report)
{
	static const char *const lists[] = {"changed", "new", "removed", "data"};
	json_t *functions = json_pack("{s:[],s:[],s:[]}", "changed", "new", "removed"),
	       *data = json_pack("{s:[],s:[],s:[]}", "changed", "new", "cloned"), *reasons = json_object(),
	       *refused = json_array(), *entry;
	size_t i;

	for (size_t k = 0; k < sizeof(lists) / sizeof(*lists); k++)
		json_array_foreach(json_object_get(report, lists[k]), i, entry)
		{
			const char *symbol = json_string_value(json_object_get(entry, "symbol"));
			const char *action = json_string_value(json_object_get(entry, "action"));
			json_t *list = json_object_get(action ? data : functions, action ? action : lists[k]);

			json_array_append(list, json_object_get(entry, "symbol"));
			if (symbol)
				json_object_set(reasons, symbol, json_object_get(entry, "reason"));
		}
	json_array_foreach(json_object_get(report, "refused"), i, entry)
	{
		json_array_append_new(
		    refused, json_pack("{s:O,s:O,s:O,s:O}", "symbol", json_object_get(entry, "symbol"), "section",
				       json_object_get(entry, "section"), "reason", json_object_get(entry, "reason"),
				       "advice", json_object_get(entry, "advice")));
	}
	return json_pack("{s:o,s:o,s:o,s:o,s:O}", "functions", functions, "data", data, "refused", refused, "reasons",
			 reasons, "notes", json_object_get(report, "notes"));
}

static int kb_compare_objects(int argc, char **argv)
{
	struct klp_error e = KLP_ERROR_INIT;
	json_t *report = NULL;
	bool json = false;
	int rc, at = 2;

	if (at < argc && !strcmp(argv[at], "--json")) {
		json = true;
		at++;
	}
	if (argc - at != 2)
		return kb_usage("compare needs two object files", "");
	rc = klp_objdiff_compare(argv[at], argv[at + 1], &report, &e);
	if (rc == KLP_OBJDIFF_FAILED)
		kb_error("%s", e.text);
	if (json && report) {
		json_t *shown = kb_compare_json(report);

		json_dumpf(shown, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
		puts("");
		json_decref(shown);
	} else if (report) {
		static const char *const lists[] = {"changed", "new", "removed", "data", "refused"};
		size_t i;
		json_t *entry;

		for (size_t k = 0; k < sizeof(lists) / sizeof(*lists); k++)
			json_array_foreach(json_object_get(report, lists[k]), i, entry)
			{
				const char *symbol = json_string_value(json_object_get(entry, "symbol"));
				const char *reason = json_string_value(json_object_get(entry, "reason"));

				printf("%s: %s: %s\n", lists[k], symbol ? symbol : "", reason ? reason : "");
			}
	}
	json_decref(report);
	return rc;
}

/* What the compiler would read in place of PATCHED; nothing if PATCHED itself. */
static int kb_print_lines(int argc, char **argv)
{
	bool apart = argc > 2 && !strcmp(argv[2], "--apart");
	char *text = NULL;

	if (argc - apart != 4)
		return kb_usage("lines needs two source files", "");
	if (!kb_number_text(argv[2 + apart], argv[3 + apart], apart ? KB_NUMBERS_APART : KB_NUMBERS_KEPT, &text))
		return KB_FAILED;
	if (text)
		fputs(text, stdout);
	free(text);
	return text ? KB_BUILT : KB_NO_CHANGE;
}

/* A directory of our own, outside the source tree. */
static char *kb_make_work(const struct kb_run *r)
{
	const char *tmp = getenv("TMPDIR");
	char *dirs[] = {kb_format("%s", tmp && *tmp ? tmp : "/tmp"), kb_format("/tmp"), kb_format("/var/tmp")},
	     *work = NULL;

	for (size_t i = 0; i < 3 && !work; i++) {
		char *real = realpath(dirs[i], NULL), *name;

		if (!real || kb_is_below(real, r->source)) {
			free(real);
			continue;
		}
		name = kb_format("%s/klp-build.XXXXXX", real);
		if (mkdtemp(name))
			work = name;
		else
			free(name);
		free(real);
	}
	for (size_t i = 0; i < 3; i++)
		free(dirs[i]);
	return work;
}

static char *kb_name_of(const char *output)
{
	const char *base = kb_base(output);
	size_t n = kb_ends_with(base, ".klp") ? strlen(base) - 4 : strlen(base);

	return kb_format("%.*s", (int)n, base);
}

/* Its path within the tree. */
static bool kb_find_target(const struct kb_run *r, const char **target)
{
	while (!strncmp(*target, "./", 2))
		*target += 2;
	if (**target == '/') {
		char *real = kb_canonical("/", *target);

		if (!kb_is_below(real, r->source) || strlen(real) <= strlen(r->source)) {
			kb_usage("the target is not in the source tree: ", *target);
			return false;
		}
		*target = real + strlen(r->source) + 1;
	}
	return true;
}

static int kb_run(struct kb_options *o)
{
	struct kb_run r = {.o = o};
	const char *path = getenv("PATH");
	char self[PATH_MAX], cwd[PATH_MAX], *keep = NULL;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	struct stat st;

	if (n <= 0 || !getcwd(cwd, sizeof(cwd))) {
		kb_error("/proc/self/exe cannot be read");
		return KB_FAILED;
	}
	self[n] = 0;
	r.source = realpath(o->source, NULL);
	if (!r.source || stat(r.source, &st) || !S_ISDIR(st.st_mode)) {
		kb_error("%s is no directory", o->source);
		return KB_FAILED;
	}
	if (!strcmp(r.source, "/"))
		return kb_usage("the root directory is no source tree", "");
	for (size_t i = 0; i < o->target_count; i++) {
		if (o->database && strchr(o->target[i], '/'))
			o->target[i] = kb_base(o->target[i]);
		else if (!kb_find_target(&r, &o->target[i]))
			return KB_USAGE;
		for (size_t k = 0; k < i; k++)
			if (!strcmp(o->target[k], o->target[i]))
				return kb_usage("the same target twice: ", o->target[i]);
	}
	for (size_t i = 0; i < o->diff_count; i++)
		if (access(o->diffs[i], R_OK)) {
			kb_error("%s: %s", o->diffs[i], strerror(errno));
			return KB_FAILED;
		}
	for (size_t i = 0; i < o->running_count && (o->target_count == 1 || o->database); i++)
		if (access(o->running[i], R_OK)) {
			kb_error("%s: %s", o->running[i], strerror(errno));
			return KB_FAILED;
		}
	if (o->debug && stat(o->debug, &st)) {
		kb_error("%s: %s", o->debug, strerror(errno));
		return KB_FAILED;
	}
	if (o->debug && (o->running_count > 1 || o->target_count > 1) && !S_ISDIR(st.st_mode))
		return kb_usage("of several running files --debug is the directory of their debug files: ", o->debug);
	if (o->keep) {
		keep = kb_canonical(cwd, o->keep);
		if (kb_is_below(keep, r.source))
			return kb_usage("--keep must be outside the source tree: ", o->keep);
		if (mkdir(keep, 0700)) {
			kb_error("%s: %s", keep, strerror(errno));
			return KB_FAILED;
		}
		r.work = keep;
	} else {
		r.work = kb_make_work(&r);
	}
	if (!r.work) {
		kb_error("there is no place for a work directory outside the source tree (TMPDIR)");
		return KB_FAILED;
	}
	r.tree = kb_format("%s/tree", r.work);
	r.log = kb_format("%s/log", r.work);
	r.wrap = kb_format("%s/wrap", r.work);
	r.real = kb_format("%s/real", r.work);
	r.root = kb_format("%s", r.source);
	r.self = self;
	r.path = kb_format("%s", path && *path ? path : "/usr/local/bin:/usr/bin:/bin");
	for (size_t i = o->cc_dir_count; i-- > 0;) {
		char *dir = kb_canonical(cwd, o->cc_dirs[i]), *longer = kb_format("%s:%s", dir, r.path);

		free(dir);
		free(r.path);
		r.path = longer;
	}
	return kb_supervise(&r);
}

/* UTF-8 without control characters. */
static bool kb_is_printable(const char *text)
{
	json_t *s = json_string(text);
	bool ok = s != NULL;

	for (const char *p = text; *p; p++)
		ok = ok && !iscntrl((unsigned char)*p);
	json_decref(s);
	return ok;
}

enum {
	KB_OPT_RUNNING = 256,
	KB_OPT_DEBUG,
	KB_OPT_DRY,
	KB_OPT_REPORT,
	KB_OPT_EXPLAIN,
	KB_OPT_KEEP,
	KB_OPT_CC_DIR,
	KB_OPT_DATABASE,
	KB_OPT_DESCRIPTION,
	KB_OPT_LABEL
};

static const struct option kb_long_options[] = {
    {"source", required_argument, NULL, 's'},
    {"build", required_argument, NULL, 'b'},
    {"target", required_argument, NULL, 't'},
    {"output", required_argument, NULL, 'o'},
    {"name", required_argument, NULL, 'n'},
    {"description", required_argument, NULL, KB_OPT_DESCRIPTION},
    {"label", required_argument, NULL, KB_OPT_LABEL},
    {"running", required_argument, NULL, KB_OPT_RUNNING},
    {"debug", required_argument, NULL, KB_OPT_DEBUG},
    {"strip", required_argument, NULL, 'p'},
    {"compile-commands", required_argument, NULL, KB_OPT_DATABASE},
    {"cc-dir", required_argument, NULL, KB_OPT_CC_DIR},
    {"dry-run", no_argument, NULL, KB_OPT_DRY},
    {"report", required_argument, NULL, KB_OPT_REPORT},
    {"explain", required_argument, NULL, KB_OPT_EXPLAIN},
    {"keep", required_argument, NULL, KB_OPT_KEEP},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

int main(int argc, char **argv)
{
	struct kb_options o = {.strip = -1};
	int c;

	if (argc && strncmp(kb_base(argv[0]), "klp-build", 9) && getenv("KLP_BUILD_LOG"))
		return kb_record_command(argc, argv);
	if (argc > 1 && !strcmp(argv[1], "compare"))
		return kb_compare_objects(argc, argv);
	if (argc > 1 && !strcmp(argv[1], "lines"))
		return kb_print_lines(argc, argv);
	if (argc > 1 && !strcmp(argv[1], "--check-unwind"))
		return argc == 3 ? kb_check_unwind(argv[2]) : kb_usage("--check-unwind takes one FILE", "");
	o.cc_dirs = kb_alloc((size_t)argc * sizeof(*o.cc_dirs));
	o.running = kb_alloc((size_t)argc * sizeof(*o.running));
	o.target = kb_alloc((size_t)argc * sizeof(*o.target));
	o.labels = kb_alloc((size_t)argc * sizeof(*o.labels));
	while ((c = getopt_long(argc, argv, "s:b:t:o:n:p:vhV", kb_long_options, NULL)) != -1) {
		switch (c) {
		case 's':
			o.source = optarg;
			break;
		case 'b':
			o.build = optarg;
			break;
		case 't':
			o.target[o.target_count++] = optarg;
			break;
		case 'o':
			o.output = optarg;
			break;
		case 'n':
			o.name = optarg;
			break;
		case 'p':
			if (!isdigit((unsigned char)*optarg) || strlen(optarg) > 2)
				return kb_usage("no strip level: ", optarg);
			o.strip = atoi(optarg);
			break;
		case 'v':
			o.verbose = true;
			break;
		case KB_OPT_RUNNING:
			o.running[o.running_count++] = optarg;
			break;
		case KB_OPT_DEBUG:
			o.debug = optarg;
			break;
		case KB_OPT_DRY:
			o.dry_run = true;
			break;
		case KB_OPT_REPORT:
			o.report = optarg;
			break;
		case KB_OPT_EXPLAIN:
			o.explain = optarg;
			break;
		case KB_OPT_KEEP:
			o.keep = optarg;
			break;
		case KB_OPT_CC_DIR:
			o.cc_dirs[o.cc_dir_count++] = optarg;
			break;
		case KB_OPT_DATABASE:
			o.database = optarg;
			break;
		case KB_OPT_LABEL:
			if (!*optarg || !kb_is_printable(optarg))
				return kb_usage("no label: ", optarg);
			o.labels[o.label_count++] = optarg;
			break;
		case KB_OPT_DESCRIPTION:
			o.description = optarg;
			break;
		case 'h':
			kb_help();
			return KB_BUILT;
		case 'V':
			puts("klp-build " KLP_VERSION);
			return KB_BUILT;
		default:
			return KB_USAGE;
		}
	}
	if (o.database && (o.build || o.target_count))
		return kb_usage("--compile-commands is in the place of ", o.build ? "-b" : "-t");
	if (o.database && (!o.source || !o.running_count))
		return kb_usage("needed: ", !o.source ? "-s SOURCE" : "--running FILE, with --compile-commands");
	/* Without a link, what runs is all that there is of a target. */
	for (size_t i = 0; o.database && i < o.running_count; i++)
		o.target[o.target_count++] = o.running[i];
	if (!o.database && (!o.source || !o.build || !o.target_count))
		return kb_usage("needed: ", !o.source ? "-s SOURCE" : !o.build ? "-b COMMAND" : "-t TARGET");
	if (optind == argc)
		return kb_usage("no diff is given", "");
	if (!o.output && !o.dry_run)
		return kb_usage("needed: ", "-o FILE.klp");
	if (!o.output)
		o.output = o.name ? o.name : kb_base(argv[optind]);
	o.diffs = argv + optind;
	o.diff_count = (size_t)(argc - optind);
	if (!o.name)
		o.name = kb_name_of(o.output);
	return kb_run(&o);
}
