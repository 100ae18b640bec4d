/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KLP_MAPS_H
#define KLP_MAPS_H
#include "klp/process.h"
int klp_maps_read(struct klp_process *p, struct klp_error *e);
void klp_maps_free(struct klp_process *p);
#endif
