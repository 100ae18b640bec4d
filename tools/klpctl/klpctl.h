/* SPDX-License-Identifier: Apache-2.0 */
/* klpctl: the command line over <klp/klp.h>. */
#ifndef KLPCTL_H
#define KLPCTL_H

#include <klp/klp.h>
#include <stdbool.h>
#include <stddef.h>

/* Exit codes (docs/man/klpctl.1). */
enum {
	KLPCTL_DONE = 0,
	KLPCTL_FAILED = 1,
	KLPCTL_USAGE = 2,
	KLPCTL_NOT_APPLICABLE = 3,
	KLPCTL_REFUSED = 4,
	KLPCTL_PENDING = 5,
	KLPCTL_PERMISSION = 6,
};

#define KLPCTL_MAX_PIDS 65536

struct klpctl_args {
	const char *command;
	pid_t *pid;
	size_t pid_count;
	bool json, watch, verbose;
	unsigned interval_ms; /* of klpctl watch */
	struct klp_options opt;
	const char *operand; /* FILE.klp, NAME or FILE */
};

/* 0, or KLPCTL_USAGE after saying why on stderr. */
int klpctl_parse(int argc, char **argv, struct klpctl_args *a);
void klpctl_help(void);

/* `klpctl watch`: until SIGINT or SIGTERM, or until the given processes have all ended. */
int klpctl_watch(struct klpctl_args *a, const struct klp_module *m);

/* Says what went wrong, on stderr and in the JSON; the exit code. */
int klpctl_fail(const struct klpctl_args *a, int rc, const struct klp_error *e);

/* From the error of one operation. */
int klpctl_exit_code(int rc, const struct klp_error *e);

/* Human output of one process's result, on stdout (failures on stderr). */
void klpctl_print_result(const char *command, const json_t *result);
void klpctl_print_status(const json_t *result);
void klpctl_print_stack(const json_t *result);
void klpctl_print_symfiles(const json_t *result); /* as commands of gdb */
void klpctl_print_sites(const json_t *result);
void klpctl_print_info(const json_t *result);
void klpctl_print_event(const json_t *event);
void klpctl_log(void *ctx, int level, const char *text);

#endif
