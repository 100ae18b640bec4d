/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recorder. It runs the compiler or linker with the command that it was given, unchanged but for three cases that
 * do not change code: clang is asked for its dependencies (gcc reads SUNPRO_DEPENDENCIES), a tree that is not where it
 * was when what runs was built needs -fmacro-prefix-map, and types stay in the unit that uses them, where kb_layouts()
 * looks. Only the driver's own last build of the patched tree, for the first use of another object's datum, adds an
 * option that does (KLP_BUILD_AGAIN).
 *
 * What was read is named by content (SHA-256), so it does not matter how objects move between compilation and link:
 * libtool, ar, cp, thin archives. Every object and linked file is copied at once, before anybody changes it.
 */
#include "klp-build.h"
#include "numbered.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KB_NO_TYPE_UNITS "-fno-debug-types-section"

struct kb_recorder {
	struct kb_command c;
	const char *log, *root;
	char cwd[PATH_MAX];
	char real[PATH_MAX];  /* the program to run */
	char named[PATH_MAX]; /* its own name: gcc finds its parts by argv[0] */
	char *stem;           /* log/TIME-PID */
	bool clang;
	const char *extra; /* an option that the driver wants for these sources, or NULL */
	bool other;        /* another compiler than the one that made the same unit of what runs */
	json_t *numbered;  /* kb_numbered_load */
	bool numbering;    /* the compiler reads these copies, in this form */
	enum kb_numbering form;
	const char *lines; /* "kept", "apart" or "plain": how the units were compiled */
	bool piped;        /* it preprocesses into a pipe */
	const char *why;   /* why the private objects of a command that compiles and links are not usable */
};

/* The real program: the argument if it is a path of its own, else the first of that name in the PATH that the user had.
 */
static bool kb_find_real(struct kb_recorder *w, const char *argv0)
{
	const char *path = getenv("KLP_BUILD_PATH"), *covered = getenv("KLP_BUILD_REAL"),
		   *wrap = getenv("KLP_BUILD_WRAP");
	char found[PATH_MAX], *real;
	struct stat self, st;
	bool have = false;

	if (strchr(argv0, '/') && !(wrap && kb_is_below(argv0, wrap))) {
		snprintf(found, sizeof(found), "%s", argv0);
		have = true;
	} else {
		for (const char *p = path ? path : ""; *p && !have; p += strspn(p, ":")) {
			size_t n = strcspn(p, ":");

			if ((size_t)snprintf(found, sizeof(found), "%.*s/%s", (int)n, p, kb_base(argv0)) <
			    sizeof(found))
				have = !access(found, X_OK);
			p += n;
		}
	}
	if (!have || stat("/proc/self/exe", &self))
		return false;
	snprintf(w->real, sizeof(w->real), "%s", found);
	snprintf(w->named, sizeof(w->named), "%s", found);
	real = realpath(found, NULL);
	w->clang = real && strstr(kb_base(real), "clang");
	if (!stat(found, &st) && st.st_dev == self.st_dev && st.st_ino == self.st_ino) {
		/* Its own path is covered by us: the uncovered file is below KLP_BUILD_REAL. */
		have = real && covered &&
		       (size_t)snprintf(w->real, sizeof(w->real), "%s%s", covered, real) < sizeof(w->real) &&
		       !access(w->real, X_OK);
	}
	free(real);
	return have;
}

/* Runs argv and returns the wait status. */
static int kb_run_real(const struct kb_recorder *w, char **argv, const char *deps, const char *out, const char *err)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return -1;
	if (!pid) {
		setenv("KLP_BUILD_NESTED", "1", 1);
		if (deps)
			setenv("SUNPRO_DEPENDENCIES", deps, 1);
		if (out)
			dup2(open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600), STDOUT_FILENO);
		if (err)
			dup2(open(err, O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
		if (w->numbering && !kb_numbered_mount(w->numbered, w->form))
			_exit(KB_NO_COPIES);
		argv[0] = (char *)(uintptr_t)w->named;
		execv(w->real, argv);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return status;
}

/* A copy of the command with one more word at the end. */
static char **kb_append(char **command, const char *word)
{
	size_t n = 0;
	char **out;

	while (command[n])
		n++;
	out = kb_alloc((n + 2) * sizeof(*out));
	memcpy(out, command, n * sizeof(*out));
	out[n] = kb_format("%s", word);
	return out;
}

static void kb_add_dependency(const struct kb_recorder *w, json_t *deps, const char *name)
{
	char *path = kb_canonical(w->cwd, name), sha[KB_SHA];

	if (kb_is_below(path, w->root) && !json_object_get(deps, path))
		json_object_set_new(deps, path, json_string(kb_digest_file(path, sha) ? sha : ""));
	free(path);
}

/* A make rule: target: prerequisites. NULL if there is none, and then nobody knows what was read. */
static json_t *kb_read_dependencies(const struct kb_recorder *w, const char *file)
{
	char *text = kb_read(file, KB_MAX_RECORD, NULL), *p, word[PATH_MAX];
	json_t *deps;
	bool target = true;

	if (!text)
		return NULL;
	deps = json_object();
	for (p = text; *p;) {
		size_t n = 0;

		for (;;) {
			if (*p == '\\' && (p[1] == '\n' || (p[1] == '\r' && p[2] == '\n')))
				p += 2;
			else if (*p == ' ' || *p == '\t' || *p == '\r')
				p++;
			else if (*p == '\n') {
				target = true;
				p++;
			} else
				break;
		}
		while (*p && *p != ' ' && *p != '\t' && *p != '\n' && *p != '\r' && n < sizeof(word) - 1) {
			if (*p == '\\' && p[1] == '\n')
				break;
			if ((*p == '\\' && (p[1] == ' ' || p[1] == '#' || p[1] == ':' || p[1] == '\\')) ||
			    (*p == '$' && p[1] == '$'))
				p++;
			word[n++] = *p++;
		}
		word[n] = 0;
		if (target) {
			/* "a.o b.o:" ends the targets; ":" may stand alone. */
			if (n && word[n - 1] == ':')
				target = false;
		} else if (n)
			kb_add_dependency(w, deps, word);
	}
	free(text);
	return deps;
}

/* What the assembler read beside what the compiler knows of: .incbin and .include, of inline assembly too. */
static char *kb_assembler_deps(const struct kb_recorder *w)
{
	return kb_format("%s.as", w->stem);
}

static char **kb_ask_assembler(const struct kb_recorder *w, char **command)
{
	char *file = kb_assembler_deps(w);

	if (!w->clang && w->c.kind == KB_COMPILE && w->c.source_count == 1) /* it writes one file */
		command =
		    kb_append(kb_append(kb_append(kb_append(command, "-Xassembler"), "--MD"), "-Xassembler"), file);
	free(file);
	return command;
}

static void kb_add_assembler_deps(const struct kb_recorder *w, json_t *deps)
{
	char *file = kb_assembler_deps(w);
	json_t *more = w->clang ? NULL : kb_read_dependencies(w, file);

	if (deps && more)
		json_object_update_missing(deps, more);
	json_decref(more);
	unlink(file);
	free(file);
}

json_t *kb_dependency_list(const char *cwd, const char *root, const char *file)
{
	struct kb_recorder *w = kb_alloc(sizeof(*w));
	json_t *deps;

	w->root = root;
	snprintf(w->cwd, sizeof(w->cwd), "%s", cwd);
	deps = kb_read_dependencies(w, file);
	free(w);
	return deps;
}

static json_t *kb_dependencies(const struct kb_recorder *w, const char *ours, const char *object)
{
	const struct kb_command *c = &w->c;
	json_t *deps = NULL;

	/* Each source's are written over those of the one before. (SUNPRO_DEPENDENCIES is appended to.) */
	if (c->source_count > 1 && (c->depends ? c->depfile != NULL : w->clang))
		return NULL;
	if (!c->depends) {
		deps = kb_read_dependencies(w, ours);
	} else if (!(c->depends_user && c->tree_isystem)) {
		/* -MMD leaves out -isystem directories, which could be the tree's own. */
		char *name = c->depfile ? kb_format("%s", c->depfile) : NULL;

		if (!name) {
			const char *dot = strrchr(object, '.'), *slash = strrchr(object, '/');

			if (!dot || (slash && dot < slash))
				dot = object + strlen(object);
			name = kb_format("%.*s.d", (int)(dot - object), object);
		}
		deps = kb_read_dependencies(w, name);
		free(name);
	}
	return deps;
}

/*
 * The compiler is compared as soon as it has compiled one unit that the running program has, too: the rest of a long
 * build would be in vain. The driver finds the reason beside the records, and the build command fails.
 */
static void kb_check_compiler(struct kb_recorder *w, const char *source, const char *object)
{
	const char *list = getenv("KLP_BUILD_COMPILERS"),
		   *unit = kb_is_below(source, w->root) ? source + strlen(w->root) + 1 : source;
	json_t *known = list ? json_load_file(list, 0, NULL) : NULL, *reason;
	const char *producer = kb_producer_find(known, unit);
	char *comment = producer ? kb_object_comment(object) : NULL, *path, *temporary;
	struct kb_compiler was, is;

	if (comment && kb_parse_compiler(producer, &was) && kb_parse_compiler(comment, &is) &&
	    !kb_same_compiler(&was, &is)) {
		w->other = true;
		path = kb_format("%s/other-compiler", w->log);
		temporary = kb_format("%s.compiler", w->stem);
		reason = json_pack("{s:o, s:s, s:s}", "file", json_stringn_nocheck(unit, strlen(unit)), "was", was.name,
				   "is", is.name);
		if (json_dump_file(reason, temporary, JSON_COMPACT) || rename(temporary, path))
			fprintf(stderr, "klp-build: %s cannot be written\n", path);
		fprintf(stderr, "klp-build: %s was compiled by %s, in the running program by %s\n", unit, is.name,
			was.name);
		json_decref(reason);
		free(path);
		free(temporary);
	}
	json_decref(known);
	free(comment);
}

/* Does the unit read a file of which there are copies with other line numbers? */
static bool kb_reads_numbered(const struct kb_recorder *w, const json_t *deps)
{
	const char *file;
	json_t *copy;

	json_object_foreach(w->numbered, file, copy) if (json_object_get(deps, file)) return true;
	return false;
}

static json_t *kb_object(struct kb_recorder *w, const char *source, const char *output, const char *kept,
			 const json_t *deps)
{
	char *from = kb_canonical(w->cwd, source), *to = kb_canonical(w->cwd, output), sha[KB_SHA];
	json_t *own = NULL, *o = NULL;

	if (w->c.kind != KB_TEXT)
		kb_check_compiler(w, from, kept);
	if (kb_digest_file(kept, sha)) {
		if (deps && strcmp(source, "-")) {
			own = json_deep_copy(deps);
			kb_add_dependency(w, own, source);
		}
		o = json_pack("{s:s, s:b, s:s, s:s, s:s, s:b, s:b, s:b, s:s*, s:b, s:o}", "source", from, "elsewhere",
			      !kb_is_below(from, w->root), "output", to, "kept", kept, "sha", sha, "text",
			      w->c.kind == KB_TEXT, "asm",
			      kb_is_assembly(source) || (w->c.lang && !strncmp(w->c.lang, "assembler", 9)), "lto",
			      w->c.lto, "lines", kb_reads_numbered(w, own) ? w->lines : NULL, "ipa_ra",
			      !w->clang && !w->c.patchable && !w->c.no_ipa_ra, "deps", own ? own : json_null());
	}
	free(from);
	free(to);
	return o;
}

static void kb_write_record(const struct kb_recorder *w, json_t *record)
{
	char *temporary = kb_format("%s.tmp", w->stem), *final = kb_format("%s.json", w->stem);

	if (!record || json_dump_file(record, temporary, JSON_COMPACT) || rename(temporary, final))
		fprintf(stderr, "klp-build: a compilation could not be recorded in %s\n", w->log);
	json_decref(record);
	free(temporary);
	free(final);
}

static json_t *kb_argv_json(const struct kb_command *c)
{
	json_t *a = json_array();

	for (size_t i = 0; i < c->argc; i++)
		json_array_append_new(a, json_stringn_nocheck(c->argv[i], strlen(c->argv[i])));
	return a;
}

static char *kb_default_output(const struct kb_command *c, const char *source)
{
	const char *base = kb_base(source), *dot = strrchr(base, '.');

	return kb_format("%.*s.%c", (int)(dot ? dot - base : (long)strlen(base)), base, c->kind == KB_TEXT ? 's' : 'o');
}

static bool kb_is_made(const struct kb_command *c, const char *output)
{
	struct stat st;

	return c->kind == KB_TEXT ? !stat(output, &st) && S_ISREG(st.st_mode) : kb_file_kind(output) == ET_REL;
}

static void kb_record_compile(struct kb_recorder *w, const char *ours)
{
	const struct kb_command *c = &w->c;
	json_t *objects = json_array();

	for (size_t i = 0; i < c->source_count; i++) {
		char *object = c->output ? kb_format("%s", c->output) : kb_default_output(c, c->source[i]);
		char *kept = kb_format("%s-%zu.o", w->stem, i);

		if (kb_is_made(c, object) && kb_copy(object, kept, 0600)) {
			json_t *deps = kb_dependencies(w, ours, object), *o;

			kb_add_assembler_deps(w, deps);
			o = kb_object(w, c->source[i], object, kept, deps);

			if (o)
				json_array_append_new(objects, o);
			json_decref(deps);
		}
		free(object);
		free(kept);
	}
	if (json_array_size(objects))
		kb_write_record(w, json_pack("{s:s, s:s, s:o, s:O}", "kind", "compile", "cwd", w->cwd, "argv",
					     kb_argv_json(c), "objects", objects));
	json_decref(objects);
}

/*
 * A command that compiles and links at once keeps no objects: each source is compiled once more, by the same options,
 * beside the build, and kb_check_private proves that these are the objects that were linked.
 */
static json_t *kb_compile_again(struct kb_recorder *w, const char *source, size_t index, const char *output)
{
	const struct kb_command *c = &w->c;
	char *kept = kb_format("%s-%zu.o", w->stem, index), *ours = kb_format("%s-%zu.d", w->stem, index);
	char **argv = kb_alloc((c->argc + 12) * sizeof(*argv));
	const char *maps[] = {getenv("KLP_BUILD_MAP"), getenv("KLP_BUILD_MACROS")};
	json_t *deps, *o = NULL;
	size_t n = 0;

	for (size_t i = 0; i < c->argc; i++) {
		const char *a = c->argv[i];
		size_t words = i ? kb_option_words(a) : 1;
		bool drop = false;

		if (i && !strncmp(a, "-o", 2))
			drop = true;
		else if (i && (!strncmp(a, "-M", 2) || !strncmp(a, "-Wp,-M", 6) || !strncmp(a, "-Wl,", 4) ||
			       !strncmp(a, "-l", 2)))
			drop = true;
		else if (i && (*a != '-' || !a[1]))
			drop = strcmp(a, source) != 0;
		for (size_t k = 0; k < words && i + k < c->argc; k++)
			if (!drop)
				argv[n++] = c->argv[i + k];
		i += words - 1;
	}
	for (size_t i = 0; i < 2; i++)
		if (maps[i])
			argv[n++] = kb_format("%s", maps[i]);
	if (w->extra)
		argv[n++] = kb_format("%s", w->extra);
	if (c->type_units)
		argv[n++] = kb_format(KB_NO_TYPE_UNITS);
	argv[n++] = kb_format("-c");
	argv[n++] = kb_format("-o");
	argv[n++] = kept;
	if (w->clang) {
		argv[n++] = kb_format("-MD");
		argv[n++] = kb_format("-MF");
		argv[n++] = ours;
		argv[n++] = kb_format("-Qunused-arguments");
	}
	if (!kb_run_real(w, argv, w->clang ? NULL : ours, "/dev/null", "/dev/null")) {
		deps = kb_read_dependencies(w, ours);
		o = kb_object(w, source, output, kept, deps);
		json_decref(deps);
	}
	free(argv);
	return o;
}

/*
 * The same link once more with the private objects instead of the sources must give the same program; else something
 * that depends on the way of compiling (a profile, temporary names) went into the code.
 */
static bool kb_check_private(struct kb_recorder *w, const char *linked)
{
	const struct kb_command *c = &w->c;
	char **argv = kb_alloc((c->argc + 3 * c->source_count + 8) * sizeof(*argv));
	char *again = kb_format("%s.again", w->stem);
	size_t n = 0, at = 0;
	bool same;

	for (size_t i = 0; i < c->argc; i++) {
		const char *a = c->argv[i];
		size_t words = i && *a == '-' ? kb_option_words(a) : 1;

		if (i && !strncmp(a, "-o", 2)) {
			i += words - 1;
			continue;
		}
		/* An object is no source, whatever -x says. */
		if (i && (!strcmp(a, "-x") || !strncmp(a, "-x", 2))) {
			i += words - 1;
			continue;
		}
		if (at < c->source_count && a == c->source[at]) {
			argv[n++] = kb_format("%s-%zu.o", w->stem, at++);
			continue;
		}
		for (size_t k = 0; k < words && i + k < c->argc; k++)
			argv[n++] = c->argv[i + k];
		i += words - 1;
	}
	argv[n++] = kb_format("-o");
	argv[n++] = again;
	same = !kb_run_real(w, argv, NULL, "/dev/null", "/dev/null") && kb_same_program(linked, again);
	unlink(again);
	free(again);
	free(argv);
	return same;
}

struct kb_members {
	json_t *inputs;
	const char *path;
};

static void kb_add_member(void *ctx, const char *name, const void *data, size_t size)
{
	struct kb_members *m = ctx;
	char sha[KB_SHA];

	if ((size < SELFMAG || memcmp(data, ELFMAG, SELFMAG)) && !kb_is_bitcode(data, size))
		return;
	kb_digest(data, size, sha);
	json_array_append_new(m->inputs, json_pack("{s:s, s:s, s:s}", "path", m->path, "member", name, "sha", sha));
}

static void kb_record_link(struct kb_recorder *w)
{
	const struct kb_command *c = &w->c;
	const char *output = c->output ? c->output : "a.out";
	char *kept = kb_format("%s.out", w->stem), *to = kb_canonical(w->cwd, output), sha[KB_SHA];
	json_t *inputs = json_array(), *objects = json_array();

	if (!kb_file_kind(output) || !kb_copy(output, kept, 0700) || !kb_digest_file(kept, sha))
		goto out;
	for (size_t i = 0; i < c->source_count && !w->why; i++) {
		json_t *o = strcmp(c->source[i], "-") ? kb_compile_again(w, c->source[i], i, output) : NULL;

		if (o)
			json_array_append_new(objects, o);
		else if (!strcmp(c->source[i], "-"))
			w->why = "it is compiled from standard input and linked by one command";
		else
			w->why = "it is compiled and linked by one command, and does not compile with -c in its place";
	}
	if (c->source_count && !w->why && !c->lto && !kb_check_private(w, kept))
		w->why = "it is compiled and linked by one command, and compiling it apart (-c) gives another program";
	for (size_t i = 0; i < c->source_count; i++) {
		const json_t *o = w->why ? NULL : json_array_get(objects, i);
		char *from = kb_canonical(w->cwd, c->source[i]);
		const char *digest = o ? json_string_value(json_object_get(o, "sha")) : "";

		json_array_append_new(inputs, json_pack("{s:s, s:s, s:s*}", "path", o ? to : from, "sha", digest, "why",
							o ? NULL : w->why));
		free(from);
	}
	if (w->why)
		json_array_clear(objects);
	for (size_t i = 0; i < c->input_count; i++) {
		char *path = kb_canonical(w->cwd, c->input[i]), digest[KB_SHA];
		struct kb_members m = {inputs, path};

		if (kb_is_below(path, w->root)) {
			if (kb_file_kind(path) == -1) {
				if (!kb_archive_each(path, kb_add_member, &m))
					json_array_append_new(inputs, json_pack("{s:s, s:s}", "path", path, "sha", ""));
			} else if (kb_digest_file(path, digest)) {
				json_array_append_new(inputs, json_pack("{s:s, s:s}", "path", path, "sha", digest));
			}
		}
		free(path);
	}
	kb_write_record(w, json_pack("{s:s, s:s, s:o, s:s, s:s, s:s, s:O, s:O}", "kind", "link", "cwd", w->cwd, "argv",
				     kb_argv_json(c), "output", to, "kept", kept, "sha", sha, "inputs", inputs,
				     "objects", objects));
out:
	json_decref(inputs);
	json_decref(objects);
	free(kept);
	free(to);
}

/*
 * What is preprocessed to standard output is of the file that this is, or goes through a pipe to somebody who makes a
 * source of it: then what it read is known, and not what became of it. false: nobody reads it.
 */
static bool kb_follow_stdout(struct kb_recorder *w)
{
	static char file[PATH_MAX];
	struct stat st;
	ssize_t n;

	if (fstat(STDOUT_FILENO, &st))
		return false;
	if (S_ISREG(st.st_mode)) {
		n = readlink("/proc/self/fd/1", file, sizeof(file) - 1);
		if (n > 0) {
			file[n] = 0;
			w->c.output = file;
		}
		return n > 0 && !access(file, F_OK);
	}
	w->piped = S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode);
	return w->piped;
}

/* A command of this text, in this directory: a pipe has no name. */
static char *kb_pipe_name(const struct kb_recorder *w)
{
	char *text = kb_format("%s", w->cwd), *longer, sha[KB_SHA];

	for (size_t i = 0; i < w->c.argc; i++) {
		longer = kb_format("%s\n%s", text, w->c.argv[i]);
		free(text);
		text = longer;
	}
	kb_digest(text, strlen(text), sha);
	free(text);
	return kb_format("pipe:%s", sha);
}

static void kb_record_piped(struct kb_recorder *w, const char *ours)
{
	json_t *deps = kb_dependencies(w, ours, "-"), *objects = json_array();
	char *name = kb_pipe_name(w);

	for (size_t i = 0; i < w->c.source_count; i++) {
		char *from = kb_canonical(w->cwd, w->c.source[i]);

		if (deps && strcmp(w->c.source[i], "-"))
			kb_add_dependency(w, deps, from);
		json_array_append_new(objects,
				      json_pack("{s:s, s:s, s:s, s:b, s:b, s:O}", "source", from, "output", name, "sha",
						"", "text", 1, "piped", 1, "deps", deps ? deps : json_null()));
		free(from);
	}
	kb_write_record(w, json_pack("{s:s, s:s, s:o, s:o}", "kind", "compile", "cwd", w->cwd, "argv",
				     kb_argv_json(&w->c), "objects", objects));
	json_decref(deps);
	free(name);
}

/* The option by which the driver wants these sources compiled, if any of them is on its list. */
static const char *kb_extra_option(const struct kb_recorder *w)
{
	const char *list = getenv("KLP_BUILD_AGAIN");
	json_t *wanted = list ? json_load_file(list, 0, NULL) : NULL;
	const char *option = NULL;

	for (size_t i = 0; wanted && i < w->c.source_count; i++) {
		char *path = kb_canonical(w->cwd, w->c.source[i]);
		const json_t *options = json_object_get(wanted, path);
		const char *name = json_string_value(json_object_get(options, w->clang ? "clang" : "gcc"));

		if (name)
			option = kb_format("%s", name);
		free(path);
	}
	json_decref(wanted);
	return option;
}

/* What the compiler said goes where it would have gone. */
static void kb_replay(const char *path, int fd)
{
	size_t size = 0;
	char *text = kb_read(path, KB_MAX_RECORD, &size);

	for (size_t done = 0; text && done < size;) {
		ssize_t n = write(fd, text + done, size - done);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
	free(text);
	unlink(path);
}

/*
 * Runs the command; if what it compiles was patched, with old line numbers for unchanged code, and if it does not
 * compile so (a name is made from __LINE__ twice, a macro's arguments are pedantic), with numbers apart for the new
 * lines, and at last as it is.
 */
static int kb_run_numbered(struct kb_recorder *w, char **command, const char *deps)
{
	static const enum kb_numbering forms[] = {KB_NUMBERS_KEPT, KB_NUMBERS_APART};
	char *out = kb_format("%s.stdout", w->stem), *err = kb_format("%s.stderr", w->stem);
	int status = -1;

	w->numbered = w->c.source_count ? kb_numbered_load() : NULL;
	/* What comes from standard input can be read only once. */
	for (size_t i = 0; i < w->c.source_count; i++)
		if (!strcmp(w->c.source[i], "-"))
			w->numbered = NULL;
	for (size_t i = 0; w->numbered && status && i < 2; i++) {
		w->numbering = true;
		w->form = forms[i];
		w->lines = forms[i] == KB_NUMBERS_KEPT ? "kept" : "apart";
		status = kb_run_real(w, command, deps, out, err);
	}
	if (status) {
		w->numbering = false;
		w->lines = "plain";
		status = kb_run_real(w, command, deps, NULL, NULL);
	} else {
		kb_replay(out, STDOUT_FILENO);
		kb_replay(err, STDERR_FILENO);
	}
	free(out);
	free(err);
	return status;
}

int kb_record_command(int argc, char **argv)
{
	struct kb_recorder *w = kb_alloc(sizeof(*w));
	const char *maps[] = {getenv("KLP_BUILD_MAP"), getenv("KLP_BUILD_MACROS")};
	char *ours = NULL, **command = argv;
	struct timespec now;
	int status;

	w->log = getenv("KLP_BUILD_LOG");
	w->root = getenv("KLP_BUILD_ROOT");
	if (!w->log || !w->root || !kb_find_real(w, argv[0])) {
		fprintf(stderr, "%s: the compiler or linker is not found\n", argv[0]);
		return 127;
	}
	if (getenv("KLP_BUILD_NESTED") || !getcwd(w->cwd, sizeof(w->cwd)))
		goto run;
	kb_parse_command(&w->c, argc, argv, w->root);
	for (size_t i = 0; i < 2; i++)
		if (maps[i] && !kb_is_linker(kb_base(argv[0])))
			command = kb_append(command, maps[i]);
	if (w->c.kind == KB_OTHER || (w->c.to_stdout && !kb_follow_stdout(w)))
		goto run;
	w->extra = kb_extra_option(w);
	if (w->extra)
		command = kb_append(command, w->extra);
	if (w->c.type_units)
		command = kb_append(command, KB_NO_TYPE_UNITS);
	clock_gettime(CLOCK_MONOTONIC, &now);
	w->stem = kb_format("%s/%012lld%09ld-%d", w->log, (long long)now.tv_sec, now.tv_nsec, (int)getpid());
	if (w->c.kind != KB_LINK) {
		ours = kb_format("%s.d", w->stem);
		if (w->clang && !w->c.depends)
			command = kb_append(kb_append(kb_append(command, "-MD"), "-MF"), ours);
		command = kb_ask_assembler(w, command);
	}
	status = kb_run_numbered(w, command, ours && !w->c.depends && !w->clang ? ours : NULL);
	if (!status && w->piped)
		kb_record_piped(w, ours);
	else if (!status && w->c.kind != KB_LINK)
		kb_record_compile(w, ours);
	else if (!status)
		kb_record_link(w);
	if (w->other)
		return 1;
	if (status >= 0 && WIFSIGNALED(status)) {
		signal(WTERMSIG(status), SIG_DFL);
		raise(WTERMSIG(status));
	}
	return status < 0 ? 127 : WEXITSTATUS(status);
run:
	command[0] = w->named;
	execv(w->real, command);
	perror(w->real);
	return 127;
}
