/* SPDX-License-Identifier: Apache-2.0 */
/* .eh_frame_hdr and .eh_frame: which FDE covers an address. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "unwind/internal.h"

struct klp_unw_head {
	struct klp_cursor c; /* of the content; pos is behind the id field */
	size_t id_pos, next;
	uint64_t id;
};

/* 1: a record, 0: the terminator or the end, negative: damaged */
static int klp_unw_parse_head(const struct klp_unw_image *im, size_t offset, struct klp_unw_head *h)
{
	struct klp_cursor c = {.base = im->eh_frame, .pos = offset, .end = im->eh_frame_len, .addr = im->eh_frame_addr};
	uint64_t len;

	if (offset >= im->eh_frame_len)
		return 0;
	len = klp_cursor_uint(&c, 4);
	if (!c.bad && !len)
		return 0;
	if (len == 0xffffffff)
		len = klp_cursor_uint(&c, 8);
	if (c.bad || len < 4 || len > c.end - c.pos)
		return -EINVAL;
	h->id_pos = c.pos;
	h->next = c.pos + (size_t)len;
	c.end = h->next;
	/* In .eh_frame the id has 4 bytes in both formats. */
	h->id = klp_cursor_uint(&c, 4);
	h->c = c;
	return c.bad ? -EINVAL : 1;
}

static int klp_unw_parse_cie(const struct klp_unw_image *im, size_t offset, struct klp_unw_cie *cie)
{
	struct klp_unw_head h;
	char aug[16];
	unsigned n = 0;
	uint64_t version;
	size_t aug_end = 0;

	*cie = (struct klp_unw_cie){0};
	if (klp_unw_parse_head(im, offset, &h) <= 0 || h.id != 0)
		return -EINVAL;
	version = klp_cursor_uint(&h.c, 1);
	if (version != 1 && version != 3)
		return -EINVAL;
	do {
		if (n == sizeof(aug))
			return -EINVAL;
		aug[n] = (char)klp_cursor_uint(&h.c, 1);
	} while (!h.c.bad && aug[n++]);
	if (h.c.bad)
		return -EINVAL;
	cie->code_align = klp_cursor_uleb(&h.c);
	cie->data_align = klp_cursor_sleb(&h.c);
	cie->ra = version == 1 ? klp_cursor_uint(&h.c, 1) : klp_cursor_uleb(&h.c);
	if (aug[0] && aug[0] != 'z')
		return -EINVAL;
	if (aug[0]) {
		uint64_t len = klp_cursor_uleb(&h.c);

		if (h.c.bad || len > h.c.end - h.c.pos)
			return -EINVAL;
		aug_end = h.c.pos + (size_t)len;
		cie->augmented = true;
	}
	for (n = 1; aug[0] && aug[n]; n++) {
		uint8_t enc;

		switch (aug[n]) {
		case 'R':
			cie->fde_enc = (uint8_t)klp_cursor_uint(&h.c, 1);
			break;
		case 'L':
			klp_cursor_uint(&h.c, 1);
			break;
		case 'P':
			/* Only its size matters: nobody follows the personality here. */
			enc = (uint8_t)klp_cursor_uint(&h.c, 1);
			klp_cursor_pointer(&h.c, enc & 0x0f, 0);
			break;
		case 'S':
			cie->signal = true;
			break;
		default: /* an unknown letter may change the meaning of the rules */
			return -EINVAL;
		}
	}
	if (h.c.bad || (aug[0] && h.c.pos > aug_end))
		return -EINVAL;
	cie->insn = aug[0] ? aug_end : h.c.pos;
	cie->insn_end = h.next;
	return 0;
}

static int klp_unw_parse_fde_head(const struct klp_unw_image *im, struct klp_unw_head *h, struct klp_unw_entry *out,
				  size_t *known)
{
	uint64_t len;
	size_t cie;

	if (h->id == 0 || h->id > h->id_pos)
		return -EINVAL;
	cie = h->id_pos - (size_t)h->id;
	if (cie != *known) {
		*known = SIZE_MAX;
		if (klp_unw_parse_cie(im, cie, &out->cie))
			return -EINVAL;
		*known = cie;
	}
	out->start = klp_cursor_pointer(&h->c, out->cie.fde_enc, im->hdr_addr);
	len = klp_cursor_pointer(&h->c, out->cie.fde_enc & 0x0f, 0);
	if (h->c.bad || !len || out->start + len < out->start)
		return -EINVAL;
	out->end = out->start + len;
	if (out->cie.augmented)
		klp_cursor_skip(&h->c, klp_cursor_uleb(&h->c));
	out->insn = h->c.pos;
	out->insn_end = h->next;
	return h->c.bad ? -EINVAL : 0;
}

int klp_unw_parse_next(const struct klp_unw_image *im, size_t offset, struct klp_unw_entry *out, size_t *known)
{
	struct klp_unw_head h;

	if (klp_unw_parse_head(im, offset, &h) <= 0)
		return -EINVAL;
	return klp_unw_parse_fde_head(im, &h, out, known);
}

int klp_unw_parse_fde(const struct klp_unw_image *im, size_t offset, struct klp_unw_entry *out)
{
	size_t known = SIZE_MAX;

	return klp_unw_parse_next(im, offset, out, &known);
}

static int klp_unw_append_fde(struct klp_unw_image *im, size_t *room, size_t offset, const struct klp_unw_entry *f)
{
	/* FDEs of discarded functions start at 0; whatever does not lie in the text says nothing. */
	if (f->start < im->text_start || f->end > im->text_end)
		return 0;
	if (im->fde_count == *room) {
		size_t n = *room ? *room * 2 : 256;
		struct klp_unw_fde *p = n > KLP_UNW_MAX_FDES ? NULL : realloc(im->fde, n * sizeof(*p));

		if (!p)
			return -ENOMEM;
		im->fde = p;
		*room = n;
	}
	im->fde[im->fde_count++] = (struct klp_unw_fde){.start = f->start, .end = f->end, .offset = offset};
	return 0;
}

static int klp_unw_compare_fdes(const void *a, const void *b)
{
	const struct klp_unw_fde *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* 1: the header has no search table that can be used */
static int klp_unw_index_hdr(struct klp_unw_image *im, const void *hdr, size_t hdr_len, size_t *room)
{
	struct klp_cursor c = {.base = hdr, .end = hdr_len, .addr = im->hdr_addr};
	uint8_t count_enc, table_enc, ptr_enc;
	struct klp_unw_entry f;
	size_t known = SIZE_MAX;
	uint64_t count;

	if (klp_cursor_uint(&c, 1) != 1)
		return 1;
	ptr_enc = (uint8_t)klp_cursor_uint(&c, 1);
	count_enc = (uint8_t)klp_cursor_uint(&c, 1);
	table_enc = (uint8_t)klp_cursor_uint(&c, 1);
	if (c.bad || ptr_enc == 0xff || count_enc == 0xff || table_enc == 0xff)
		return 1;
	klp_cursor_pointer(&c, ptr_enc, im->hdr_addr);
	count = klp_cursor_pointer(&c, count_enc, im->hdr_addr);
	if (c.bad || count > KLP_UNW_MAX_FDES)
		return 1;
	for (uint64_t i = 0; i < count; i++) {
		uint64_t start = klp_cursor_pointer(&c, table_enc, im->hdr_addr);
		uint64_t addr = klp_cursor_pointer(&c, table_enc, im->hdr_addr);
		int rc;

		if (c.bad)
			break;
		if (addr < im->eh_frame_addr || addr - im->eh_frame_addr >= im->eh_frame_len)
			continue;
		/* An entry that lies about its FDE is no row; what it hides is refused as NO_ROW. */
		if (klp_unw_parse_next(im, (size_t)(addr - im->eh_frame_addr), &f, &known) || f.start != start)
			continue;
		rc = klp_unw_append_fde(im, room, (size_t)(addr - im->eh_frame_addr), &f);
		if (rc)
			return rc;
	}
	return 0;
}

static int klp_unw_index_scan(struct klp_unw_image *im, size_t *room)
{
	struct klp_unw_head h;
	struct klp_unw_entry f;
	size_t known = SIZE_MAX;

	for (size_t off = 0; klp_unw_parse_head(im, off, &h) > 0; off = h.next) {
		int rc;

		if (h.id == 0 || klp_unw_parse_next(im, off, &f, &known))
			continue;
		rc = klp_unw_append_fde(im, room, off, &f);
		if (rc)
			return rc;
	}
	return 0;
}

int klp_unw_build_index(struct klp_unw_image *im, const void *hdr, size_t hdr_len, struct klp_error *e)
{
	uint64_t reach = 0;
	size_t room = 0, widest = 0;
	int rc = hdr && hdr_len ? klp_unw_index_hdr(im, hdr, hdr_len, &room) : 1;

	if (rc > 0)
		rc = klp_unw_index_scan(im, &room);
	if (rc)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for an index of unwind tables");
	if (im->fde_count)
		qsort(im->fde, im->fde_count, sizeof(*im->fde), klp_unw_compare_fdes);
	/* Two FDEs for one address: it cannot be known which one holds, so both are bad; and so is all that lies
	 * between. */
	for (size_t i = 0; i < im->fde_count; i++) {
		if (i && im->fde[i].start < reach)
			im->fde[i].overlaps = im->fde[widest].overlaps = true;
		if (im->fde[i].end > reach) {
			reach = im->fde[i].end;
			widest = i;
		}
	}
	return 0;
}

const struct klp_unw_fde *klp_unw_find_fde(const struct klp_unw_image *im, uint64_t lookup)
{
	size_t lo = 0, hi = im->fde_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (im->fde[mid].start <= lookup)
			lo = mid + 1;
		else
			hi = mid;
	}
	/* An address behind a short FDE inside a long one finds no row, which is the safe answer. */
	return lo && lookup < im->fde[lo - 1].end ? &im->fde[lo - 1] : NULL;
}
