/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing the module (docs/module-format.md). Local symbols may have equal names; a function that replaces another and
 * shares its name with one of another unit is called NAME@UNIT, so that `replacement` is unique.
 */
#ifndef KLP_OBJDIFF_MODULE_H
#define KLP_OBJDIFF_MODULE_H

#include "klp/module_elf.h"
#include "tools/klp-build/objdiff/resolve.h"

/* Lays out what is included, resolves its references (may refuse) and makes the file's bytes. escapes: names are added.
 */
int om_build(struct rs *r, json_t *escapes, json_t *meta, uint8_t **image, size_t *len, struct klp_error *e);
/* Modules for one object each, as one file: the sections of all but the first are named after their number. The
 * symbols of part i begin at symbol_base[i] of the metadata's. */
int om_merge(struct od_pool *pool, const struct klp_elf *part, const size_t *symbol_base, size_t count, json_t *meta,
	     uint8_t **image, size_t *len, struct klp_error *e);
int om_write(const char *path, const uint8_t *image, size_t len, struct klp_error *e);
const char *om_function_name(struct od *d, struct od_sec *s);
#endif
