/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a module's file: everything that can be checked without a target is checked here. */
#include "klp/module.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "klp/digest.h"
#include "klp/include/klp/klp.h"
#include "klp/machine.h"
#include "klp/module_elf.h"

/* A regular file of a bounded size: nothing else is waited for or read without end. */
static int klp_module_slurp(const char *path, struct klp_module *m, struct klp_error *e)
{
	struct stat st;
	size_t done = 0;
	int err, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return klp_fail(e, errno, KLP_IO, "%s: %s", path, strerror(errno));
	if (fstat(fd, &st)) {
		err = errno;
		close(fd);
		return klp_fail(e, err, KLP_IO, "%s: %s", path, strerror(err));
	}
	if (!S_ISREG(st.st_mode)) {
		close(fd);
		return klp_fail(e, S_ISDIR(st.st_mode) ? EISDIR : EINVAL, KLP_BAD_MODULE, "%s is not a regular file",
				path);
	}
	if (st.st_size <= 0) {
		close(fd);
		return klp_fail(e, EINVAL, KLP_BAD_MODULE, "%s is empty", path);
	}
	if (st.st_size > (off_t)KLP_MODULE_MAX_SIZE) {
		close(fd);
		return klp_fail(e, EFBIG, KLP_LIMIT, "%s has %jd bytes, a module at most %u", path,
				(intmax_t)st.st_size, KLP_MODULE_MAX_SIZE);
	}
	m->size = (size_t)st.st_size;
	m->image = malloc(m->size);
	if (!m->image) {
		close(fd);
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for %s", path);
	}
	while (done < m->size) {
		ssize_t n = read(fd, m->image + done, m->size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			err = n ? errno : EIO;
			close(fd);
			return klp_fail(e, err, KLP_IO, "%s: %s", path,
					n ? strerror(err) : "it became shorter while it was read");
		}
		done += (size_t)n;
	}
	close(fd);
	return 0;
}

/* Which object the section that it is in belongs to; 0 for one that is in none. */
static unsigned klp_symbol_object(const struct klp_elf *f, const struct klp_elf_symbol *s)
{
	return s->shndx < f->section_count ? f->section[s->shndx].object : 0;
}

/* Each replacement is one function of the module's code for that object. */
static int klp_module_replacement(const struct klp_elf *f, unsigned object, const char *name, struct klp_error *e)
{
	const struct klp_elf_symbol *found = NULL;

	for (size_t i = 1; i < f->symbol_count; i++) {
		const struct klp_elf_symbol *s = &f->symbol[i];

		if (s->type != STT_FUNC || s->shndx == SHN_UNDEF || strcmp(s->name, name) ||
		    klp_symbol_object(f, s) != object)
			continue;
		if (found)
			return klp_fail(e, EINVAL, KLP_AMBIGUOUS, "the module has two functions named %s", name);
		found = s;
	}
	if (!found)
		return klp_fail(e, EINVAL, KLP_BAD_FUNCTION, "the module does not contain its replacement function %s",
				name);
	if (found->shndx >= f->section_count || !(f->section[found->shndx].flags & SHF_EXECINSTR) || found->size == 0)
		return klp_fail(e, EINVAL, KLP_BAD_FUNCTION, "the replacement %s is not code of the module", name);
	return 0;
}

#define KLP_ANY_OBJECT UINT_MAX

/* A callback is one function of the module's code for its object, a state's record one datum of the module that can be
 * written. */
static int klp_module_own(const struct klp_elf *f, unsigned object, const char *name, unsigned type, uint64_t min,
			  struct klp_error *e)
{
	const uint64_t want = type == STT_FUNC ? SHF_EXECINSTR : SHF_WRITE;
	const struct klp_elf_symbol *found = NULL;

	for (size_t i = 1; i < f->symbol_count; i++) {
		const struct klp_elf_symbol *s = &f->symbol[i];

		if (s->type != type || s->shndx == SHN_UNDEF || s->shndx >= f->section_count || strcmp(s->name, name) ||
		    (object != KLP_ANY_OBJECT && klp_symbol_object(f, s) != object))
			continue;
		if (found)
			return klp_fail(e, EINVAL, KLP_AMBIGUOUS, "the module has two symbols named %s", name);
		found = s;
	}
	if (!found || (f->section[found->shndx].flags & (SHF_EXECINSTR | SHF_WRITE)) != want || found->size < min ||
	    found->value > f->section[found->shndx].size || found->size > f->section[found->shndx].size - found->value)
		return klp_fail(e, EINVAL, KLP_BAD_MODULE, "the module has no %s %s",
				type == STT_FUNC ? "callback" : "state", name);
	return 0;
}

/* What file and metadata say about each other. */
static int klp_module_agree(const struct klp_module *m, const struct klp_elf *f, struct klp_error *e)
{
	if (f->machine != m->machine)
		return klp_fail(e, EINVAL, KLP_WRONG_ARCH, "the file is for machine %u, its metadata say %s",
				f->machine, json_string_value(json_object_get(m->meta, "arch")));
	for (size_t i = 1; i < f->section_count; i++)
		if ((f->section[i].flags & SHF_ALLOC) && f->section[i].object >= m->object_count)
			return klp_fail(e, EINVAL, KLP_BAD_MODULE, "section %s: the metadata have only %zu objects",
					f->section[i].name, m->object_count);
	for (size_t i = 1; i < f->symbol_count; i++) {
		const struct klp_elf_symbol *s = &f->symbol[i];

		if (s->external == KLP_ELF_NO_SYMBOL)
			continue;
		if (s->external >= m->symbol_count)
			return klp_fail(e, EINVAL, KLP_BAD_MODULE, "symbol %s: the metadata have only %zu symbols",
					s->name, m->symbol_count);
		if (strcmp(s->external_name, m->symbol[s->external].name))
			return klp_fail(e, EINVAL, KLP_BAD_MODULE, "symbol %s is %s in the metadata", s->name,
					m->symbol[s->external].name);
	}
	for (size_t i = 0; i < m->object_count; i++)
		for (size_t k = 0; k < m->object[i].function_count; k++) {
			int rc = klp_module_replacement(f, (unsigned)i, m->object[i].function[k].replacement, e);

			if (rc)
				return rc;
		}
	for (size_t i = 0; i < m->object_count; i++)
		for (size_t k = 0; k < KLP_CALLBACK_KINDS; k++) {
			const char *name = m->object[i].callback[k];
			int rc = name ? klp_module_own(f, (unsigned)i, name, STT_FUNC, 1, e) : 0;

			if (rc)
				return rc;
		}
	for (size_t i = 0; i < m->state_count; i++) {
		int rc = klp_module_own(f, KLP_ANY_OBJECT, m->state[i].symbol, STT_OBJECT, KLP_STATE_RECORD_SIZE, e);

		if (rc)
			return rc;
	}
	return 0;
}

static int klp_module_read_image(struct klp_module *m, struct klp_error *e)
{
	struct klp_module parsed;
	struct klp_elf f;
	int rc = klp_elf_open(m->image, m->size, &f, e);

	if (rc)
		return rc;
	if (f.machine != KLP_HOST_MACHINE) {
		rc = klp_fail(e, EINVAL, KLP_WRONG_ARCH, "the module is for ELF machine %u, this machine is %u",
			      f.machine, KLP_HOST_MACHINE);
	} else {
		const struct klp_elf_section *s = &f.section[f.meta];

		rc = klp_module_parse_meta((const char *)s->data, (size_t)s->size, &parsed, e);
	}
	if (!rc) {
		/* The file's own fields live in m, the metadata in parsed. */
		parsed.path = m->path;
		parsed.image = m->image;
		parsed.size = m->size;
		*m = parsed;
		rc = klp_module_agree(m, &f, e);
	}
	if (!rc)
		rc = klp_digest(m->image, m->size, m->digest, e);
	klp_elf_close(&f);
	return rc;
}

int klp_module_read(const char *path, struct klp_module *m, struct klp_error *e)
{
	char said[sizeof(e->text)];
	int rc;

	memset(m, 0, sizeof(*m));
	m->path = strdup(path);
	if (!m->path)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for %s", path);
	rc = klp_module_slurp(path, m, e);
	if (!rc) {
		rc = klp_module_read_image(m, e);
		if (rc) {
			memcpy(said, e->text, sizeof(said));
			klp_fail(e, e->err, e->reason, "%s: %s", path, said);
		}
	}
	if (rc)
		klp_module_free(m);
	return rc;
}

int klp_module_open(const char *path, struct klp_module **m, struct klp_error *e)
{
	int rc;

	*m = malloc(sizeof(**m));
	if (!*m)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for %s", path);
	rc = klp_module_read(path, *m, e);
	if (rc) {
		free(*m);
		*m = NULL;
	}
	return rc;
}

void klp_module_close(struct klp_module *m)
{
	if (!m)
		return;
	klp_module_free(m);
	free(m);
}
