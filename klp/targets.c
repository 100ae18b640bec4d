/* SPDX-License-Identifier: Apache-2.0 */
/* Which processes a command without -p is about. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "klp/session.h"
#include "klp/sharing.h"

typedef bool (*klp_wanted_fn)(struct klp_process *p, const void *ctx);

static int klp_find(klp_wanted_fn wanted, const void *ctx, pid_t **pids, size_t *count, struct klp_error *e)
{
	DIR *d = opendir("/proc");
	struct dirent *entry;
	size_t room = 0;
	int rc = 0;

	*pids = NULL;
	*count = 0;
	if (!d)
		return klp_fail(e, errno, KLP_IO, "/proc cannot be read");
	while (!rc && (entry = readdir(d))) {
		struct klp_error ignored = KLP_ERROR_INIT;
		struct klp_process p;
		pid_t pid, *grown;

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		pid = (pid_t)strtol(entry->d_name, NULL, 10);
		if (pid == getpid() || klp_process_open(pid, &p, &ignored))
			continue;
		if (wanted(&p, ctx) && !klp_process_shares_memory(&p)) {
			if (*count == room) {
				room = room ? room * 2 : 16;
				grown = realloc(*pids, room * sizeof(pid_t));
				if (!grown)
					rc = klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the process list");
				else
					*pids = grown;
			}
			if (!rc)
				(*pids)[(*count)++] = pid;
		}
		klp_process_close(&p);
	}
	closedir(d);
	return rc;
}

static bool klp_wants_module(struct klp_process *p, const void *ctx)
{
	const struct klp_module *m = ctx;
	size_t n;

	for (size_t i = 0; i < m->object_count; i++)
		if (!klp_process_object(p, m->object[i].build_id, m->object[i].build_id_len, &n))
			return false;
	return m->object_count > 0;
}

static bool klp_wants_runtime(struct klp_process *p, const void *ctx)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_remote r = {0};

	(void)ctx;
	return !klp_remote_find(p, &r, &ignored) && r.image;
}

int klp_find_targets(const struct klp_module *m, pid_t **pids, size_t *count, struct klp_error *e)
{
	return klp_find(klp_wants_module, m, pids, count, e);
}

int klp_find_patched(pid_t **pids, size_t *count, struct klp_error *e)
{
	return klp_find(klp_wants_runtime, NULL, pids, count, e);
}
