/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a run, for the parts of the driver. */
#ifndef KLP_BUILD_DRIVE_H
#define KLP_BUILD_DRIVE_H

#include "klp-build.h"

/* One of the linked files that the build makes and the patch is for. */
struct kb_target {
	const char *name;         /* its path within the tree */
	const char *running_file; /* --running, or NULL; of a single target there may be several */
	const json_t *original_link, *patched_link;
	json_t *original_units, *patched_units;
	json_t *statements; /* [{kind, name, file, why}] of the patched units; why: the symbol of a callback or state */
	char *shipped;      /* what runs, NULL: the rebuilt original; of several the one that is looked at */
	json_t *running;    /* kb_producers of it, or of its debug file */
	json_t *found;      /* what the comparison said */
};

struct kb_drive {
	struct kb_run *run;
	struct kb_target *target, *t; /* all, and the one that is looked at */
	size_t target_count;
	struct kb_records records;
	long long original_seq; /* the last record of the original build */
	json_t *report;
	json_t *facts;   /* report.build */
	json_t *added;   /* base names of files that the diffs create */
	json_t *touched; /* paths within the tree of files that they change */
	json_t *aside;   /* files that kb_set_text_aside renamed */
	json_t *before;  /* files of the tree before the diffs */
	json_t *listed;  /* the units of the compilation database (compdb.h), or NULL */
};

/* drive.c */
const char *kb_str(const json_t *o, const char *key); /* "" if there is none */
const char *kb_relative(const struct kb_drive *d, const char *path);
void kb_refuse(struct kb_drive *d, const char *symbol, const char *file, const char *reason, const char *advice);

/* Adds name: binding of an object's or linked file's own functions and data (no hidden ones of the latter). */
void kb_add_symbols(const char *path, json_t *names);

/* Puts the paths of files that the diff changes into d->touched, of those that it creates into d->added. */
void kb_note_touched(struct kb_drive *d, const char *diff);
/* Applies a diff to the working copy, or says why not. */
bool kb_apply(struct kb_run *r, const char *diff);
/* Has something that the unit was made of another content now? */
bool kb_is_stale(const struct kb_drive *d, const json_t *unit, json_t *cache);
/* Compares the units of all targets and makes the module. */
int kb_conclude(struct kb_drive *d);

/* listed.c: the units come from a compilation database, and nothing is linked */
/* Reads it, and which directories it needs beside the tree; before kb_prepare. false: why not has been said. */
bool kb_read_database(struct kb_drive *d);
int kb_build_listed(struct kb_drive *d);

/* membership.c */
/* Does a running file have a unit of this name, by what it says itself? */
bool kb_runs(struct kb_drive *d, const char *source);
/* Refuses units of the target that is looked at, from these trees, that the database does not have: one that is not
 * known could read what the diffs touch. */
bool kb_check_coverage(struct kb_drive *d);
/* Puts the touched units where they belong; refuses those of which it cannot be told, or that change and are nobody's.
 */
bool kb_share_out(struct kb_drive *d, json_t *original, json_t *patched);

/* explain.c: what there is to say of a name beside the differences, as "explained" of the report: [{file, reason}]. */
void kb_explain(struct kb_drive *d, const char *name);

/* statement.c */
/* false: refused, because they are damaged or give no reason. */
bool kb_find_statements(struct kb_drive *d);
/* The statement of that kind about the name, or NULL. */
const json_t *kb_statement_about(const struct kb_drive *d, const char *kind, const char *name);
/* Puts into the report what a statement accepted. */
void kb_accept(struct kb_drive *d, const char *symbol, const char *file, const char *reason);
/* A note for each statement of that kind that accepted nothing. */
void kb_note_statements(struct kb_drive *d, const char *kind);

/* review.c */
/* Adds to what the comparison of the target that is looked at found, "listing": {original, patched} of functions, each
 * as of listing.h; of what is refused because it runs otherwise than it was rebuilt: original is what runs, patched the
 * rebuild. */
void kb_review(struct kb_drive *d, json_t *found, const char *rebuilt, const char *running);
/* inlined.c: [{function, file, into: [{function, file, in_module}]}] of the target that is looked at: what the diffs
 * change and the compiler inlined in the original, and where. `changed`: the comparison's. A new reference. */
json_t *kb_inlined(struct kb_drive *d, const json_t *changed);
/* {file, text, rodata, data}: bytes of a module. */
json_t *kb_module_size(const char *path);

/* callbacks.c */
/* Is it a kind of statement that names a callback? */
bool kb_is_callback(const char *kind);
/* Refuses what a patch can have only once. */
void kb_check_callbacks(struct kb_drive *d);

/* concern.c */
/* true if no type of any target has another layout, in any way that concerns the module. The targets have been
 * compared. */
bool kb_check_layouts(struct kb_drive *d);

/* running.c */
/* Which file of --running is which target's. false: it cannot be said, and why not has been. */
bool kb_match_running(struct kb_drive *d);
/* Finds what runs, of a single target the index-th of several, and what its debug information says of its compilers. */
void kb_read_producers(struct kb_drive *d, size_t index);
/* The same of all targets, before anything is built. */
void kb_read_all_producers(struct kb_drive *d);
/* The result of a build that ended badly: KB_REFUSED if the recorder stopped it because of the compiler. */
int kb_build_ended(struct kb_drive *d);
/* Refuses units of the original build that another compiler made than the one of what runs. */
bool kb_check_compilers(struct kb_drive *d);
/* Refuses changed functions whose callers may rely on registers that they leave alone (hazard H6). */
bool kb_check_ipa_ra(struct kb_drive *d);

#endif
