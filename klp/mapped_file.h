/* SPDX-License-Identifier: Apache-2.0 */
/* The file that a target has mapped as an object: never one that merely has its name. */
#ifndef KLP_MAPPED_FILE_H
#define KLP_MAPPED_FILE_H
#include "klp/session.h"
/* By a link of the kernel, and device and inode must agree. A descriptor, or -1. */
int klp_mapped_file_open(const struct klp_session *s, const struct klp_object *o);
/* The same, or else a file that has the object's build-id at its path: good enough for names, which nothing is decided
 * by. */
int klp_mapped_file_open_similar(const struct klp_session *s, const struct klp_object *o);
#endif
