/* SPDX-License-Identifier: Apache-2.0 */
/* The copies of patched source files in which unchanged lines have their old numbers, see lines.c. */
#ifndef KLP_BUILD_NUMBERED_H
#define KLP_BUILD_NUMBERED_H

#include "klp-build.h"
#include "lines.h"

#define KB_NO_COPIES 126 /* exit status of a compiler that was not started: the copies could not be put in place */

/* The driver: makes the copies of the files that the diffs change, and their list for the recorder. `touched`: paths
 * within the tree. Without private mounts there are none. */
void kb_number_files(struct kb_run *r, const json_t *touched);

/* The text of one copy, NULL if none is needed. false: a file cannot be read, or compared; it has been said. */
bool kb_number_text(const char *original, const char *patched, enum kb_numbering form, char **text);

/* The recorder: the list, without the files that are others by now; NULL if there is none. */
json_t *kb_numbered_load(void);
/* In the compiler's process: puts the copies of this form in the place of the files. */
bool kb_numbered_mount(const json_t *list, enum kb_numbering form);

#endif
