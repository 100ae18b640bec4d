/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/states.h"

#include <errno.h>
#include <string.h>

static const struct klp_module_state *klp_state_find(const struct klp_module *m, uint32_t id)
{
	for (size_t i = 0; i < m->state_count; i++)
		if (m->state[i].id == id)
			return &m->state[i];
	return NULL;
}

int klp_states_check(const struct klp_session *s, const struct klp_module *m, struct klp_error *e)
{
	for (size_t i = 0; i < s->patch_count; i++) {
		const struct klp_patch *p = &s->patch[i];

		if (!klp_patch_stack_order(s, p))
			continue;
		for (size_t k = 0; k < p->meta.state_count; k++) {
			const struct klp_module_state *old = &p->meta.state[k], *new = klp_state_find(m, old->id);

			if (!new && s->opt.replace)
				return klp_fail(e, EINVAL, KLP_STATE,
						"patch '%s' would replace '%s' without its state %u (version %u)",
						m->name, p->rec.name, old->id, old->version);
			if (new &&new->version < old->version)
				return klp_fail(e, EINVAL, KLP_STATE,
						"patch '%s' knows state %u in version %u, the installed patch '%s' in "
						"version %u",
						m->name, old->id, new->version, p->rec.name, old->version);
		}
	}
	return 0;
}

/* Versions never go down in the stack, so the latest is the highest patch's. */
void klp_states_fill(const struct klp_session *s, const struct klp_module *m, struct klp_linked *l)
{
	const struct klp_segment *data = &l->seg[KLP_SEG_DATA];

	for (size_t i = 0; i < m->state_count && i < l->state_count; i++) {
		uint32_t previous = 0;

		for (size_t k = 0; k < s->patch_count; k++) {
			const struct klp_patch *p = &s->patch[k];
			const struct klp_module_state *old =
			    klp_patch_stack_order(s, p) ? klp_state_find(&p->meta, m->state[i].id) : NULL;

			if (old && old->version > previous)
				previous = old->version;
		}
		if (data->size >= KLP_STATE_RECORD_SIZE && l->state[i] <= data->size - KLP_STATE_RECORD_SIZE)
			memcpy(data->bytes + l->state[i] + KLP_STATE_RECORD_PREVIOUS, &previous, sizeof(previous));
	}
}

json_t *klp_states_json(const struct klp_module *m)
{
	json_t *list = json_array();

	for (size_t i = 0; i < m->state_count; i++)
		json_array_append_new(list, json_pack("{s:I, s:I}", "id", (json_int_t)m->state[i].id, "version",
						      (json_int_t)m->state[i].version));
	return list;
}
