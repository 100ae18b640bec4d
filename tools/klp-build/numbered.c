/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree is patched as it will be shipped; what the compiler reads in place of a patched file is a copy with old line
 * numbers. It is mounted over the file in a mount namespace of the compiler's own, so that make, generators and the
 * record of what was read see the real one, __FILE__ stays what it is, and a unit that does not compile so is compiled
 * without.
 */
#include "numbered.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define KB_MAX_SOURCE (16u << 20) /* bytes of a file that is numbered */

/* Text of C and C++ that only compilers read; a generator's input keeps its own numbers. */
static bool kb_is_text_of_c(const char *path)
{
	static const char *const ends[] = {".c", ".h",  ".cc",  ".cpp", ".cxx", ".c++",
					   ".C", ".hh", ".hpp", ".hxx", ".inc"};

	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++)
		if (kb_ends_with(path, ends[i]))
			return true;
	return false;
}

static char *kb_read_text(const char *path)
{
	size_t size = 0;
	char *text = kb_read(path, KB_MAX_SOURCE, &size);

	if (text && strlen(text) == size)
		return text;
	free(text);
	return NULL;
}

static bool kb_write_text(const char *path, const char *text, const struct stat *like)
{
	struct timespec times[2] = {like->st_atim, like->st_mtim};
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	size_t left = strlen(text);
	bool ok = fd >= 0;

	while (ok && left) {
		ssize_t n = write(fd, text, left);

		ok = n > 0;
		text += ok ? n : 0;
		left -= ok ? (size_t)n : 0;
	}
	/* __TIMESTAMP__ */
	ok = ok && !fchmod(fd, like->st_mode & 0777) && !futimens(fd, times);
	if (fd >= 0 && close(fd))
		ok = false;
	return ok;
}

/* What diff says of two files; NULL: they are equal, or diff does not work. It reads from a pipe so that nothing is
 * left. */
static char *kb_differences(const char *original, const char *patched)
{
	char *argv[] = {(char[]){"diff"},
			(char[]){"-a"},
			(char[]){"--"},
			(char *)(uintptr_t)original,
			(char *)(uintptr_t)patched,
			NULL};
	FILE *log = tmpfile();
	char *name = log ? kb_format("/proc/self/fd/%d", fileno(log)) : NULL, *text = NULL;

	if (log && kb_run_quiet(argv, name) == 1)
		text = kb_read_text(name);
	if (log)
		fclose(log);
	free(name);
	return text;
}

bool kb_number_text(const char *original, const char *patched, enum kb_numbering form, char **text)
{
	char *is = kb_read_text(patched), *differences = is ? kb_differences(original, patched) : NULL;

	*text = differences ? kb_keep_lines(is, differences, form) : NULL;
	if (!is)
		kb_error("%s cannot be read, or is no text", patched);
	free(differences);
	free(is);
	return is;
}

/* The copy's path, NULL if none is needed. */
static char *kb_number_file(const struct kb_run *r, size_t index, const char *original, const char *patched,
			    enum kb_numbering form, const struct stat *like)
{
	char *text = NULL, *path = NULL;

	if (!kb_number_text(original, patched, form, &text) || !text)
		return NULL;
	path = kb_format("%s/numbered-%zu%s", r->work, index, form == KB_NUMBERS_APART ? "-apart" : "");
	if (!kb_write_text(path, text, like)) {
		kb_error("%s: %s", path, strerror(errno));
		free(path);
		path = NULL;
	}
	free(text);
	return path;
}

static void kb_number_one(const struct kb_run *r, const char *name, json_t *list)
{
	char *was = kb_format("%s/%s", r->source, name), *is = kb_format("%s/%s", r->tree, name);
	char *root = kb_format("%s/%s", r->root, name), *kept = NULL, *apart = NULL, sha[KB_SHA];
	size_t n = json_object_size(list);
	struct stat st;

	if (!lstat(is, &st) && S_ISREG(st.st_mode) && !access(was, R_OK) && kb_digest_file(is, sha)) {
		kept = kb_number_file(r, n, was, is, KB_NUMBERS_KEPT, &st);
		apart = kept ? kb_number_file(r, n, was, is, KB_NUMBERS_APART, &st) : NULL;
	}
	if (apart)
		json_object_set_new(list, root, json_pack("{s:s, s:s, s:s}", "kept", kept, "apart", apart, "sha", sha));
	free(was);
	free(is);
	free(root);
	free(kept);
	free(apart);
}

void kb_number_files(struct kb_run *r, const json_t *touched)
{
	json_t *list = json_object(), *v;
	const char *name;

	json_object_foreach((json_t *)(uintptr_t)touched, name, v) if (kb_is_text_of_c(name))
	    kb_number_one(r, name, list);
	if (json_object_size(list) && r->place == KB_PLACE_COPY) {
		json_array_append_new(r->notes,
				      json_string("this system permits no private mounts: functions that use __LINE__ "
						  "below an inserted or removed line count as changed"));
	} else if (json_object_size(list)) {
		r->numbered = kb_format("%s/numbered", r->work);
		if (json_dump_file(list, r->numbered, JSON_COMPACT)) {
			kb_error("%s cannot be written", r->numbered);
			free(r->numbered);
			r->numbered = NULL;
		}
	}
	json_decref(list);
}

json_t *kb_numbered_load(void)
{
	const char *path = getenv("KLP_BUILD_NUMBERED"), *file;
	json_t *list = path ? json_load_file(path, 0, NULL) : NULL, *copy;
	void *next;

	json_object_foreach_safe(list, next, file, copy)
	{
		const char *was = json_string_value(json_object_get(copy, "sha"));
		char sha[KB_SHA];

		/* The build itself has changed it since. */
		if (!was || !kb_digest_file(file, sha) || strcmp(sha, was))
			json_object_del(list, file);
	}
	if (json_object_size(list))
		return list;
	json_decref(list);
	return NULL;
}

bool kb_numbered_mount(const json_t *list, enum kb_numbering form)
{
	const char *file;
	json_t *copy;

	if (!kb_private_mounts(false) && !kb_private_mounts(true))
		return false;
	json_object_foreach((json_t *)(uintptr_t)list, file, copy)
	{
		const char *from =
		    json_string_value(json_object_get(copy, form == KB_NUMBERS_APART ? "apart" : "kept"));

		if (!from || mount(from, file, NULL, MS_BIND, NULL))
			return false;
	}
	return true;
}
