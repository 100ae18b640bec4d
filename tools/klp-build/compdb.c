/* SPDX-License-Identifier: Apache-2.0 */
#include "compdb.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct kb_entry {
	const char *path; /* of the database */
	size_t index;
	const char *directory, *file, *output;
	json_t *words;
	bool readable;   /* by a compiler that is known: it can say what the unit reads */
	const char *why; /* it cannot be compiled so */
};

static bool kb_bad(const struct kb_entry *e, const char *what, const char *about)
{
	kb_error("%s: entry %zu%s%s: %s%s", e->path, e->index, e->file ? ", " : "", e->file ? e->file : "", what,
		 about);
	return false;
}

/*
 * Shell quoting, with " and \ as the only special characters; those who write single quotes mean the shell's. Nothing
 * is expanded, and no character ends the command.
 */
json_t *kb_compdb_words(const char *command, const char **why)
{
	char *word = kb_alloc(strlen(command) + 1), quote = 0;
	json_t *words = json_array();
	const char *p = command;

	*why = NULL;
	while (!*why) {
		size_t n = 0;

		while (isspace((unsigned char)*p))
			p++;
		if (!*p)
			break;
		for (; *p && (quote || !isspace((unsigned char)*p)); p++) {
			if (*p == '\\' && quote != '\'') {
				if (!p[1]) {
					*why = "a backslash at the end of the command";
					break;
				}
				/* Within quotes the shell takes it for itself but before these. */
				if (quote && p[1] != '"' && p[1] != '\\' && p[1] != '$' && p[1] != '`')
					word[n++] = *p;
				word[n++] = *++p;
			} else if (quote ? *p == quote : *p == '"' || *p == '\'') {
				quote = quote ? 0 : *p;
			} else {
				word[n++] = *p;
			}
		}
		if (quote)
			*why = "a quotation without an end in the command";
		else if (json_array_size(words) >= KB_MAX_ARGUMENTS)
			*why = "too many arguments";
		else
			json_array_append_new(words, json_stringn(word, n));
	}
	free(word);
	if (!*why && !json_array_size(words))
		*why = "an empty command";
	if (*why) {
		json_decref(words);
		return NULL;
	}
	return words;
}

static bool kb_read_string(struct kb_entry *e, const json_t *object, const char *key, const char **out)
{
	const json_t *value = json_object_get(object, key);

	*out = json_string_value(value);
	if (value && !*out)
		return kb_bad(e, "this is no string: ", key);
	if (*out && (!**out || strlen(*out) >= PATH_MAX))
		return kb_bad(e, "empty or too long: ", key);
	return true;
}

/* "arguments" if it is there: it needs no quoting. */
static bool kb_read_words(struct kb_entry *e, const json_t *object)
{
	const json_t *list = json_object_get(object, "arguments"), *command = json_object_get(object, "command"), *word;
	const char *why;
	size_t i;

	if (list) {
		if (!json_is_array(list) || !json_array_size(list) || json_array_size(list) > KB_MAX_ARGUMENTS)
			return kb_bad(e, "\"arguments\" is no list, empty or too long", "");
		json_array_foreach(list, i, word) if (!json_is_string(word)) return kb_bad(
		    e, "\"arguments\" has something that is no string", "");
		e->words = json_deep_copy(list);
		return true;
	}
	if (!json_is_string(command))
		return kb_bad(e, "neither \"arguments\" nor \"command\" says how it is compiled", "");
	e->words = kb_compdb_words(json_string_value(command), &why);
	return e->words || kb_bad(e, why, "");
}

static const char *kb_word(const json_t *words, size_t i)
{
	const char *s = json_string_value(json_array_get(words, i));

	return s ? s : "";
}

/* ccache and its like hand the command on. */
static bool kb_is_launcher(const char *base)
{
	return !strcmp(base, "ccache") || !strcmp(base, "sccache") || !strcmp(base, "distcc");
}

static bool kb_is_dependency_word(const char *a)
{
	return !strncmp(a, "-M", 2) || !strncmp(a, "-Wp,-M", 6);
}

/* The command without what it writes beside the object: that is only for who made the command. */
static json_t *kb_without_dependencies(const json_t *words, bool compile)
{
	json_t *out = json_array();

	for (size_t i = 0; i < json_array_size(words); i++) {
		const char *a = kb_word(words, i);
		size_t count = i && *a == '-' ? kb_option_words(a) : 1;
		bool drop = i && kb_is_dependency_word(a);

		if (i && !compile)
			drop = drop || !strcmp(a, "-c") || !strncmp(a, "-o", 2);
		for (size_t k = i; !drop && k < i + count && k < json_array_size(words); k++)
			json_array_append(out, json_array_get(words, k));
		i += count - 1;
	}
	return out;
}

static json_t *kb_with(json_t *words, const char *const *more)
{
	for (; *more; more++)
		json_array_append_new(words, json_string(*more));
	return words;
}

static void kb_understand_argument(struct kb_entry *e, const char *a)
{
	const char *part = !strncmp(a, "-Wp,-M", 6) ? strchr(a + 5, ',') : NULL;

	if (*a == '@' || (part && strchr(part + 1, ','))) {
		e->why = *a == '@' ? "its command has a response file (@)"
				   : "its command has -Wp, with more than dependencies";
		e->readable = false;
	}
}

/* What the words compile; *header: nothing that is linked. */
static void kb_understand(struct kb_entry *e, char **source, char **output, bool *header)
{
	size_t count = json_array_size(e->words);
	char **argv = kb_alloc((count + 1) * sizeof(*argv)), *made;
	struct kb_command c = {0};
	const char *base, *dot;

	*source = kb_canonical(e->directory, e->file);
	base = kb_base(*source);
	dot = strrchr(base, '.');
	made = kb_format("%.*s.o", (int)(dot ? dot - base : (long)strlen(base)), base);
	for (size_t i = 0; i < count; i++)
		argv[i] = kb_format("%s", kb_word(e->words, i));
	e->readable = kb_is_tool(kb_base(argv[0])) && !kb_is_linker(kb_base(argv[0]));
	if (!e->readable)
		e->why = "its command is no compiler that klp-build knows";
	for (size_t i = 0; i < count; i++)
		kb_understand_argument(e, argv[i]);
	if (!e->why) {
		kb_parse_command(&c, (int)count, argv, "/");
		*header = c.lang && kb_ends_with(c.lang, "-header");
		if (c.kind != KB_COMPILE || c.source_count != 1) {
			e->why = "its command does not compile one source to an object (-c)";
		} else {
			char *compiled = kb_canonical(e->directory, c.source[0]);

			if (strcmp(compiled, *source)) {
				e->why = "its command compiles another file";
				e->readable = false;
			}
			free(compiled);
		}
	}
	*output = kb_canonical(e->directory, c.output ? c.output : made);
	for (size_t i = 0; i < count; i++)
		free(argv[i]);
	free(argv);
	free(made);
	free(c.argv);
	free(c.source);
	free(c.input);
}

static bool kb_says_the_same(const json_t *a, const json_t *b)
{
	return json_equal(json_object_get(a, "argv"), json_object_get(b, "argv")) &&
	       json_equal(json_object_get(a, "directory"), json_object_get(b, "directory"));
}

/* Adds the entry unless it says what another one has said. */
static bool kb_add_entry(struct kb_entry *e, json_t *units, json_t *seen)
{
	static const char *const print[] = {"-M", "-MT", "unit", "-MF", NULL};
	static const char twice[] = "another entry makes the same object in another way";
	json_t *unit, *was, *last;
	char *source, *output, *key;
	bool header = false;

	while (json_array_size(e->words) > 1 && kb_is_launcher(kb_base(kb_word(e->words, 0))))
		json_array_remove(e->words, 0);
	kb_understand(e, &source, &output, &header);
	unit = json_pack("{s:I, s:s, s:s, s:s, s:o}", "entry", (json_int_t)e->index, "directory", e->directory,
			 "source", source, "output", output, "argv", kb_without_dependencies(e->words, true));
	if (!unit)
		kb_bad(e, "a path is not UTF-8", "");
	key = kb_format("%s\n%s", output, e->why ? source : "");
	was = json_object_get(seen, key);
	if (unit && !header) {
		if (e->readable)
			json_object_set_new(unit, "deps", kb_with(kb_without_dependencies(e->words, false), print));
		if (e->why)
			json_object_set_new(unit, "why", json_string(e->why));
		last = was;
		if (was && !kb_says_the_same(was, unit) && !e->why) {
			json_object_set_new(was, "why", json_string(twice));
			json_object_set_new(unit, "why", json_string(twice));
			last = NULL;
		}
		if (!last || !kb_says_the_same(last, unit)) {
			json_array_append(units, unit);
			json_object_set(seen, key, unit);
		}
	}
	header = header || unit;
	json_decref(unit);
	free(source);
	free(output);
	free(key);
	return header;
}

json_t *kb_compdb_read(const char *path)
{
	size_t size = 0, i;
	json_error_t error;
	char *text = kb_read(path, KB_MAX_DATABASE, &size);
	json_t *list = text ? json_loadb(text, size, JSON_REJECT_DUPLICATES, &error) : NULL, *object;
	json_t *units = json_array(), *seen = json_object();
	bool ok = false;

	if (!text)
		kb_error("%s cannot be read, or is longer than %u MiB", path, KB_MAX_DATABASE >> 20);
	else if (!list)
		kb_error("%s is no JSON: %s (line %d)", path, error.text, error.line);
	else if (!json_is_array(list) || !json_array_size(list) || json_array_size(list) > KB_MAX_ENTRIES)
		kb_error("%s is no compilation database: it has to be a list of 1 to %u entries", path, KB_MAX_ENTRIES);
	else
		ok = true;
	json_array_foreach(list, i, object)
	{
		struct kb_entry e = {.path = path, .index = i};

		if (!ok)
			break;
		ok = json_is_object(object) || kb_bad(&e, "no object", "");
		ok = ok && kb_read_string(&e, object, "file", &e.file) &&
		     kb_read_string(&e, object, "directory", &e.directory) &&
		     kb_read_string(&e, object, "output", &e.output);
		ok = ok && ((e.file && e.directory && *e.directory == '/') ||
			    kb_bad(&e, "\"file\" and an absolute \"directory\" are needed", ""));
		ok = ok && kb_read_words(&e, object) && kb_add_entry(&e, units, seen);
		json_decref(e.words);
	}
	if (ok && !json_array_size(units)) {
		kb_error("%s has no unit", path);
		ok = false;
	}
	free(text);
	json_decref(list);
	json_decref(seen);
	if (ok)
		return units;
	json_decref(units);
	return NULL;
}
