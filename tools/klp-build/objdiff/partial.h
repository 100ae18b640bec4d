/* SPDX-License-Identifier: Apache-2.0 */
/* What a linked rebuild would say, where nothing was linked and only some of the program's units are known. */
#ifndef KLP_OBJDIFF_PARTIAL_H
#define KLP_OBJDIFF_PARTIAL_H

#include "patchsite/patchsite.h"
#include "tools/klp-build/objdiff/resolve.h"

/* The running file's symbols have the unit, so that a function without a symbol was left out by its link. */
bool rp_knows_unit(struct rs *r, struct od_obj *o);
/* What neither the units nor the running file define is of a library (od_sym.outside). */
void rp_find_outside(struct rs *r);
/* Refuses what the patched link would export anew or no longer, or bind otherwise, as far as it can be told; and what
 * cannot. */
void rp_check_exports(struct rs *r);
/* Refuses changed constants that units may refer to which are not known. */
void rp_check_constants(struct rs *r);
/* The patch site of a function of the running file, as klp_site_list_file says it: its symbols may be in a debug file.
 */
const struct klp_site_list_entry *rp_site(const struct rs *r, const struct lk_sym *y, struct klp_site_list_entry *out);

#endif
