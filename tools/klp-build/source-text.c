/* SPDX-License-Identifier: Apache-2.0 */
#include "source-text.h"

#include <stdlib.h>
#include <string.h>

#define KB_SOURCE_MAX (16u << 20)

/* The file that the compiler read under that path; NULL: it is none of the tree's. */
static char *kb_source_file(const struct kb_source_text *s, const char *path)
{
	const struct kb_run *r = s->run;
	const char *within = kb_is_below(path, r->root)     ? path + strlen(r->root)
			     : kb_is_below(path, r->source) ? path + strlen(r->source)
			     : !strncmp(path, "./", 2)      ? path + 1 /* -ffile-prefix-map=TREE=., as Debian has it */
							    : NULL;
	json_t *list = s->patched && s->lines && r->numbered ? json_load_file(r->numbered, 0, NULL) : NULL;
	const char *copy;
	char *root, *file;

	if (!within) {
		json_decref(list);
		return NULL;
	}
	root = kb_format("%s%s", r->root, within);
	copy = json_string_value(json_object_get(json_object_get(list, root), s->lines ? s->lines : ""));
	file = copy ? kb_format("%s", copy) : kb_format("%s%s", s->patched ? r->tree : r->source, within);
	json_decref(list);
	free(root);
	return file;
}

static bool kb_is_blank(const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (text[i] != ' ' && text[i] != '\t')
			return false;
	return true;
}

/* All lines that have this number, apart from blank ones; #line gives the next one's. */
static char *kb_numbered_lines(const char *text, unsigned long wanted)
{
	char *found = NULL;
	unsigned long number = 1;

	while (*text) {
		size_t n = strcspn(text, "\n");

		if (!strncmp(text, "#line ", 6)) {
			number = strtoul(text + 6, NULL, 10);
		} else {
			if (number == wanted && !kb_is_blank(text, n)) {
				char *more = found ? kb_format("%s\n%.*s", found, (int)n, text)
						   : kb_format("%.*s", (int)n, text);

				free(found);
				found = more;
			}
			number++;
		}
		text += n + (text[n] == '\n');
	}
	return found;
}

char *kb_source_text_line(void *ctx, const char *path, unsigned long line)
{
	struct kb_source_text *s = ctx;

	if (!s->path || strcmp(s->path, path)) {
		char *file = kb_source_file(s, path);

		kb_source_text_end(s);
		s->path = kb_format("%s", path);
		s->text = file ? kb_read(file, KB_SOURCE_MAX, NULL) : NULL;
		free(file);
	}
	return s->text ? kb_numbered_lines(s->text, line) : NULL;
}

void kb_source_text_end(struct kb_source_text *s)
{
	free(s->path);
	free(s->text);
	s->path = s->text = NULL;
}
