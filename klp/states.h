/* SPDX-License-Identifier: Apache-2.0 */
/*
 * States: what patches change in the program's data, by a number that all versions of a patch agree upon (the kernel's
 * Documentation/livepatch/system-state.rst). Private to klp/.
 */
#ifndef KLP_STATES_H
#define KLP_STATES_H

#include "klp/link.h"
#include "klp/session.h"

/* -EINVAL/KLP_STATE if the module cannot take over from what is installed (klp_is_state_compatible of the kernel). */
int klp_states_check(const struct klp_session *s, const struct klp_module *m, struct klp_error *e);
/* Tells the linked module what the installed patches know of its states: klp_state_prev_version(), klp_state_data(). */
int klp_states_fill(const struct klp_session *s, const struct klp_module *m, struct klp_linked *l, struct klp_error *e);
/* [{"id", "version"}] */
json_t *klp_states_json(const struct klp_module *m);

#endif
