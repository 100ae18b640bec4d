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

int klp_maps_read(struct klp_process *p, struct klp_error *e)
{
	char path[64], *line = NULL;
	size_t room = 0, len = 0;
	uint64_t last = 0;
	FILE *f;
	int rc = 0;

	klp_maps_free(p);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/maps", p->pid, p->live_tid);
	f = fopen(path, "re");
	if (!f)
		return klp_fail(e, errno, errno == EACCES || errno == EPERM ? KLP_PERMISSION : KLP_NO_PROCESS, "%s: %s",
				path, strerror(errno));
	while (!rc && getline(&line, &len, f) > 0) {
		struct klp_mapping m = {0}, *grown;

		rc = klp_maps_line(line, &m);
		if (rc) {
			klp_fail(e, -rc, KLP_TARGET_MEMORY, "a line of %s makes no sense", path);
			break;
		}
		if (m.start < last || p->map_count == KLP_MAX_MAPPINGS) {
			free((void *)(uintptr_t)m.path);
			rc = klp_fail(e, E2BIG, KLP_LIMIT, "process %d has more than %d mappings, or unsorted ones",
				      p->pid, KLP_MAX_MAPPINGS);
			break;
		}
		last = m.end;
		if (p->map_count == room) {
			room = room ? room * 2 : 128;
			grown = realloc(p->map, room * sizeof(*grown));
			if (!grown) {
				free((void *)(uintptr_t)m.path);
				rc = klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the mapping list");
				break;
			}
			p->map = grown;
		}
		p->map[p->map_count++] = m;
	}
	if (!rc && ferror(f))
		rc = klp_fail(e, EIO, KLP_IO, "%s cannot be read", path);
	free(line);
	fclose(f);
	if (!rc && !p->map_count)
		rc = klp_fail(e, ESRCH, KLP_ZOMBIE, "process %d has no memory any more", p->pid);
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
