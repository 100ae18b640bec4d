/* SPDX-License-Identifier: Apache-2.0 */
/* The working copy, and the build command in it. */
#include "klp-build.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

char *kb_tree_path(const struct kb_run *r, const char *path)
{
	if (kb_is_below(path, r->root))
		return kb_format("%s%s", r->tree, path + strlen(r->root));
	return kb_format("%s", path);
}

static int kb_wait(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void kb_redirect(const char *log)
{
	int null = open("/dev/null", O_RDONLY), out = log ? open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;

	if (null >= 0)
		dup2(null, STDIN_FILENO);
	if (out >= 0) {
		dup2(out, STDOUT_FILENO);
		dup2(out, STDERR_FILENO);
	}
}

int kb_run_quiet(char *const argv[], const char *log)
{
	pid_t pid = fork();

	if (pid < 0)
		return -1;
	if (!pid) {
		kb_redirect(log);
		setenv("LC_ALL", "C", 1);
		execvp(argv[0], argv);
		_exit(127);
	}
	return kb_wait(pid);
}

/* Left over from an earlier build in the source tree: make would not compile them again, and nobody knows what is in
 * them. */
static int kb_drop_product(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	if (flag == FTW_F && (kb_ends_with(path, ".lo") || kb_file_kind(path) == ET_REL))
		unlink(path);
	return 0;
}

static int kb_drop_precompiled_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	if (flag == FTW_F && (kb_ends_with(path, ".gch") || kb_ends_with(path, ".pch")))
		unlink(path);
	return 0;
}

void kb_drop_precompiled(const struct kb_run *r)
{
	const char *path;
	json_t *copy;

	nftw(r->tree, kb_drop_precompiled_one, 32, FTW_PHYS);
	json_object_foreach(r->places, path, copy) nftw(json_string_value(copy), kb_drop_precompiled_one, 32, FTW_PHYS);
}

/* One name of wrap/ for every compiler and linker in the PATH, whatever its prefix and version. */
static void kb_make_wrappers(struct kb_run *r)
{
	for (const char *p = r->path; *p; p += strspn(p, ":")) {
		size_t n = strcspn(p, ":");
		char *dir = kb_format("%.*s", (int)n, p);
		DIR *d = opendir(dir);
		struct dirent *e;

		while (d && (e = readdir(d)))
			if (kb_is_tool(e->d_name)) {
				char *name = kb_format("%s/%s", r->wrap, e->d_name);

				if (symlink(r->self, name) && errno != EEXIST)
					kb_error("%s: %s", name, strerror(errno));
				free(name);
			}
		if (d)
			closedir(d);
		free(dir);
		p += n;
	}
}

/* Compilers are also called by their absolute path (cmake, configured trees): in our own mount namespace the recorder
 * covers them. */
static void kb_cover_compilers(const struct kb_run *r)
{
	char *usr = kb_format("%s/usr", r->real);
	struct dirent *e;
	DIR *d;

	if (mount("/usr", usr, NULL, MS_BIND | MS_REC, NULL)) {
		free(usr);
		return;
	}
	d = opendir(r->wrap);
	while (d && (e = readdir(d))) {
		for (const char *p = r->path; *p && *e->d_name != '.'; p += strspn(p, ":")) {
			size_t n = strcspn(p, ":");
			char *name = kb_format("%.*s/%s", (int)n, p, e->d_name), *real = realpath(name, NULL);
			struct stat self, st;

			/* ld runs below gcc; covering it would gain nothing. */
			if (real && kb_is_below(real, "/usr") && !kb_is_linker(e->d_name) && !stat(r->self, &self) &&
			    !stat(real, &st) && (self.st_dev != st.st_dev || self.st_ino != st.st_ino)) {
				if (mount(r->self, real, NULL, MS_BIND, NULL))
					fprintf(stderr, "klp-build: %s cannot be covered: %s\n", real, strerror(errno));
			}
			free(name);
			free(real);
			p += n;
		}
	}
	if (d)
		closedir(d);
	free(usr);
}

static bool kb_write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = write(fd, text, strlen(text));
	close(fd);
	return n == (ssize_t)strlen(text);
}

bool kb_private_mounts(bool user)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();

	if (unshare(CLONE_NEWNS | (user ? CLONE_NEWUSER : 0)))
		return false;
	if (user) {
		char *users = kb_format("%u %u 1", uid, uid), *groups = kb_format("%u %u 1", gid, gid);
		bool ok = kb_write_file("/proc/self/setgroups", "deny") && kb_write_file("/proc/self/uid_map", users) &&
			  kb_write_file("/proc/self/gid_map", groups);

		free(users);
		free(groups);
		if (!ok)
			return false;
	}
	return !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

/* In a child: puts the working copy where the source tree is, for this process and what it starts. */
static bool kb_enter(const struct kb_run *r, enum kb_place place)
{
	const char *path;
	json_t *copy;

	if (place == KB_PLACE_COPY)
		return true;
	if (!kb_private_mounts(place == KB_PLACE_USER))
		return false;
	kb_cover_compilers(r);
	json_object_foreach(r->places, path,
			    copy) if (mount(json_string_value(copy), path, NULL, MS_BIND | MS_REC, NULL)) return false;
	return !mount(r->tree, r->source, NULL, MS_BIND | MS_REC, NULL);
}

static bool kb_can_enter(const struct kb_run *r, enum kb_place place)
{
	pid_t pid = fork();

	if (!pid)
		_exit(kb_enter(r, place) ? 0 : 1);
	return pid > 0 && !kb_wait(pid);
}

static bool kb_copy_tree(const struct kb_run *r, const char *source, const char *to)
{
	char *from = kb_format("%s/.", source), *log = kb_format("%s/cp.log", r->work), *where = kb_format("%s", to);
	char *argv[] = {(char[]){"cp"}, (char[]){"-a"}, (char[]){"--reflink=auto"}, (char[]){"--"}, from, where, NULL};
	int status = kb_run_quiet(argv, log);

	if (status) {
		char *text = kb_read(log, KB_LOG_TAIL, NULL);

		kb_error("the source tree cannot be copied: %s", text ? text : "cp failed");
		free(text);
	}
	free(from);
	free(log);
	free(where);
	return !status;
}

/* The directories of r->places beside the tree. */
static bool kb_copy_places(struct kb_run *r)
{
	const char *path;
	json_t *copy;

	json_object_foreach(r->places, path, copy)
	{
		const char *to = json_string_value(copy);

		if (mkdir(to, 0700) || !kb_copy_tree(r, path, to))
			return false;
		nftw(to, kb_drop_product, 32, FTW_PHYS);
	}
	return true;
}

bool kb_prepare(struct kb_run *r)
{
	char *usr = kb_format("%s/usr", r->real);
	bool ok = false;

	if (mkdir(r->tree, 0700) || mkdir(r->log, 0700) || mkdir(r->wrap, 0700) || mkdir(r->real, 0700) ||
	    mkdir(usr, 0700)) {
		kb_error("%s: %s", r->work, strerror(errno));
		goto out;
	}
	kb_progress("copying the source tree");
	if (!kb_copy_tree(r, r->source, r->tree) || !kb_copy_places(r))
		goto out;
	nftw(r->tree, kb_drop_product, 32, FTW_PHYS);
	kb_make_wrappers(r);
	if (kb_can_enter(r, KB_PLACE_ROOT))
		r->place = KB_PLACE_ROOT;
	else if (kb_can_enter(r, KB_PLACE_USER))
		r->place = KB_PLACE_USER;
	else
		r->place = KB_PLACE_COPY;
	if (r->place == KB_PLACE_COPY) {
		free(r->root);
		r->root = kb_format("%s", r->tree);
		json_array_append_new(
		    r->notes, json_string("this system permits no private mounts: the trees were built in a copy, with "
					  "-fmacro-prefix-map, and compilers called by an absolute path are not seen"));
	}
	ok = true;
out:
	free(usr);
	return ok;
}

static void kb_build_child(const struct kb_run *r, const char *log)
{
	char *path = kb_format("%s:%s", r->wrap, r->path);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!r->o->verbose)
		kb_redirect(log);
	else
		dup2(STDERR_FILENO, STDOUT_FILENO);
	if (!kb_enter(r, r->place) || chdir(r->root)) {
		fprintf(stderr, "klp-build: the build's place cannot be entered: %s\n", strerror(errno));
		_exit(126);
	}
	setenv("PWD", r->root, 1);
	setenv("PATH", path, 1);
	setenv("KLP_BUILD_PATH", r->path, 1);
	setenv("KLP_BUILD_LOG", r->log, 1);
	setenv("KLP_BUILD_WRAP", r->wrap, 1);
	setenv("KLP_BUILD_ROOT", r->root, 1);
	setenv("KLP_BUILD_REAL", r->real, 1);
	setenv("LC_ALL", "C", 1);
	setenv("LANG", "C", 1);
	setenv("CCACHE_DISABLE", "1", 1);
	setenv("SOURCE_DATE_EPOCH", "1", 0);
	if (r->compilers)
		setenv("KLP_BUILD_COMPILERS", r->compilers, 1);
	if (r->numbered)
		setenv("KLP_BUILD_NUMBERED", r->numbered, 1);
	if (r->again)
		setenv("KLP_BUILD_AGAIN", r->again, 1);
	if (r->place == KB_PLACE_COPY)
		setenv("KLP_BUILD_MAP", kb_format("-fdebug-prefix-map=%s=%s", r->tree, r->source), 1);
	if (r->place == KB_PLACE_COPY || r->built_at)
		setenv("KLP_BUILD_MACROS",
		       kb_format("-fmacro-prefix-map=%s=%s", r->root, r->built_at ? r->built_at : r->source), 1);
	if (r->jobs)
		_exit(kb_run_jobs(r));
	execl("/bin/sh", "sh", "-c", r->o->build, (char *)NULL);
	_exit(127);
}

json_t *kb_other_compiler(const struct kb_run *r)
{
	char *path = kb_format("%s/other-compiler", r->log);
	json_t *reason = json_load_file(path, 0, NULL);

	free(path);
	return reason;
}

/* debhelper takes a tree that it has built once for done, whatever has changed since. */
static void kb_drop_stamp(const struct kb_run *r)
{
	char *stamp = kb_format("%s/debian/debhelper-build-stamp", r->tree);

	if (unlink(stamp) && errno != ENOENT && errno != ENOTDIR)
		kb_error("%s: %s", stamp, strerror(errno));
	free(stamp);
}

int kb_build(struct kb_run *r, const char *what)
{
	json_t *other;
	char *log = kb_format("%s/build.log", r->work), *text;
	size_t size = 0;
	int status;
	pid_t pid;

	kb_drop_stamp(r);
	kb_progress("%s", what);
	fflush(NULL);
	pid = fork();
	if (!pid)
		kb_build_child(r, log);
	status = pid < 0 ? -1 : kb_wait(pid);
	other = kb_other_compiler(r);
	if (other) {
		status = status ? status : 1;
	} else if (status) {
		text = r->o->verbose ? NULL : kb_read(log, 1u << 30, &size);
		if (text)
			fputs(size > KB_LOG_TAIL ? text + size - KB_LOG_TAIL : text, stderr);
		kb_error("%s failed: '%s' ended with status %d", what, r->jobs ? r->o->database : r->o->build, status);
		free(text);
	}
	json_decref(other);
	free(log);
	return status;
}
