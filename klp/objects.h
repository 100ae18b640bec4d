/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KLP_OBJECTS_H
#define KLP_OBJECTS_H
#include "klp/process.h"
/* main_entry: AT_ENTRY of the auxiliary vector: the object that has it as its e_entry is the main executable. */
int klp_objects_read(struct klp_process *p, uint64_t main_entry, struct klp_error *e);
void klp_objects_free(struct klp_process *p);
#endif
