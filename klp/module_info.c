/* SPDX-License-Identifier: Apache-2.0 */
/* What `klpctl info` prints: the metadata, and what only the file tells. */
#include "klp/include/klp/klp.h"

#include <stdio.h>

#include "klp/module.h"

json_t *klp_module_info(const struct klp_module *m)
{
	char hex[2 * sizeof(m->digest) + 1];
	json_t *o = json_deep_copy(m->meta);

	if (!o)
		return json_object();
	for (size_t i = 0; i < sizeof(m->digest); i++)
		snprintf(hex + 2 * i, 3, "%02x", m->digest[i]);
	json_object_set_new(o, "sha256", json_string(hex));
	json_object_set_new(o, "size", json_integer((json_int_t)m->size));
	/* A path need not be UTF-8; then it is left out, for the caller has it anyway. */
	if (m->path)
		json_object_set_new(o, "path", json_string(m->path));
	return o;
}
