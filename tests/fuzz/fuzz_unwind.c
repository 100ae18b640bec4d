/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unwind tables and a stack of arbitrary bytes: an object is added and walked from several places. Whatever the tables
 * say, the walk ends, reads only what it may, and a verdict "reliable" has the properties that it promises.
 *
 * The input: struct head, .eh_frame_hdr, the stack, and the rest is .eh_frame.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "unwind/image.h"
#include "unwind/unwind.h"

#define STACK 0x7ff000000000ull
#define TEXT_MAX (1u << 20)
#define WALKS 16u

struct head {
	uint32_t text, text_len, frame_addr, hdr_addr;
	uint16_t hdr_len, stack_len;
	uint8_t flags, slack;
	uint16_t entry;
	uint16_t pc[WALKS];
};
enum { MAIN_THREAD = 1, LIBC = 2, CALLED = 4, ALL_KNOWN = 8, PREFIX = 16 };

struct memory {
	const uint8_t *bytes;
	uint64_t at;
	size_t len;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int read_memory(void *ctx, uint64_t addr, void *buf, size_t len)
{
	const struct memory *m = ctx;

	if (addr < m->at || addr - m->at > m->len || len > m->len - (addr - m->at))
		return -EFAULT;
	memcpy(buf, m->bytes + (addr - m->at), len);
	return 0;
}

/* What a trace must be, reliable or not (invariants U1, U2, U4). */
static void check_trace(const struct klp_unw_space *s, const struct head *h, const struct klp_unw_thread *th,
			const struct klp_unw_trace *t, bool called)
{
	if (t->count > KLP_UNW_MAX_FRAMES || (t->count && t->frame_no >= t->count))
		abort();
	for (size_t i = 0; i < t->count; i++) {
		const struct klp_unw_frame *f = &t->frame[i];

		if (f->lookup != f->pc - called)
			abort();
		called = !f->signal;
		if (t->verdict != KLP_OK)
			continue;
		if (f->lookup < h->text || f->lookup - h->text >= h->text_len || f->lookup < f->fde_start ||
		    f->lookup >= f->fde_end || klp_unw_is_end(s, f->lookup) != (i + 1 == t->count))
			abort();
	}
	if (t->verdict == KLP_OK && (!t->count || t->frame[t->count - 1].cfa > th->stack_high + 16 ||
				     t->frame[t->count - 1].cfa + th->top_slack < th->stack_high))
		abort();
}

static void walk_all(const struct klp_unw_space *s, const struct head *h, struct memory *stack)
{
	static struct klp_unw_trace t;
	struct klp_unw_thread th = {.stack_low = STACK,
				    .stack_high = STACK + stack->len,
				    .top_slack = h->slack,
				    .main_thread = h->flags & MAIN_THREAD};

	for (unsigned i = 0; i < WALKS; i++) {
		struct klp_unw_regs regs = {.known = 1u << 7, .called = h->flags & CALLED};

		regs.pc = h->text + (uint64_t)h->pc[i];
		regs.r[7] = STACK;
		if (h->flags & ALL_KNOWN) {
			regs.known = 0x1ffff;
			regs.r[6] = STACK + stack->len / 2;
		}
		klp_unw_walk(s, &regs, &th, read_memory, stack, &t);
		check_trace(s, h, &th, &t, regs.called);
	}
}

/* The same bytes as an image in memory, of which the tables have to be found. */
static void read_image(const uint8_t *data, size_t size)
{
	struct memory m = {data, 0x400000, size};
	struct klp_unw_object o = {.libc = size & 1};
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_unw_space *s;
	void *storage = NULL;

	if (klp_unw_object_from_memory(m.at, read_memory, &m, &o, &storage, &e))
		return;
	s = klp_unw_space_new(EM_X86_64);
	if (!s)
		abort();
	klp_unw_add_object(s, &o, &e);
	for (uint64_t i = 0; i < 64; i++)
		klp_unw_is_end(s, o.text_start + i * 32);
	klp_unw_space_free(s);
	free(storage);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t text[TEXT_MAX];
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_unw_object o = {0};
	struct klp_unw_space *s;
	struct memory stack;
	struct head h;

	if (size >= 4 && !memcmp(data, ELFMAG, SELFMAG)) {
		read_image(data, size);
		return 0;
	}
	if (size < sizeof(h))
		return 0;
	memcpy(&h, data, sizeof(h));
	data += sizeof(h);
	size -= sizeof(h);
	h.text_len = h.text_len % TEXT_MAX + 1;
	if (h.text > UINT32_MAX - h.text_len || h.hdr_len > size || h.stack_len > size - h.hdr_len)
		return 0;
	o.text_start = h.text;
	o.text_end = h.text + h.text_len;
	o.eh_frame_hdr = h.hdr_len ? data : NULL;
	o.eh_frame_hdr_len = h.hdr_len;
	o.eh_frame_hdr_addr = h.hdr_addr;
	stack = (struct memory){data + h.hdr_len, STACK, h.stack_len};
	o.eh_frame_len = size - h.hdr_len - h.stack_len;
	o.eh_frame = o.eh_frame_len ? data + h.hdr_len + h.stack_len : NULL;
	o.eh_frame_addr = h.frame_addr;
	o.entry = h.text + (uint64_t)h.entry;
	if (h.flags & LIBC) {
		size_t n = stack.len < h.text_len ? stack.len : h.text_len;

		memset(text, 0x90, sizeof(text));
		memcpy(text, stack.bytes, n);
		o.libc = true;
		o.text = text;
		o.text_len = h.text_len;
	}
	s = klp_unw_space_new(EM_X86_64);
	if (!s)
		abort();
	if (h.flags & PREFIX)
		klp_unw_add_range(s, h.text + 64u, h.text + 80u, KLP_UNW_RANGE_PREFIX, &e);
	if (klp_unw_add_object(s, &o, &e) >= 0)
		walk_all(s, &h, &stack);
	klp_unw_space_free(s);
	return 0;
}
