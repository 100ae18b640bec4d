/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects that the program has closed (dlclose) while a patch of them is loaded. With the object its sites went, so
 * nobody comes to the patch any more, also when the program has opened the same file again: its pages are the file's,
 * perhaps at the same addresses. Nothing is written where such a site was: somebody else's code may be there by now.
 */
#ifndef KLP_GONE_H
#define KLP_GONE_H

#include "klp/arming.h"

bool klp_patch_object_is_there(const struct klp_session *s, const struct klp_patch *p);
bool klp_site_is_gone(struct klp_session *s, const struct klp_armed_site *a);

/* -EEXIST with a sentence if a site of this patch (ENABLING to DISABLING) is gone: it is loaded and not in effect. */
int klp_patch_check_gone(struct klp_session *s, const struct klp_patch *p, struct klp_error *e);

#endif
