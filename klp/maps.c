/* SPDX-License-Identifier: Apache-2.0 */
/* /proc/PID/maps of a live thread. */
#include "klp/maps.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void klp_maps_free(struct klp_process *p)
{
	for (size_t i = 0; i < p->map_count; i++)
		free((void *)(uintptr_t)p->map[i].path);
	free(p->map);
	p->map = NULL;
	p->map_count = 0;
}

static int klp_maps_line(char *line, struct klp_mapping *m)
{
	char perms[8];
	int at = 0;

	line[strcspn(line, "\n")] = 0;
	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %" SCNx64 " %x:%x %" SCNu64 " %n", &m->start, &m->end, perms,
		   &m->offset, &m->dev_major, &m->dev_minor, &m->inode, &at) < 7 ||
	    strlen(perms) != 4 || m->start >= m->end || !at)
		return -EINVAL;
	m->prot = (perms[0] == 'r' ? PROT_READ : 0u) | (perms[1] == 'w' ? PROT_WRITE : 0u) |
		  (perms[2] == 'x' ? PROT_EXEC : 0u);
	m->shared = perms[3] == 's';
	m->path = strdup(line + at);
	m->grows_down = m->path && !strcmp(m->path, "[stack]");
	return m->path ? 0 : -ENOMEM;
}

/*
 * A listing is made by many reads, and only each of them is of one moment (proc(5), "inherently racy"): a mapping that
 * grew over its listed neighbours between two reads comes with its new start. The later line is the truth of the later
 * moment; what it overlaps was listed before and gives way.
 */
static void klp_maps_make_way(struct klp_process *p, uint64_t start)
{
	while (p->map_count && p->map[p->map_count - 1].end > start) {
		struct klp_mapping *m = &p->map[p->map_count - 1];

		if (m->start < start) {
			m->end = start;
			return;
		}
		free((void *)(uintptr_t)m->path);
		p->map_count--;
	}
}

static int klp_maps_append(struct klp_process *p, size_t *room, const struct klp_mapping *m, struct klp_error *e)
{
	klp_maps_make_way(p, m->start);
	if (p->map_count == KLP_MAX_MAPPINGS)
		return klp_fail(e, E2BIG, KLP_LIMIT, "process %d has more than %d mappings", p->pid, KLP_MAX_MAPPINGS);
	if (p->map_count == *room) {
		size_t more = *room ? *room * 2 : 128;
		struct klp_mapping *grown = realloc(p->map, more * sizeof(*grown));

		if (!grown)
			return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the mapping list");
		p->map = grown;
		*room = more;
	}
	p->map[p->map_count++] = *m;
	return 0;
}

int klp_maps_parse(struct klp_process *p, FILE *f, struct klp_error *e)
{
	char *line = NULL;
	size_t room = 0, len = 0;
	int rc = 0;

	klp_maps_free(p);
	while (!rc && getline(&line, &len, f) > 0) {
		struct klp_mapping m = {0};

		rc = klp_maps_line(line, &m);
		if (rc) {
			rc = klp_fail(e, -rc, KLP_TARGET_MEMORY, "a line of the mappings of process %d makes no sense",
				      p->pid);
			break;
		}
		rc = klp_maps_append(p, &room, &m, e);
		if (rc)
			free((void *)(uintptr_t)m.path);
	}
	if (!rc && ferror(f))
		rc = klp_fail(e, EIO, KLP_IO, "the mappings of process %d cannot be read", p->pid);
	free(line);
	if (!rc && !p->map_count)
		rc = klp_fail(e, ESRCH, KLP_ZOMBIE, "process %d has no memory any more", p->pid);
	return rc;
}

int klp_maps_read(struct klp_process *p, struct klp_error *e)
{
	char path[64];
	FILE *f;
	int rc;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/maps", p->pid, p->live_tid);
	f = fopen(path, "re");
	if (!f)
		return klp_fail(e, errno, errno == EACCES || errno == EPERM ? KLP_PERMISSION : KLP_NO_PROCESS, "%s: %s",
				path, strerror(errno));
	rc = klp_maps_parse(p, f, e);
	fclose(f);
	return rc;
}

const struct klp_mapping *klp_process_mapping(const struct klp_process *p, uint64_t addr)
{
	size_t low = 0, high = p->map_count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (addr < p->map[mid].start)
			high = mid;
		else if (addr >= p->map[mid].end)
			low = mid + 1;
		else
			return &p->map[mid];
	}
	return NULL;
}
