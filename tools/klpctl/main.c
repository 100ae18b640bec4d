/* SPDX-License-Identifier: Apache-2.0 */
#include "klpctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int klpctl_exit_code(int rc, const struct klp_error *e)
{
	if (rc >= 0)
		return KLPCTL_DONE;
	switch (e->reason) {
	case KLP_USAGE:
		return KLPCTL_USAGE;
	case KLP_NO_OBJECT:
		return KLPCTL_NOT_APPLICABLE;
	case KLP_PENDING:
		return KLPCTL_PENDING;
	case KLP_PERMISSION:
		return KLPCTL_PERMISSION;
	case KLP_INTERNAL:
	case KLP_NOMEM:
	case KLP_NO_PROCESS:
	case KLP_HELPER:
	case KLP_IO:
		return KLPCTL_FAILED;
	default:
		return KLPCTL_REFUSED;
	}
}

/* Of several processes the gravest code counts: a failure over a refusal over a pending one. */
static int gravest(int a, int b)
{
	static const int order[] = {KLPCTL_FAILED,  KLPCTL_REFUSED,        KLPCTL_PERMISSION,
				    KLPCTL_PENDING, KLPCTL_NOT_APPLICABLE, KLPCTL_DONE};

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		if (a == order[i] || b == order[i])
			return order[i];
	return a;
}

int klpctl_fail(const struct klpctl_args *a, int rc, const struct klp_error *e)
{
	if (a->json) {
		json_t *o = json_object();

		json_object_set_new(o, "error", json_string(e->text));
		json_object_set_new(o, "reason", json_string(klp_reason_name(e->reason)));
		json_object_set_new(o, "processes", json_array());
		json_dumpf(o, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(o);
	}
	fprintf(stderr, "klpctl: %s: %s\n", klp_reason_name(e->reason), e->text);
	return klpctl_exit_code(rc, e);
}

static int one_process(struct klpctl_args *a, const struct klp_module *m, pid_t pid, json_t **result,
		       struct klp_error *e)
{
	if (!strcmp(a->command, "load"))
		return klp_load(pid, m, &a->opt, result, e);
	if (!strcmp(a->command, "unload"))
		return klp_unload(pid, a->operand, &a->opt, result, e);
	if (!strcmp(a->command, "force"))
		return klp_force(pid, a->operand, &a->opt, result, e);
	if (!strcmp(a->command, "check"))
		return klp_check(pid, m, result, e);
	if (!strcmp(a->command, "stack"))
		return klp_stack(pid, result, e);
	if (!strcmp(a->command, "symfile"))
		return klp_symfiles(pid, a->operand, result, e);
	return klp_status(pid, result, e);
}

static void print_one(const struct klpctl_args *a, const json_t *result, int rc)
{
	if (rc >= 0 && !strcmp(a->command, "status"))
		klpctl_print_status(result);
	else if (rc >= 0 && !strcmp(a->command, "stack"))
		klpctl_print_stack(result);
	else if (rc >= 0 && !strcmp(a->command, "symfile"))
		klpctl_print_symfiles(result);
	else
		klpctl_print_result(a->command, result);
}

static int all_processes(struct klpctl_args *a, const struct klp_module *m)
{
	struct klp_error e = KLP_ERROR_INIT;
	json_t *list = json_array(), *top = json_object();
	pid_t *found = NULL;
	const pid_t *pid = a->pid;
	size_t count = a->pid_count;
	int code = KLPCTL_DONE, rc = 0;

	if (!count) {
		rc = m ? klp_find_targets(m, &found, &count, &e) : klp_find_patched(&found, &count, &e);
		pid = found;
		if (!rc && !count && m)
			rc = klp_fail(&e, ENOENT, KLP_NO_OBJECT, "no running process maps the patched object");
	}
	if (rc)
		code = klpctl_fail(a, rc, &e);
	for (size_t i = 0; i < count && !rc; i++) {
		struct klp_error one = KLP_ERROR_INIT;
		json_t *result = NULL;
		int r = one_process(a, m, pid[i], &result, &one);

		code = gravest(code, klpctl_exit_code(r, &one));
		if (!a->json)
			print_one(a, result, r);
		json_array_append_new(list, result);
	}
	if (a->json && !rc) {
		json_object_set(top, "processes", list);
		json_dumpf(top, stdout, JSON_INDENT(2));
		putchar('\n');
	} else if (!a->json && !rc && !count) {
		puts("no process is patched");
	}
	json_decref(top);
	json_decref(list);
	free(found);
	return code;
}

static int sites(struct klpctl_args *a)
{
	struct klp_error e = KLP_ERROR_INIT;
	json_t *result = NULL;
	int rc = a->operand ? klp_sites_file(a->operand, &result, &e) : klp_sites_process(a->pid[0], &result, &e);

	if (rc)
		return klpctl_fail(a, rc, &e);
	if (a->json) {
		json_dumpf(result, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		klpctl_print_sites(result);
	}
	json_decref(result);
	return KLPCTL_DONE;
}

static int info(struct klpctl_args *a, const struct klp_module *m)
{
	json_t *o = klp_module_info(m);

	if (a->json) {
		json_dumpf(o, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		klpctl_print_info(o);
	}
	json_decref(o);
	return KLPCTL_DONE;
}

static int perfmap(const struct klpctl_args *a)
{
	struct klp_error e = KLP_ERROR_INIT;
	int rc = klp_perf_map(a->pid[0], stdout, &e);

	if (rc)
		fprintf(stderr, "klpctl: %s: %s\n", klp_reason_name(e.reason), e.text);
	return klpctl_exit_code(rc, &e);
}

int main(int argc, char **argv)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_module *m = NULL;
	struct klpctl_args a;
	int rc, code = klpctl_parse(argc, argv, &a);

	if (code) {
		free(a.pid);
		return code;
	}
	a.opt.log = klpctl_log;
	a.opt.log_ctx = &a;
	if (!strcmp(a.command, "load") || !strcmp(a.command, "check") || !strcmp(a.command, "info") ||
	    !strcmp(a.command, "watch")) {
		rc = klp_module_open(a.operand, &m, &e);
		if (rc) {
			free(a.pid);
			return klpctl_fail(&a, rc, &e);
		}
	}
	if (!strcmp(a.command, "sites"))
		code = sites(&a);
	else if (!strcmp(a.command, "info"))
		code = info(&a, m);
	else if (!strcmp(a.command, "perfmap"))
		code = perfmap(&a);
	else if (!strcmp(a.command, "watch"))
		code = klpctl_watch(&a, m);
	else
		code = all_processes(&a, m);
	while (a.watch && !strcmp(a.command, "status") && !ferror(stdout)) {
		fflush(stdout);
		sleep(1);
		code = all_processes(&a, NULL);
	}
	klp_module_close(m);
	free(a.pid);
	return fflush(stdout) || ferror(stdout) ? KLPCTL_FAILED : code;
}
