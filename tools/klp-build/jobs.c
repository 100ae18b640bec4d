/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of a compilation database, several at once, in the place where a build command would run. */
#include "compdb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define KB_MAX_JOBS 64

static const char *kb_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static bool kb_is_of_copies(const struct kb_run *r, const char *path)
{
	const char *place;
	json_t *copy;

	json_object_foreach(r->places, place, copy) if (kb_is_below(path, place)) return true;
	return kb_is_below(path, r->root);
}

/* The object's directory: the build may never have run here. Nothing is made outside of the copies. */
static bool kb_make_way(const struct kb_run *r, const json_t *job)
{
	char *path = kb_format("%s", kb_of(job, "output")), *real;
	bool ok = !strstr(path, "/../");

	for (char *p = path + 1; ok && (p = strchr(p, '/')); p++) {
		*p = 0;
		real = kb_canonical("/", path);
		if (access(path, F_OK) && kb_is_of_copies(r, real) && mkdir(path, 0700) && errno != EEXIST)
			fprintf(stderr, "klp-build: %s: %s\n", path, strerror(errno));
		free(real);
		*p = '/';
	}
	real = kb_canonical("/", path);
	ok = ok && kb_is_of_copies(r, real);
	if (!ok)
		fprintf(stderr,
			"klp-build: %s: its command writes outside of the source tree and of the database's "
			"directories: %s\n",
			kb_of(job, "source"), real);
	free(real);
	free(path);
	return ok;
}

static void kb_job_child(const struct kb_run *r, const json_t *job)
{
	const char *deps = json_string_value(json_object_get(job, "deps"));
	const json_t *words = json_object_get(job, "argv"), *word;
	char **argv = kb_alloc((json_array_size(words) + 2) * sizeof(*argv)), *rule = NULL;
	size_t i, n = 0;
	int status, null;
	json_t *list;
	pid_t pid;

	json_array_foreach(words, i, word) argv[n++] = kb_format("%s", json_string_value(word));
	if (chdir(kb_of(job, "directory"))) {
		if (deps)
			_exit(0);
		fprintf(stderr, "klp-build: %s: %s\n", kb_of(job, "directory"), strerror(errno));
		_exit(1);
	}
	setenv("PWD", kb_of(job, "directory"), 1);
	unsetenv("DEPENDENCIES_OUTPUT");
	unsetenv("SUNPRO_DEPENDENCIES");
	if (!deps) {
		if (!kb_make_way(r, job))
			_exit(1);
		execvp(argv[0], argv);
		fprintf(stderr, "klp-build: %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	rule = argv[n++] = kb_format("%s.rule", deps);
	pid = fork();
	if (!pid) {
		null = open("/dev/null", O_WRONLY);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		_exit(0);
	list = kb_dependency_list(kb_of(job, "directory"), r->root, rule);
	_exit(list && json_dump_file(list, deps, JSON_COMPACT) ? 1 : 0);
}

int kb_run_jobs(const struct kb_run *r)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	size_t room = processors < 1 ? 1 : processors > KB_MAX_JOBS ? KB_MAX_JOBS : (size_t)processors, running = 0;
	size_t count = json_array_size(r->jobs), next = 0;
	int result = 0, status;

	while (running || (next < count && !result)) {
		if (running < room && next < count && !result) {
			const json_t *job = json_array_get(r->jobs, next++);
			pid_t pid = fork();

			if (!pid)
				kb_job_child(r, job);
			if (pid < 0)
				result = 1;
			else
				running++;
			continue;
		}
		if (wait(&status) < 0) {
			if (errno == EINTR)
				continue;
			break;
		}
		running--;
		if (!result && status)
			result = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
	}
	return result;
}
