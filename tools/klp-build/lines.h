/* SPDX-License-Identifier: Apache-2.0 */
/* Line numbers of unchanged code in a patched source file. */
#ifndef KLP_BUILD_LINES_H
#define KLP_BUILD_LINES_H

enum kb_numbering {
	KB_NUMBERS_KEPT,  /* new lines go on counting: they share numbers with lines below them */
	KB_NUMBERS_APART, /* new lines have numbers of their own, so that names made from __LINE__ do not collide */
};

/*
 * The text of the patched file with #line directives that give lines their numbers in the original; `differences` is
 * what diff says of the two. NULL: none is needed, or the file is not to be numbered (it has #line directives itself).
 * The caller frees.
 */
char *kb_keep_lines(const char *patched, const char *differences, enum kb_numbering form);

#endif
