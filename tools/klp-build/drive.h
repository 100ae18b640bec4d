/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a run, for the parts of the driver. */
#ifndef KLP_BUILD_DRIVE_H
#define KLP_BUILD_DRIVE_H

#include "klp-build.h"

struct kb_drive {
	struct kb_run *run;
	struct kb_records records;
	long long original_seq; /* the last record of the original build */
	json_t *report;
	json_t *facts; /* report.build */
	const json_t *original_link, *patched_link;
	json_t *original_units, *patched_units;
	json_t *added;      /* base names of files that the diffs create */
	json_t *touched;    /* paths within the tree of files that they change */
	json_t *before;     /* files of the tree before the diffs */
	json_t *statements; /* [{kind, name, file, why}] of the patched units; why: the symbol of a callback or state */
	char *shipped;      /* what runs, NULL: the rebuilt original; of several the one that is looked at */
	json_t *running;    /* kb_producers of it, or of its debug file */
};

/* drive.c */
const char *kb_str(const json_t *o, const char *key); /* "" if there is none */
const char *kb_relative(const struct kb_drive *d, const char *path);
void kb_refuse(struct kb_drive *d, const char *symbol, const char *file, const char *reason, const char *advice);

/* statement.c */
/* false: refused, because they are damaged or give no reason. */
bool kb_find_statements(struct kb_drive *d);
/* The statement of that kind about the name, or NULL. */
const json_t *kb_statement_about(const struct kb_drive *d, const char *kind, const char *name);
/* Puts into the report what a statement accepted. */
void kb_accept(struct kb_drive *d, const char *symbol, const char *file, const char *reason);
/* A note for each statement of that kind that accepted nothing. */
void kb_note_statements(struct kb_drive *d, const char *kind);

/* callbacks.c */
/* Is it a kind of statement that names a callback? */
bool kb_is_callback(const char *kind);
/* Refuses what a patch can have only once. */
void kb_check_callbacks(struct kb_drive *d);

/* concern.c */
/* true if no type has another layout, in any way that concerns the module; `found` is what the comparison said. */
bool kb_check_layouts(struct kb_drive *d, const json_t *found);

/* running.c */
/* Finds what runs, the index-th of several, and what its debug information says of its compilers. The first before
 * anything is built. */
void kb_read_producers(struct kb_drive *d, size_t index);
/* The result of a build that ended badly: KB_REFUSED if the recorder stopped it because of the compiler. */
int kb_build_ended(struct kb_drive *d);
/* Refuses units of the original build that another compiler made than the one of what runs. */
bool kb_check_compilers(struct kb_drive *d);
/* Refuses changed functions whose callers may rely on registers that they leave alone (hazard H6). */
bool kb_check_ipa_ra(struct kb_drive *d, const json_t *found);

#endif
