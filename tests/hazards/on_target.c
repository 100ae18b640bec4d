/* SPDX-License-Identifier: Apache-2.0 */
#include "on_target.h"

#include <stdio.h>
#include <unistd.h>

#define START_MS 100u

int __wrap_klp_remote_interrupt(struct klp_remote *r, pid_t tid, klp_look_fn look, void *ctx, struct klp_error *e);

int __wrap_klp_remote_interrupt(struct klp_remote *r, pid_t tid, klp_look_fn look, void *ctx, struct klp_error *e)
{
	(void)r;
	(void)tid;
	(void)look;
	(void)ctx;
	(void)e;
	return 0;
}

int on_target_begin(int argc, char **argv, struct on_target *t)
{
	struct klp_error e = KLP_ERROR_INIT;
	int in[2];

	if (argc != 3 || access(argv[1], X_OK) || access(argv[2], R_OK)) {
		fprintf(stderr, "usage: %s TARGET MODULE\n", argv[0]);
		return 2;
	}
	if (pipe(in))
		return 1;
	t->pid = fork_bound();
	if (!t->pid) {
		dup2(in[0], 0);
		close(in[1]);
		execl(argv[1], argv[1], (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	t->in = in[1];
	sleep_ms(START_MS);
	check(!klp_module_open(argv[2], &t->module, &e), "module: %s", e.text);
	return t->module ? 0 : check_end();
}

int on_target_end(struct on_target *t)
{
	klp_module_close(t->module);
	finish(t->pid);
	return check_end();
}
