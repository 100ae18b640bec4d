/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The function that makes the C library's cancellable system calls (glibc from 2.41: __syscall_cancel_arch). It is a
 * leaf: where the return address is in a register, a thread that is blocked there has it nowhere that can be read
 * without stopping it. But it is called from one place only, so where it returns to is known, by identity as the ends
 * are (invariant U2):
 *
 *  - its code is what it must be: it changes neither stack pointer nor link register up to its one system call, behind
 *    which it returns (the architecture decodes it);
 *  - no other function of the library looks like it, and one direct call in all of the library's text leads to it; its
 * address is taken once more, by the cancellation handler, which compares it;
 *  - the frame of that caller, found by this, returns behind a direct call of that caller.
 *
 * The last one is looked at in each walk: a stack that does not agree is not reliable.
 */
#include "unwind/internal.h"

static bool klp_leaf_add(uint64_t *list, size_t *count, uint64_t v)
{
	if (*count == KLP_UNW_LEAF_CALLERS)
		return false;
	list[(*count)++] = v;
	return true;
}

/* Return addresses of the direct calls of `entry` in the text; false: too many, or a jump that leads there without a
 * call. */
static bool klp_leaf_calls(const struct klp_unw_arch *arch, const struct klp_unw_object *o, uint64_t entry,
			   uint64_t *list, size_t *count)
{
	*count = 0;
	for (size_t i = 0; i + arch->insn_step <= o->text_len; i += arch->insn_step) {
		uint64_t target, ret;
		bool links;

		if (!arch->direct_jump(o->text, o->text_len, i, o->text_start, &target, &ret, &links) ||
		    target != entry)
			continue;
		if (!links || !klp_leaf_add(list, count, ret))
			return false;
	}
	return *count > 0;
}

void klp_unw_find_leaf(const struct klp_unw_arch *arch, struct klp_unw_image *im, const struct klp_unw_object *o)
{
	struct klp_unw_leaf leaf = {0};
	const struct klp_unw_fde *caller;
	size_t count;

	if (!arch->cancel_leaf || !o->libc || !o->text)
		return;
	for (size_t i = 0; i < im->fde_count; i++) {
		const struct klp_unw_fde *f = &im->fde[i];
		uint64_t at =
		    f->overlaps ? 0 : arch->cancel_leaf(o->text, o->text_len, o->text_start, f->start, f->end);

		if (!at)
			continue;
		if (leaf.at)
			return;
		leaf.at = at;
		leaf.start = f->start;
	}
	if (!leaf.at || !klp_leaf_calls(arch, o, leaf.start, leaf.outer, &count) || count != 1)
		return;
	leaf.ret = leaf.outer[0];
	caller = klp_unw_find_fde(im, leaf.ret - 1);
	if (!caller || caller->overlaps || !klp_leaf_calls(arch, o, caller->start, leaf.outer, &leaf.outer_count))
		return;
	im->leaf = leaf;
}

bool klp_unw_leaf_returns(const struct klp_unw_leaf *leaf, uint64_t pc)
{
	for (size_t i = 0; i < leaf->outer_count; i++)
		if (leaf->outer[i] == pc)
			return true;
	return false;
}
