/* SPDX-License-Identifier: Apache-2.0 */
#include "load_file.h"

#include <stdlib.h>

int load_file(const char *pid, const char *file, const struct klp_options *o, json_t **result, struct klp_error *e)
{
	struct klp_module *m = NULL;
	int rc = klp_module_open(file, &m, e);

	if (!rc)
		rc = klp_load((pid_t)atoi(pid), m, o, result, e);
	klp_module_close(m);
	return rc;
}

void print_result(json_t *result)
{
	json_t *top = json_object(), *list = json_array();

	json_array_append_new(list, result);
	json_object_set_new(top, "processes", list);
	json_dumpf(top, stdout, JSON_INDENT(2));
	json_decref(top);
}
