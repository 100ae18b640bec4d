/* SPDX-License-Identifier: Apache-2.0 */
/*
 * klp-build's driver: how the two trees are built and which objects are compared. It decides nothing about code,
 * objdiff does.
 *
 * Three kinds of process:
 *   supervisor  owns the work directory; kills the worker's process group and removes the directory however the run
 * ends worker      copies, builds, applies the diffs, calls objdiff, writes the reports recorder    this same program
 * under a compiler's or linker's name: runs the real one and writes down what it read and made
 *
 * The work directory:
 *   tree/   the working copy; both builds run in it, mounted over the source tree's own path where the kernel permits
 *   log/    one record (JSON) per compilation and link, and a copy of every object and linked file that was made
 *   place-N/ a working copy of a directory outside of the tree that a compilation database names
 *   wrap/   links to this program under the compilers' names, first in the build's PATH
 *   real/   where the recorder finds a compiler whose own path is covered
 */
#ifndef KLP_BUILD_H
#define KLP_BUILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>
#include <jansson.h>

#define KB_SHA 65                 /* SHA-256 in hex and its end */
#define KB_MAX_RECORD (64u << 20) /* bytes of one record */
#define KB_MAX_PASSES 5           /* builds of the patched tree until nothing is stale */
#define KB_MAX_NESTING 16         /* ld -r of ld -r, response files in response files */
#define KB_LOG_TAIL (16u << 10)   /* how much of a failed build's output is shown */

enum kb_exit { KB_BUILT = 0, KB_FAILED = 1, KB_USAGE = 2, KB_NO_CHANGE = 3, KB_REFUSED = 4 };

/* How a build sees the working copy. */
enum kb_place {
	KB_PLACE_ROOT, /* mounted over the source tree, as root */
	KB_PLACE_USER, /* the same in a user namespace */
	KB_PLACE_COPY, /* where it is; the recorder adds -ffile-prefix-map */
};

struct kb_options {
	const char *source, *build, *database, *output, *name, *description, *debug, *report, *explain, *keep;
	const char **target; /* within the tree */
	size_t target_count;
	const char **running; /* files that run: of one target one module each, of several targets one for each */
	size_t running_count;
	char **diffs;
	size_t diff_count;
	char **cc_dirs;
	size_t cc_dir_count;
	char **labels; /* what the patch is known by, beside the CVE numbers of the diffs */
	size_t label_count;
	int strip; /* -1: 1, then 0 */
	bool dry_run, verbose;
};

struct kb_run {
	const struct kb_options *o;
	char *source; /* canonical */
	char *work, *tree, *log, *wrap, *real;
	char *root;      /* the tree's path as the build sees it */
	char *self;      /* this program */
	char *path;      /* the build's PATH without wrap/ */
	char *compilers; /* kb_producers of what runs, for the recorder */
	char *built_at;  /* where the tree was when what runs was built, or NULL: here, or not known */
	char *numbered;  /* list of source files that the compiler reads with their old line numbers, or NULL */
	char *again;     /* list of sources to compile once more with another option, or NULL */
	enum kb_place place;
	json_t *notes, *labels;
	/* Of a compilation database. */
	json_t *places; /* {directory outside of the source tree: its working copy} */
	json_t *jobs;   /* what is run in place of the build command: [{directory, source, output, argv, deps?}] */
};

/* util.c: none of these returns on lack of memory. */
char *kb_format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void *kb_alloc(size_t size);
void kb_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* One short line if stderr is a terminal. */
void kb_progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* false: not readable. */
bool kb_digest_file(const char *path, char hex[KB_SHA]);
void kb_digest(const void *data, size_t size, char hex[KB_SHA]);
/* The whole file, terminated; NULL if it is not readable or longer than max. The caller frees. */
char *kb_read(const char *path, size_t max, size_t *size);
bool kb_copy(const char *from, const char *to, mode_t mode);
int kb_remove_tree(const char *path);
/* The canonical path of `path` seen from `cwd`; of one that does not exist: its directory's. The caller frees. */
char *kb_canonical(const char *cwd, const char *path);
bool kb_is_below(const char *path, const char *dir);
const char *kb_base(const char *path);
bool kb_ends_with(const char *s, const char *end);
/* What clang -flto makes in the place of an object. */
bool kb_is_bitcode(const void *data, size_t size);
/* ELF type (ET_REL…; of bitcode too), 0 if it is none; -1 for an archive. */
int kb_file_kind(const char *path);
/* Two linked files with the same bytes in every section that a process sees; notes (the build-id) do not count. */
bool kb_same_program(const char *a, const char *b);

/* archive.c: calls fn for every member; thin archives too. false: not an archive, or damaged. */
bool kb_archive_each(const char *path, void (*fn)(void *ctx, const char *name, const void *data, size_t size),
		     void *ctx);

/* compiler.c: what a command line means. Strings belong to the argv that was parsed. */
enum kb_kind {
	KB_OTHER,
	KB_COMPILE,
	KB_TEXT, /* -S or -E into a file: what it makes is compiled by another command */
	KB_LINK,
};
struct kb_command {
	enum kb_kind kind;
	char **argv; /* response files expanded; terminated */
	size_t argc;
	const char *output;  /* -o, or NULL */
	const char **source; /* in order */
	size_t source_count;
	const char **input; /* objects and archives of a link, as found */
	size_t input_count;
	const char *depfile; /* the command's own -MF or -Wp,-MD, */
	bool depends, depends_user, lto, tree_isystem;
	bool patchable, no_ipa_ra; /* kb_ipa_ra_option */
	bool type_units;           /* -fdebug-types-section: types stand in units of their own */
	bool to_stdout;            /* -E without a file of its own */
	const char *lang;          /* -x */
};
bool kb_is_tool(const char *base);
bool kb_is_linker(const char *base);
void kb_parse_command(struct kb_command *c, int argc, char **argv, const char *root);
bool kb_is_source(const char *arg);
bool kb_is_assembly(const char *arg);
/* By its name: what -S or -E can have made. */
bool kb_is_text(const char *arg);
/* The options of a compilation, as in argv: how many words does the one at argv[i] take? */
size_t kb_option_words(const char *arg);

/* wrap.c: the recorder; returns the exit status. */
int kb_record_command(int argc, char **argv);

/* What a make rule in the file names, as {path: digest} of what is below the root, for a compilation in cwd; NULL: it
 * is not readable. */
json_t *kb_dependency_list(const char *cwd, const char *root, const char *file);

/* jobs.c: runs r->jobs; in the place of the build command. The exit status. With "deps" the job's command prints
 * dependencies, which go to that file as kb_dependency_list; one that fails is no failure, and there is no file. */
int kb_run_jobs(const struct kb_run *r);

/* record.c: the records, as the driver reads them. */
struct kb_records {
	json_t *compiles; /* [{key, source, output, kept, sha, asm, lto, ipa_ra, lines, deps, seq}] in order of time */
	json_t *links;    /* [{output, kept, sha, inputs, seq}] */
	json_t *seen;     /* file name: true */
	long long seq;
};
void kb_records_load(struct kb_records *r, const char *log);
json_t *kb_record_latest(const struct kb_records *r, const char *key, long long before);
/* The last command that made this file of source for another command to compile (KB_TEXT), or NULL. */
json_t *kb_record_text(const struct kb_records *r, const char *path);
json_t *kb_link_find(const struct kb_records *r, const char *path, const char *sha, long long before);
/* Adds key: compile record to `units` for all that the link consists of; `missing`: [{file, path, why}], what is not
 * recorded. */
void kb_link_units(const struct kb_records *r, const json_t *link, long long before, const char *root, json_t *units,
		   json_t *missing);

/* build.c */
bool kb_prepare(struct kb_run *r); /* copy, wrap, place; says what failed */
/* Precompiled headers of the working copy go: the compiler would take one that the build does not make anew, whatever
 * has changed since. */
void kb_drop_precompiled(const struct kb_run *r);
/* 0, or says what failed; nothing is said if the recorder stopped it, see kb_other_compiler. */
int kb_build(struct kb_run *r, const char *what);
/* What the recorder says of the first unit that another compiler made than the one of what runs; NULL: of none. */
json_t *kb_other_compiler(const struct kb_run *r);
/* Gives this process a mount namespace of its own; `user`: in a user namespace of its own. false: not permitted. */
bool kb_private_mounts(bool user);
char *kb_tree_path(const struct kb_run *r, const char *path); /* a path of the build, as the worker sees it */
int kb_run_quiet(char *const argv[], const char *log);        /* exit status or -1 */

/* debugfile.c: the debug file of `running` under `where` (a file or a directory, or NULL: the system's); NULL if none.
 */
char *kb_debug_file(const char *running, const char *where);
/* The file that dwz has moved a part of a file's debug information to (.gnu_debugaltlink); NULL if there is none, or
 * not that one, which is said. The caller frees. */
char *kb_debug_alt(const char *path);
bool kb_build_id(const char *path, char hex[130], char link[256]);

/* producer.c */
struct kb_compiler {
	const char *family; /* "gcc" or "clang" */
	unsigned long major;
	char name[64]; /* for messages: "gcc 12.2.0" */
};
/* What a DW_AT_producer or a .comment says; false: neither gcc nor clang (an assembler). */
bool kb_parse_compiler(const char *producer, struct kb_compiler *c);
/* The same family and the same major version: what the code is like beyond that, the comparison of the code tells. */
bool kb_same_compiler(const struct kb_compiler *a, const struct kb_compiler *b);
/* [{path, producer}] of the units that a file's debug information describes. */
json_t *kb_producers(const char *path);
/* The producer of the source that is called `unit` within its tree, NULL: not known. */
const char *kb_producer_find(const json_t *producers, const char *unit);
/* Where the tree was that they were compiled in, as most of them say, if that is not `source`; else NULL. The caller
 * frees.
 */
char *kb_built_at(const json_t *producers, const char *source);
/* The first string of .comment, or NULL. The caller frees. */
char *kb_object_comment(const char *path);
/* Does an option of a command line keep gcc's -fipa-ra on? It starts with both false. */
void kb_ipa_ra_option(const char *word, size_t length, bool *patchable, bool *off);
/* The options in a producer are known, and callers may rely on the registers that functions of the unit leave alone. */
bool kb_producer_ipa_ra(const char *producer);

/* layout.c: the named types of an object; NULL if it has no debug information. */
json_t *kb_layouts(const char *path);
/* Calls fn for every type that both have with another layout. */
void kb_layout_differences(const json_t *original, const json_t *patched,
			   void (*fn)(void *ctx, const char *type, const char *reason), void *ctx);

/* labels.c: [string], UTF-8. */
json_t *kb_labels(const struct kb_options *o);

/* drive.c */
int kb_drive(struct kb_run *r);

/* report.c */
/* A clone (.constprop.0, .cold) is meant by its function's name, too. */
bool kb_is_named(const char *symbol, const char *name);
/* Does any list of differences have the name? */
bool kb_report_has(const json_t *report, const char *name);
void kb_report_print(const json_t *report, const char *explain);
bool kb_report_write(const json_t *report, const char *path);

/* report-html.c */
void kb_report_html(FILE *f, const json_t *report);

#endif
