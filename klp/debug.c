/* SPDX-License-Identifier: Apache-2.0 */
/* klpctl symfile and perfmap: what debuggers and profilers are told. Reads the process, stops nobody. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "klp/arming.h"
#include "klp/symfile.h"

#define KLP_FILE_NAME_MAX 128u

/* A patch's name comes from the target: in a file's name only what is harmless there. */
static void klp_symfile_name(const char *patch, uint64_t text, char *buf, size_t len)
{
	snprintf(buf, len, "klp-%s-%" PRIx64 ".elf", patch, text);
	for (char *c = buf; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("._-", *c))
			*c = '_';
}

static int klp_symfile_make(const struct klp_session *s, const struct klp_symfile *y, const char *patch,
			    const char *dir, int dir_fd, json_t *list, struct klp_error *e)
{
	char name[KLP_FILE_NAME_MAX], *path = NULL;
	FILE *f = NULL;
	json_t *o;
	int rc, fd;

	klp_symfile_name(patch ? patch : "runtime", y->text, name, sizeof(name));
	fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || !(f = fdopen(fd, "w"))) {
		rc = klp_fail(e, errno, KLP_IO, "%s/%s cannot be made: %s", dir, name, strerror(errno));
		if (fd >= 0)
			close(fd);
		return rc;
	}
	rc = klp_symfile_write(s, y, f, e);
	if (fclose(f) && !rc)
		rc = klp_fail(e, errno, KLP_IO, "%s/%s cannot be written: %s", dir, name, strerror(errno));
	if (!rc && asprintf(&path, "%s/%s", dir, name) < 0)
		rc = klp_fail(e, ENOMEM, KLP_NOMEM, "no memory");
	if (rc) {
		unlinkat(dir_fd, name, 0);
		return rc;
	}
	o = json_object();
	json_object_set_new(o, "patch", patch ? klp_json_text(patch) : json_null());
	json_object_set_new(o, "path", klp_json_text(path));
	json_object_set_new(o, "text", json_integer((json_int_t)y->text));
	json_object_set_new(o, "text_len", json_integer((json_int_t)y->text_len));
	json_array_append_new(list, o);
	free(path);
	return 0;
}

/* Calls fn for the runtime (patch NULL) and for each patch whose code can be on a stack. */
static int klp_symfile_each(struct klp_session *s,
			    int (*fn)(struct klp_session *s, const struct klp_symfile *y, const char *patch, void *ctx,
				      struct klp_error *e),
			    void *ctx, struct klp_error *e)
{
	struct klp_symfile y;
	int rc = klp_symfile_read_runtime(s, &y, e);

	if (!rc)
		rc = fn(s, &y, NULL, ctx, e);
	klp_symfile_free(&y);
	for (size_t i = 0; i < s->patch_count && rc >= 0; i++) {
		rc = klp_symfile_read_patch(s, &s->patch[i], &y, e);
		if (!rc)
			rc = fn(s, &y, s->patch[i].rec.name, ctx, e);
		klp_symfile_free(&y);
	}
	return rc < 0 ? rc : 0;
}

struct klp_symfiles {
	const char *dir;
	int dir_fd;
	json_t *list;
};

static int klp_symfiles_one(struct klp_session *s, const struct klp_symfile *y, const char *patch, void *ctx,
			    struct klp_error *e)
{
	const struct klp_symfiles *to = ctx;

	return klp_symfile_make(s, y, patch, to->dir, to->dir_fd, to->list, e);
}

int klp_symfiles(pid_t pid, const char *dir, json_t **result, struct klp_error *e)
{
	struct klp_symfiles to = {dir, open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), json_array()};
	struct klp_session s = {0};
	int rc = 0;

	if (to.dir_fd < 0)
		rc = klp_fail(e, errno, KLP_IO, "%s: %s", dir, strerror(errno));
	if (!rc)
		rc = klp_session_open(&s, pid, KLP_SESSION_READ, NULL, e);
	if (!rc)
		rc = klp_symfile_each(&s, klp_symfiles_one, &to, e);
	*result = klp_session_result(&s, pid, NULL, 0, rc, e);
	json_object_set(*result, "files", to.list);
	json_decref(to.list);
	if (to.dir_fd >= 0)
		close(to.dir_fd);
	klp_session_close(&s);
	return rc;
}

static void klp_perf_line(FILE *f, uint64_t addr, uint64_t len, const char *name, const char *patch)
{
	fprintf(f, "%" PRIx64 " %" PRIx64 " ", addr, len);
	for (; *name; name++)
		putc(isprint((unsigned char)*name) ? *name : '?', f);
	if (patch) {
		fputs(" [", f);
		for (; *patch; patch++)
			putc(isprint((unsigned char)*patch) ? *patch : '?', f);
		putc(']', f);
	}
	putc('\n', f);
}

static int klp_perf_one(struct klp_session *s, const struct klp_symfile *y, const char *patch, void *ctx,
			struct klp_error *e)
{
	(void)s;
	(void)e;
	if (!patch)
		klp_perf_line(ctx, y->text, y->text_len, "[klp]", NULL);
	for (size_t i = 1; patch && i < y->count; i++)
		if (ELF64_ST_TYPE(y->sym[i].st_info) == STT_FUNC && y->sym[i].st_shndx != SHN_ABS && y->sym[i].st_size)
			klp_perf_line(ctx, y->sym[i].st_value, y->sym[i].st_size, y->strings + y->sym[i].st_name,
				      patch);
	return 0;
}

int klp_perf_map(pid_t pid, FILE *f, struct klp_error *e)
{
	struct klp_session s = {0};
	int rc = klp_session_open(&s, pid, KLP_SESSION_READ, NULL, e);

	if (!rc)
		rc = klp_symfile_each(&s, klp_perf_one, f, e);
	for (unsigned i = 0; !rc && s.cb && i < KLP_MAX_ARENAS; i++)
		if (s.cb->arenas[i])
			klp_perf_line(f, s.cb->arenas[i] - KLP_ARENA_STUBS_SIZE, KLP_ARENA_STUBS_SIZE, "[klp stub]",
				      NULL);
	if (!rc && (fflush(f) || ferror(f)))
		rc = klp_fail(e, EIO, KLP_IO, "the map of process %d cannot be written", pid);
	klp_session_close(&s);
	return rc;
}
