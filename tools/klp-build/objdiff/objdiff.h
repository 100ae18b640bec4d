/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The object half of klp-build: compares the rebuilt objects of the original and the patched tree, decides about every
 * difference (invariant B1), checks that the rebuilt original is what runs (invariant B2), and writes the module.
 *
 * Every file is read only; nothing but `output` is written. All of them are hostile input.
 */
#ifndef KLP_OBJDIFF_H
#define KLP_OBJDIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <jansson.h>
#include "klp/include/klp/error.h"

/* One compilation unit that is linked into the target. A unit that exists in one tree only has NULL for the other. */
struct klp_unit {
	const char *name;       /* for messages: the source file, relative to the tree */
	const char *original_o; /* rebuilt from the original tree */
	const char *patched_o;  /* rebuilt from the patched tree */
	bool assembly;          /* assembled from .s or .S: a change in it is refused */
};

struct klp_objdiff_input {
	const struct klp_unit *units;
	size_t unit_count;
	/* The linked rebuilt original and patched program, unstripped. Both NULL: nothing was linked, and the units are
	 * only those of the program that can differ; their objects are compared with `running` themselves. */
	const char *original_linked, *patched_linked;
	const char *running;                  /* the shipped file, possibly stripped and with another build-id */
	const char *debug;                    /* its debug file, or NULL */
	const char *patch_name, *description; /* description may be NULL */
	const json_t *labels;                 /* strings for the metadata, or NULL */
	const json_t *statements;             /* the author's (<klp/patch.h>): [{kind, name, file, why}], or NULL */
	bool dry_run;                         /* decide everything, write nothing */
	const char *output;
};

enum klp_objdiff_result {
	KLP_OBJDIFF_BUILT = 0,
	KLP_OBJDIFF_FAILED = 1,    /* *e says why */
	KLP_OBJDIFF_NO_CHANGE = 3, /* no functional change */
	KLP_OBJDIFF_REFUSED = 4,   /* report["refused"] says why */
};

/*
 * Returns one of enum klp_objdiff_result. *report is a new reference that the caller owns (NULL only after FAILED):
 *   changed, new, removed: [{symbol, file, reason, size}]   functions; a changed one: original (its name there),
 * original_size
 *
 *   data: [{symbol, file, action, reason}]   action: new, cloned, changed (the module does not have it)
 *
 *   refused: [{symbol, section, file, reason, advice}]; of a function that runs otherwise than it was rebuilt: code
 * {rebuilt, running}, each [address, size], in original_linked and in running
 *
 *   accepted: [{symbol, file, reason}]   what would be refused, but for a statement of the author
 *
 *   notes: [string]
 *
 *   again: [{symbol, file, gcc, clang}]   the unit refers to something that the running file does not have; compiled
 * once more with this option it may do without (slots for another object's data, instructions for a library's function)
 *
 *   metadata: the module's metadata, if it was built (or would have been)
 */
int klp_objdiff_run(const struct klp_objdiff_input *input, json_t **report, struct klp_error *e);

/*
 * Makes one module of several, each for one object and written by klp_objdiff_run for the same patch. *report has
 * `metadata` and `refused`. KLP_OBJDIFF_REFUSED: two of them have a state of the same number.
 */
int klp_objdiff_merge(const char *const *module, size_t count, const char *output, json_t **report,
		      struct klp_error *e);

/*
 * Is what the running file has of the names in the object what the object has? 0, or how many functions are not. For
 * one of several objects that the same source was compiled to. -1: *e says why it cannot be told.
 */
int klp_objdiff_misfits(const char *object, const char *running, const char *debug, struct klp_error *e);

/* Compares two objects only: changed, new, removed, data, refused and notes. Same results (0: they differ). */
int klp_objdiff_compare(const char *original_o, const char *patched_o, json_t **report, struct klp_error *e);

#endif
