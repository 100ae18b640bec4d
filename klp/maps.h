/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KLP_MAPS_H
#define KLP_MAPS_H
#include <stdio.h>

#include "klp/process.h"
int klp_maps_read(struct klp_process *p, struct klp_error *e);
/* The same from an open listing. Sorted and without overlap in the end; the process owns it, also after an error. */
int klp_maps_parse(struct klp_process *p, FILE *f, struct klp_error *e);
void klp_maps_free(struct klp_process *p);
#endif
