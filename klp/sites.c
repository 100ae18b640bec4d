/* SPDX-License-Identifier: Apache-2.0 */
/* klpctl sites: which functions of a file, or of a process's executable, are patchable, and why others are not. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "klp/session.h"
#include "patchsite/patchsite.h"

int klp_sites_file(const char *path, json_t **result, struct klp_error *e)
{
	struct klp_site_list list = {0};
	size_t patchable = 0;
	json_t *o, *functions;
	int rc = klp_site_list_file(path, &list, e);

	*result = NULL;
	if (rc)
		return rc;
	o = json_object();
	functions = json_array();
	for (size_t i = 0; i < list.count; i++) {
		const struct klp_site_list_entry *f = &list.entry[i];
		json_t *fn = json_object();

		patchable += f->reason == KLP_OK;
		json_object_set_new(fn, "name", klp_json_text(f->name));
		json_object_set_new(fn, "address", json_integer((json_int_t)f->entry));
		json_object_set_new(fn, "patchable", json_boolean(f->reason == KLP_OK));
		json_object_set_new(fn, "reason",
				    f->reason == KLP_OK ? json_null() : json_string(klp_reason_name(f->reason)));
		json_object_set_new(fn, "layout",
				    f->reason == KLP_OK ? json_string(klp_site_layout_name(f->site.layout))
							: json_null());
		json_object_set_new(fn, "weak_to_uprobe", json_boolean(f->reason == KLP_OK && f->site.weak_to_uprobe));
		json_array_append_new(functions, fn);
	}
	json_object_set_new(o, "file", klp_json_text(path));
	json_object_set_new(o, "result", json_string("done"));
	json_object_set_new(o, "patchable", json_integer((json_int_t)patchable));
	json_object_set_new(o, "unnamed", json_integer((json_int_t)list.unnamed));
	json_object_set_new(o, "functions", functions);
	klp_site_list_free(&list);
	*result = o;
	return 0;
}

int klp_sites_process(pid_t pid, json_t **result, struct klp_error *e)
{
	char path[64];
	int rc;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	rc = klp_sites_file(path, result, e);
	if (!rc)
		json_object_set_new(*result, "pid", json_integer(pid));
	return rc;
}
