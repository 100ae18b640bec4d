/* SPDX-License-Identifier: Apache-2.0 */
/* The text of the source lines that debug information names. */
#ifndef KLP_BUILD_SOURCE_TEXT_H
#define KLP_BUILD_SOURCE_TEXT_H

#include "klp-build.h"

/* The sources of one unit, before or after the diffs. It is to be ended by kb_source_text_end. */
struct kb_source_text {
	const struct kb_run *run;
	bool patched;
	const char
	    *lines; /* how a patched unit's lines are numbered: "kept" or "apart" (numbered.h), else as they stand */
	char *path, *text; /* the file that was read last */
};

/* kb_source_line of listing.h; ctx is a struct kb_source_text. A file outside the tree has no text. Several lines of a
 * patched file may have one number. */
char *kb_source_text_line(void *ctx, const char *path, unsigned long line);
void kb_source_text_end(struct kb_source_text *s);

#endif
