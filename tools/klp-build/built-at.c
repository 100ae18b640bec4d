/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the running program was built. Out-of-tree builds give the compiler absolute paths, so __FILE__ (assert) has
 * the place of the tree in it, and what was built elsewhere differs from what is built here (hazard N10). What is found
 * here may be wrong: the comparison with the running file judges the result.
 */
#include "klp-build.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define KB_MAX_DEPTH 64u   /* directories */
#define KB_MAX_ASKED 4096u /* units: enough to tell where most of them were */

/* The length of the part of an absolute path of a source that its tree was, by a file of the same name in `source`; 0:
 * it is not of this tree. The longest name counts: lib/a.c is not a.c. */
static size_t kb_tree_length(const char *path, const char *source)
{
	const char *p = path;

	for (unsigned depth = 0; p && depth < KB_MAX_DEPTH; depth++, p = strchr(p + 1, '/')) {
		char *here = kb_format("%s%s", source, p);
		struct stat st;
		bool is = !stat(here, &st) && S_ISREG(st.st_mode);

		free(here);
		if (is)
			return (size_t)(p - path);
	}
	return 0;
}

char *kb_built_at(const json_t *producers, const char *source)
{
	json_t *votes = json_object(), *e, *count;
	const char *dir, *best = NULL;
	json_int_t most = 0;
	char *found = NULL, *name;
	size_t i;

	json_array_foreach(producers, i, e)
	{
		const char *path = json_string_value(json_object_get(e, "path"));
		size_t n = path && *path == '/' && strlen(path) < PATH_MAX ? kb_tree_length(path, source) : 0;

		if (i >= KB_MAX_ASKED)
			break;
		if (!n)
			continue;
		name = kb_format("%.*s", (int)n, path);
		count = json_object_get(votes, name);
		json_object_set_new(votes, name, json_integer(json_integer_value(count) + 1));
		free(name);
	}
	json_object_foreach(votes, dir, count) if (json_integer_value(count) > most)
	{
		most = json_integer_value(count);
		best = dir;
	}
	if (best && strcmp(best, source))
		found = kb_format("%s", best);
	json_decref(votes);
	return found;
}
