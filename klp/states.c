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

/* The record's data in the target, which is hostile. It lies in the part of one of the patch's objects. */
static int klp_state_read(const struct klp_session *s, const struct klp_patch *p, size_t index, uint64_t *data,
			  struct klp_error *e)
{
	const unsigned id = p->meta.state[index].id; /* the part that has the data need not have the metadata */
	uint8_t record[KLP_STATE_RECORD_SIZE];
	uint64_t addr = 0;
	int rc = 0;

	for (size_t i = 0; i < s->patch_count && !addr && !rc; i++) {
		const struct klp_rt_patch *rec = &s->patch[i].rec;

		if (!klp_patch_same(&s->patch[i], p))
			continue;
		p = &s->patch[i];
		rc = klp_process_read(&s->p,
				      rec->functions + rec->function_count * 16 + (KLP_CALLBACK_KINDS + index) * 8,
				      &addr, sizeof(addr), e);
	}
	if (!rc && (addr < p->rec.base || addr - p->rec.base >= p->rec.len))
		rc = klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "state %u of patch '%s' in the target is not in its data",
			      id, p->rec.name);
	if (!rc)
		rc = klp_process_read(&s->p, addr, record, sizeof(record), e);
	if (!rc)
		memcpy(data, record + KLP_STATE_RECORD_DATA, sizeof(*data));
	return rc;
}

int klp_states_fill(const struct klp_session *s, const struct klp_module *m, struct klp_linked *l, struct klp_error *e)
{
	const struct klp_segment *segment = &l->seg[KLP_SEG_DATA];

	for (size_t i = 0; i < m->state_count && i < l->state_count; i++) {
		const struct klp_patch *last = NULL; /* the highest in the stack */
		const struct klp_module_state *known = NULL;
		uint64_t data = 0;

		if (l->state[i] == KLP_LINK_NO_STATE)
			continue;
		for (size_t k = 0; k < s->patch_count; k++) {
			const struct klp_patch *p = &s->patch[k];
			const struct klp_module_state *old =
			    klp_patch_stack_order(s, p) ? klp_state_find(&p->meta, m->state[i].id) : NULL;

			if (old && (!last || p->rec.order > last->rec.order)) {
				last = p;
				known = old;
			}
		}
		if (segment->size < KLP_STATE_RECORD_SIZE || l->state[i] > segment->size - KLP_STATE_RECORD_SIZE)
			return klp_fail(e, EINVAL, KLP_BAD_MODULE, "state %u is not in the module's data",
					m->state[i].id);
		if (!last)
			continue;
		if (klp_state_read(s, last, (size_t)(known - last->meta.state), &data, e))
			return -e->err;
		memcpy(segment->bytes + l->state[i] + KLP_STATE_RECORD_PREVIOUS, &known->version,
		       sizeof(known->version));
		memcpy(segment->bytes + l->state[i] + KLP_STATE_RECORD_DATA, &data, sizeof(data));
	}
	return 0;
}

json_t *klp_states_json(const struct klp_module *m)
{
	json_t *list = json_array();

	for (size_t i = 0; i < m->state_count; i++)
		json_array_append_new(list, json_pack("{s:I, s:I}", "id", (json_int_t)m->state[i].id, "version",
						      (json_int_t)m->state[i].version));
	return list;
}
