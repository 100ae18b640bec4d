/* SPDX-License-Identifier: Apache-2.0 */
/* A function's instructions and source lines, for those who review a patch. objdump disassembles. */
#ifndef KLP_BUILD_LISTING_H
#define KLP_BUILD_LISTING_H

#include <stdint.h>
#include <jansson.h>

#define KB_LISTING_LINES 20000u /* of one function; what is longer is cut, and says so */

/* Text of line `line` of the source file that debug information calls `path`; NULL: not known. The caller frees. */
typedef char *kb_source_line(void *ctx, const char *path, unsigned long line);

/*
 * [{at, code} | {source, text}] of a symbol of an object or a linked file: an instruction with its offset in the
 * function, and what is relocated in it; or the line from which the following ones are. NULL: no disassembler for this
 * machine, or no such symbol. A new reference.
 */
json_t *kb_listing(const char *file, const char *symbol, const char *log, kb_source_line *line, void *ctx);
/* The same of the code at [address, address + size) of a linked file, without the text of source lines. */
json_t *kb_listing_range(const char *file, const char *symbol, uint64_t address, uint64_t size, const char *log);

/*
 * Two listings line by line: [[left, right, same]], each the position in its listing or null. Instructions that differ
 * only in where their target lies are the same.
 */
json_t *kb_side_by_side(const json_t *left, const json_t *right);

#endif
