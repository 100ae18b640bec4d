/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/image.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "unwind/internal.h"

#define KLP_IMAGE_MAX_PHDRS 128
#define KLP_IMAGE_MAX_TABLE (64u << 20)
#define KLP_IMAGE_MAX_TEXT (1u << 30)
#define KLP_IMAGE_PAGE 4096

struct klp_image_plan {
	uint64_t bias, hdr, hdr_len, frame, frame_len;
};

static int klp_image_bad(struct klp_error *e, uint64_t at, const char *what)
{
	return klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "the image at %#llx has %s", (unsigned long long)at, what);
}

/* How far the segment's bytes of the file reach from addr. */
static uint64_t klp_image_rest(const Elf64_Phdr *ph, unsigned n, uint64_t vaddr)
{
	for (unsigned i = 0; i < n; i++)
		if (ph[i].p_type == PT_LOAD && vaddr >= ph[i].p_vaddr && vaddr - ph[i].p_vaddr < ph[i].p_filesz)
			return ph[i].p_filesz - (vaddr - ph[i].p_vaddr);
	return 0;
}

static int klp_image_plan(uint64_t at, const Elf64_Phdr *ph, unsigned n, struct klp_unw_object *o,
			  struct klp_image_plan *plan, struct klp_error *e)
{
	const Elf64_Phdr *first = NULL;

	for (unsigned i = 0; i < n && !first; i++)
		if (ph[i].p_type == PT_LOAD)
			first = &ph[i];
	if (!first || first->p_offset >= KLP_IMAGE_PAGE)
		return klp_image_bad(e, at, "no segment that holds its header");
	plan->bias = at - (first->p_vaddr - first->p_offset);
	o->text_start = UINT64_MAX;
	o->text_end = 0;
	for (unsigned i = 0; i < n; i++) {
		uint64_t start = plan->bias + ph[i].p_vaddr;

		if (ph[i].p_type == PT_LOAD && (ph[i].p_flags & PF_X) && ph[i].p_memsz) {
			if (start + ph[i].p_memsz < start)
				return klp_image_bad(e, at, "a segment that wraps around");
			o->text_start = start < o->text_start ? start : o->text_start;
			o->text_end = start + ph[i].p_memsz > o->text_end ? start + ph[i].p_memsz : o->text_end;
		}
		if (ph[i].p_type == PT_GNU_EH_FRAME) {
			plan->hdr = start;
			plan->hdr_len = klp_image_rest(ph, n, ph[i].p_vaddr);
			if (plan->hdr_len > ph[i].p_memsz)
				plan->hdr_len = ph[i].p_memsz;
		}
	}
	if (o->text_start >= o->text_end || o->text_end - o->text_start > KLP_IMAGE_MAX_TEXT)
		return klp_image_bad(e, at, "no usable executable segment");
	if (plan->hdr_len > KLP_IMAGE_MAX_TABLE)
		return klp_image_bad(e, at, "unwind tables beyond the limit");
	return 0;
}

/* .eh_frame by the pointer in .eh_frame_hdr; it ends at a terminator, at the latest with its segment. */
static int klp_image_frame(uint64_t at, const Elf64_Phdr *ph, unsigned n, klp_unw_read_fn read, void *ctx,
			   struct klp_image_plan *plan, struct klp_error *e)
{
	uint8_t head[16];
	struct klp_cursor c = {.base = head, .pos = 4, .end = sizeof(head), .addr = plan->hdr};

	if (!plan->hdr_len)
		return 0;
	if (plan->hdr_len < sizeof(head) - 4)
		return klp_image_bad(e, at, "an .eh_frame_hdr without content");
	c.end = plan->hdr_len < sizeof(head) ? (size_t)plan->hdr_len : sizeof(head);
	if (read(ctx, plan->hdr, head, c.end))
		return klp_image_bad(e, at, "an .eh_frame_hdr that cannot be read");
	plan->frame = klp_cursor_pointer(&c, head[1], plan->hdr);
	if (head[0] != 1 || c.bad)
		return klp_image_bad(e, at, "an .eh_frame_hdr that makes no sense");
	plan->frame_len = klp_image_rest(ph, n, plan->frame - plan->bias);
	if (!plan->frame_len || plan->frame_len > KLP_IMAGE_MAX_TABLE)
		return klp_image_bad(e, at, "an .eh_frame outside its segments");
	return 0;
}

int klp_unw_object_from_memory(uint64_t load_address_of_ehdr, klp_unw_read_fn read, void *ctx, struct klp_unw_object *o,
			       void **storage, struct klp_error *e)
{
	uint64_t at = load_address_of_ehdr, text_len;
	struct klp_image_plan plan = {0};
	Elf64_Phdr ph[KLP_IMAGE_MAX_PHDRS];
	Elf64_Ehdr eh;
	uint8_t *p;
	int rc;

	*storage = NULL;
	if (read(ctx, at, &eh, sizeof(eh)))
		return klp_image_bad(e, at, "no header that can be read");
	if (memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0 || eh.e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh.e_ident[EI_DATA] != ELFDATA2LSB || eh.e_phentsize != sizeof(Elf64_Phdr) || !eh.e_phnum ||
	    eh.e_phnum > KLP_IMAGE_MAX_PHDRS || eh.e_phoff > KLP_IMAGE_PAGE)
		return klp_image_bad(e, at, "no usable ELF header");
	if (read(ctx, at + eh.e_phoff, ph, eh.e_phnum * sizeof(ph[0])))
		return klp_image_bad(e, at, "no program headers that can be read");
	rc = klp_image_plan(at, ph, eh.e_phnum, o, &plan, e);
	if (!rc)
		rc = klp_image_frame(at, ph, eh.e_phnum, read, ctx, &plan, e);
	if (rc)
		return rc;
	text_len = o->libc ? o->text_end - o->text_start : 0;
	p = malloc((size_t)(plan.hdr_len + plan.frame_len + text_len) + 1);
	if (!p)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for unwind tables");
	o->entry = 0;
	o->eh_frame_hdr = plan.hdr_len ? p : NULL;
	o->eh_frame_hdr_len = (size_t)plan.hdr_len;
	o->eh_frame_hdr_addr = plan.hdr;
	o->eh_frame = plan.frame_len ? p + plan.hdr_len : NULL;
	o->eh_frame_len = (size_t)plan.frame_len;
	o->eh_frame_addr = plan.frame;
	o->text = text_len ? p + plan.hdr_len + plan.frame_len : NULL;
	o->text_len = (size_t)text_len;
	if ((plan.hdr_len && read(ctx, plan.hdr, p, (size_t)plan.hdr_len)) ||
	    (plan.frame_len && read(ctx, plan.frame, p + plan.hdr_len, (size_t)plan.frame_len)) ||
	    (text_len && read(ctx, o->text_start, p + plan.hdr_len + plan.frame_len, (size_t)text_len))) {
		free(p);
		return klp_image_bad(e, at, "unwind tables that cannot be read");
	}
	*storage = p;
	return 0;
}
