/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rt_sigframe of x86_64, from the address where the restorer's `ret` pops it:
 *
 *	  0	pretcode: the restorer
 *	  8	uc_flags  16 uc_link  24 uc_stack {sp, flags, size}  48 sigcontext  304 uc_sigmask
 *	312	siginfo (128 bytes, not read by rt_sigreturn)
 *	448	extended state, aligned to 64, as xsave writes it, with the FP_XSTATE magics that make the kernel
 *restore all of it
 *
 * uc_stack.ss_flags is invalid on purpose: the kernel then leaves the alternate stack alone.
 */
#include "klp/frame.h"

#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#define FRAME_UC 8u
#define FRAME_STACK_FLAGS 32u
#define FRAME_CONTEXT 48u
#define FRAME_MASK 304u
#define FRAME_XSTATE 448u
#define CONTEXT_FPSTATE 184u /* in sigcontext */
#define XSTATE_SW 464u       /* sw_reserved in the legacy area */
#define XSTATE_MAX 12288u
#define MAGIC1 0x46505853u
#define MAGIC2 0x46505845u
#define UC_FLAGS 7u /* UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS */
#define BAD_STACK_FLAGS 0x40000000u

#define XSTATE_IN_USE 512u /* in the header: the components that are not in their initial state */
#define XSTATE_LEAST 576u  /* legacy area and header */
#define XSTATE_COMPONENTS 63u

#define XSTATE_ASKED_FOR 4u /* cpuid 0xd, ecx: a thread may use the component when its process has asked for it */

/*
 * Where each component ends in the standard format (0: the processor has none of that number), and whether a thread has
 * it only when its process has asked for it. The processor is asked once and before any stop: in a virtual machine each
 * cpuid is an exit to the hypervisor (7 us were measured), and no thread is to wait for that.
 */
static struct {
	size_t end;
	bool asked_for;
} xstate[XSTATE_COMPONENTS];
static pthread_once_t xstate_once = PTHREAD_ONCE_INIT;

static void xstate_ask(void)
{
	unsigned low = 0, high = 0, size, offset, flags, unused;

	if (!__get_cpuid_count(0xd, 0, &low, &offset, &flags, &high))
		return;
	for (unsigned i = 2; i < XSTATE_COMPONENTS; i++) {
		if (!(((uint64_t)high << 32 | low) >> i & 1))
			continue;
		__cpuid_count(0xd, i, size, offset, flags, unused);
		xstate[i].end = size ? (size_t)offset + size : 0;
		xstate[i].asked_for = flags & XSTATE_ASKED_FOR;
	}
}

void klp_frame_prepare(void)
{
	pthread_once(&xstate_once, xstate_ask);
}

/*
 * ptrace's area has room for all that the processor has. rt_sigreturn takes an area that is larger than this thread may
 * use for a damaged one and restores the legacy part alone (check_xstate_in_sigframe in the kernel). What a thread may
 * not use unless it has asked for it (AMX: 8 KiB, the last ones) is in the frame only if it is in use: else it is in
 * its initial state, and comes back in that.
 */
static size_t xstate_used(const uint8_t *buf, size_t len)
{
	size_t used = XSTATE_LEAST;
	uint64_t in_use;

	memcpy(&in_use, buf + XSTATE_IN_USE, 8);
	for (unsigned i = 2; i < XSTATE_COMPONENTS; i++)
		if ((!xstate[i].asked_for || in_use >> i & 1) && xstate[i].end <= len && xstate[i].end > used)
			used = xstate[i].end;
	return used;
}

static int xstate_get(pid_t tid, uint8_t *buf, size_t *len)
{
	struct iovec v = {buf, XSTATE_MAX};

	klp_frame_prepare();
	if (ptrace(PTRACE_GETREGSET, tid, (void *)NT_X86_XSTATE, &v))
		return -errno;
	if (v.iov_len < XSTATE_LEAST)
		return -EINVAL;
	*len = xstate_used(buf, v.iov_len);
	return 0;
}

size_t klp_frame_size(pid_t tid)
{
	uint8_t buf[XSTATE_MAX];
	size_t len = 0;

	return xstate_get(tid, buf, &len) ? 0 : FRAME_XSTATE + ((len + 4 + 63) & ~(size_t)63);
}

size_t klp_frame_bare_size(void)
{
	return FRAME_XSTATE;
}

/* In struct sigcontext: r8 to r15, rdi, rsi, rbp, rbx, rdx. */
size_t klp_frame_argument(unsigned arg)
{
	return arg == 2 ? FRAME_CONTEXT + 12 * 8 : arg == 3 ? FRAME_CONTEXT + 2 * 8 : 0;
}

static void put64(uint8_t *at, uint64_t v)
{
	memcpy(at, &v, 8);
}

int klp_frame_build_bare(const struct klp_registers *regs, uint64_t mask, uint64_t restorer, uint64_t at, uint8_t *out,
			 size_t len)
{
	const struct user_regs_struct *r = &regs->user;
	const uint64_t context[18] = {r->r8,  r->r9,  r->r10, r->r11, r->r12, r->r13, r->r14, r->r15, r->rdi,
				      r->rsi, r->rbp, r->rbx, r->rdx, r->rax, r->rcx, r->rsp, r->rip, r->eflags};
	uint16_t selectors[4] = {(uint16_t)r->cs, (uint16_t)r->gs, (uint16_t)r->fs, (uint16_t)r->ss};

	(void)at;
	if (len < FRAME_XSTATE)
		return -ENOSPC;
	memset(out, 0, FRAME_XSTATE);
	put64(out, restorer);
	put64(out + FRAME_UC, UC_FLAGS & ~1u);
	put64(out + FRAME_STACK_FLAGS, BAD_STACK_FLAGS);
	memcpy(out + FRAME_CONTEXT, context, sizeof(context));
	memcpy(out + FRAME_CONTEXT + sizeof(context), selectors, sizeof(selectors));
	put64(out + FRAME_MASK, mask);
	return 0;
}

int klp_frame_build(pid_t tid, const struct klp_registers *regs, uint64_t mask, uint64_t restorer, uint64_t at,
		    uint8_t *out, size_t len)
{
	uint32_t magic = MAGIC1, end = MAGIC2, size, extended;
	uint8_t buf[XSTATE_MAX];
	uint64_t features;
	size_t n = 0;
	int rc = xstate_get(tid, buf, &n);

	if (!rc)
		rc = klp_frame_build_bare(regs, mask, restorer, at, out, len);
	if (rc)
		return rc;
	if (len < FRAME_XSTATE + n + 4 || (at & 63))
		return -ENOSPC;
	put64(out + FRAME_UC, UC_FLAGS);
	put64(out + FRAME_CONTEXT + CONTEXT_FPSTATE, at + FRAME_XSTATE);
	memcpy(&features, buf + XSTATE_SW, 8); /* the kernel's word for XCR0 */
	for (unsigned i = 2; i < XSTATE_COMPONENTS; i++)
		if (features >> i & 1 && xstate[i].end > n)
			features &= ~(1ull << i);
	size = (uint32_t)n;
	extended = size + 4;
	memcpy(out + FRAME_XSTATE, buf, n);
	memset(out + FRAME_XSTATE + XSTATE_SW, 0, 48);
	memcpy(out + FRAME_XSTATE + XSTATE_SW, &magic, 4);
	memcpy(out + FRAME_XSTATE + XSTATE_SW + 4, &extended, 4);
	memcpy(out + FRAME_XSTATE + XSTATE_SW + 8, &features, 8);
	memcpy(out + FRAME_XSTATE + XSTATE_SW + 16, &size, 4);
	memcpy(out + FRAME_XSTATE + n, &end, 4);
	return 0;
}

int klp_frame_gadgets(const struct klp_process *p, uint64_t *gadget, uint64_t *restorer, struct klp_error *e)
{
	static const uint8_t call[] = {0x0f, 0x05, 0xc3};
	static const uint8_t back[] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05};
	static const uint8_t back_short[] = {0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05};

	*gadget = klp_frame_find_code(p, call, sizeof(call), 1, false);
	*restorer = klp_frame_find_code(p, back, sizeof(back), 1, false);
	if (!*restorer)
		*restorer = klp_frame_find_code(p, back_short, sizeof(back_short), 1, false);
	if (!*gadget || !*restorer)
		return klp_fail(e, ENOTSUP, KLP_NO_BORROW,
				"process %d has no '%s' in its text, which a borrowed thread would need", p->pid,
				*gadget ? "rt_sigreturn" : "syscall; ret");
	return 0;
}
