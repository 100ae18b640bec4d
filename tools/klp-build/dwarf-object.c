/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Debug information in objects for linkers that relax: distances in it are relocations, too, for the code has no fixed
 * size yet. libdwarf does not know them and reads nothing of such an object. So it gets a copy in which they are
 * applied, every section at address 0.
 */
#include "dwarf-object.h"

#include <elf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "objdiff/object.h"

static bool kb_apply(const struct od_sec *s, const struct od_rel *r, uint8_t *bytes)
{
	struct od_rel_info i = od_rel_info(s, r);
	uint64_t value = s->obj->sym[r->sym].value + (uint64_t)r->addend, old = 0, mask;

	if (i.class == OD_REL_NONE)
		return true;
	if (i.class != OD_REL_ADDRESS || i.pc || i.half || i.width > sizeof(old) || s->size - r->off < i.width)
		return false;
	memcpy(&old, bytes + r->off, i.width);
	mask = i.term && i.bits < 64 ? ((uint64_t)1 << i.bits) - 1 : UINT64_MAX;
	if (i.term == OD_TERM_ADD)
		value = old + value;
	else if (i.term == OD_TERM_SUB)
		value = old - value;
	value = (old & ~mask) | (value & mask);
	memcpy(bytes + r->off, &value, i.width);
	return true;
}

/* What is not allocated is debug information. A relocation that is not known: its section stays as it is. */
static void kb_apply_all(const struct od_obj *o, uint8_t *image, size_t len, Elf64_Shdr *sh)
{
	for (size_t i = 1; i < o->sec_count; i++) {
		const struct od_sec *s = &o->sec[i];
		bool known = !(s->flags & (SHF_ALLOC | SHF_COMPRESSED)) && s->data && s->rel_count;

		if (!known || sh[i].sh_offset > len || s->size > len - sh[i].sh_offset)
			continue;
		for (size_t k = 0; k < s->rel_count && known; k++)
			known = kb_apply(s, &s->rel[k], image + sh[i].sh_offset);
		for (size_t k = 1; k < o->sec_count && known; k++)
			if (sh[k].sh_type == SHT_RELA && sh[k].sh_info == i)
				sh[k] = (Elf64_Shdr){.sh_name = sh[k].sh_name, .sh_type = SHT_NULL};
	}
}

static int kb_write_copy(const uint8_t *image, size_t len)
{
	int fd = memfd_create("klp-build-object", MFD_CLOEXEC);
	size_t done = 0;

	while (fd >= 0 && done < len) {
		ssize_t n = pwrite(fd, image + done, len - done, (off_t)done);

		if (n <= 0) {
			close(fd);
			return -1;
		}
		done += (size_t)n;
	}
	return fd;
}

int kb_open_relocated(const char *path)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct od_pool pool = {NULL};
	struct od_obj o;
	uint8_t *image;
	size_t len;
	Elf64_Ehdr eh;
	int fd = -1;

	if (od_read_file(&pool, path, &image, &len, &e))
		goto out;
	memcpy(&eh, image, sizeof(eh));
	if (eh.e_type != ET_REL || !od_arch_find(eh.e_machine) || !od_arch_find(eh.e_machine)->distances ||
	    od_load_object(&pool, path, "", &o, &e))
		goto out;
	/* it may have been written to since */
	if (eh.e_shoff % 8 || eh.e_shoff > len || o.sec_count > (len - eh.e_shoff) / sizeof(Elf64_Shdr))
		goto out;
	kb_apply_all(&o, image, len, (Elf64_Shdr *)(void *)(image + eh.e_shoff));
	fd = kb_write_copy(image, len);
out:
	od_pool_free(&pool);
	return fd;
}
