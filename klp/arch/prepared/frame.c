/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uc_stack.ss_flags is invalid on purpose: the kernel then leaves the alternate stack alone. The restorer is in the
 * link register.
 */
#include "klp/arch/prepared/frame.h"

#include <errno.h>
#include <stdlib.h>

#define FRAME_STACK_FLAGS 152u /* uc_stack.ss_flags */
#define FRAME_MASK 168u        /* uc_sigmask */
#define BAD_STACK_FLAGS 0x40000000u

void klp_frame_prepare(void)
{
	/* Every size is in the state itself. */
}

size_t klp_frame_size(pid_t tid)
{
	struct klp_extended *x = malloc(klp_extended_size);
	size_t n = x && !klp_extended_get(tid, x) ? klp_extended_frame_size(x) : 0;

	free(x);
	return n;
}

size_t klp_frame_bare_size(void)
{
	return KLP_FRAME_SIZE;
}

size_t klp_frame_argument(unsigned arg)
{
	return arg < 8 ? KLP_FRAME_ARGS + 8 * arg : 0;
}

static int klp_frame_put(const struct klp_extended *x, const struct klp_registers *regs, uint64_t mask, uint64_t at,
			 uint8_t *out, size_t len)
{
	if (len < (x ? klp_extended_frame_size(x) : KLP_FRAME_SIZE) || (at & 15))
		return -ENOSPC;
	memset(out, 0, KLP_FRAME_SIZE);
	klp_frame_put32(out + FRAME_STACK_FLAGS, BAD_STACK_FLAGS);
	klp_frame_put64(out + FRAME_MASK, mask);
	memcpy(out + KLP_FRAME_REGS, &regs->user, sizeof(regs->user));
	klp_extended_put(x, at, out);
	return 0;
}

int klp_frame_build_bare(const struct klp_registers *regs, uint64_t mask, uint64_t restorer, uint64_t at, uint8_t *out,
			 size_t len)
{
	(void)restorer;
	return klp_frame_put(NULL, regs, mask, at, out, len);
}

int klp_frame_build(pid_t tid, const struct klp_registers *regs, uint64_t mask, uint64_t restorer, uint64_t at,
		    uint8_t *out, size_t len)
{
	struct klp_extended *x = malloc(klp_extended_size);
	int rc = x ? klp_extended_get(tid, x) : -ENOMEM;

	(void)restorer;
	if (!rc)
		rc = klp_frame_put(x, regs, mask, at, out, len);
	free(x);
	return rc;
}
