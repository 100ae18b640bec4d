/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KLP_OBJECTS_H
#define KLP_OBJECTS_H
#include "klp/process.h"
/* main_entry: AT_ENTRY of the auxiliary vector: the object that has it as its e_entry is the main executable. */
int klp_objects_read(struct klp_process *p, uint64_t main_entry, struct klp_error *e);
/* true: all mappings of files are as they were when `before` was read, so that the objects still hold; their paths are
 * set to those of the new list. */
bool klp_objects_keep(struct klp_process *p, const struct klp_process *before);
void klp_objects_free(struct klp_process *p);
#endif
