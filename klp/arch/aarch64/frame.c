/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rt_sigframe of arm64, from the stack pointer that rt_sigreturn finds it at (a multiple of 16):
 *
 *	  0	siginfo (128 bytes, not read by rt_sigreturn)
 *	128	uc_flags  136 uc_link  144 uc_stack {sp, flags, size}  168 uc_sigmask
 *	304	sigcontext: fault address, x0 to x30, sp, pc, pstate
 *	592	records {magic, size, ...}, 4096 bytes, ended by {0, 0}:
 *		fpsimd_context, without which a frame is not accepted
 *		sve_context, if the thread has SVE registers in use; where it does not fit, extra_context
 *	4688	(extra_context's data)
 *
 * uc_stack.ss_flags is invalid on purpose: the kernel then leaves the alternate stack alone. A thread that is stopped
 *in a system call has no SVE state beyond the vector registers (the call drops it). One that has SME state in use is
 *not borrowed.
 */
#include "klp/frame.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#define FRAME_STACK_FLAGS 152u
#define FRAME_MASK 168u
#define FRAME_REGS 312u /* x0 */
#define FRAME_RECORDS 592u
#define FRAME_SIZE 4736u /* 4688, to a multiple of 64 */
#define BAD_STACK_FLAGS 0x40000000u

#define FPSIMD_MAGIC 0x46508001u
#define FPSIMD_SIZE 528u
#define SVE_MAGIC 0x53564501u
#define EXTRA_MAGIC 0x45585401u
#define EXTRA_SIZE 32u
#define RECORD_HEAD 8u
#define SVE_MAX 17408u /* of the register set at the largest vector length */
#define KLP_NT_ARM_SSVE 0x40b
#define KLP_NT_ARM_ZA 0x40c
#define SVE_REGS_SVE 1u /* of flags: the set holds SVE registers, not vector registers */

/* The head of NT_ARM_SVE and NT_ARM_SSVE (struct user_sve_header), and of NT_ARM_ZA. */
struct sve_head {
	uint32_t size, max_size;
	uint16_t vl, max_vl, flags, reserved;
};

struct extended {
	struct {
		uint8_t v[32][16];
		uint32_t fpsr, fpcr, pad[2];
	} fpsimd;
	struct sve_head sve;
	uint8_t sve_regs[SVE_MAX];
	size_t sve_len; /* 0: none */
};

static bool regset(pid_t tid, unsigned set, void *buf, size_t *len)
{
	struct iovec v = {buf, *len};

	if (ptrace(PTRACE_GETREGSET, tid, (void *)(uintptr_t)set, &v))
		return false;
	*len = v.iov_len;
	return true;
}

/* Z, P and FFR registers of a vector length in bytes. */
static size_t sve_bytes(unsigned vl)
{
	return 32u * vl + 16u * (vl / 8u) + vl / 8u;
}

static int extended_get(pid_t tid, struct extended *x)
{
	size_t len = sizeof(x->fpsimd);
	struct sve_head head;
	struct {
		struct sve_head head;
		uint8_t regs[SVE_MAX];
	} * sve;

	if (!regset(tid, NT_PRFPREG, &x->fpsimd, &len) || len != sizeof(x->fpsimd))
		return -EINVAL;
	x->sve_len = 0;
	len = sizeof(head);
	if (regset(tid, KLP_NT_ARM_ZA, &head, &len) && len >= sizeof(head) && head.size > sizeof(head))
		return -EINVAL; /* ZA is in use */
	len = sizeof(head);
	if (regset(tid, KLP_NT_ARM_SSVE, &head, &len) && len >= sizeof(head) && (head.flags & SVE_REGS_SVE))
		return -EINVAL; /* streaming mode */
	len = sizeof(head);
	if (!regset(tid, NT_ARM_SVE, &head, &len) || len < sizeof(head) || !(head.flags & SVE_REGS_SVE))
		return 0;
	sve = malloc(sizeof(*sve));
	if (!sve)
		return -ENOMEM;
	len = sizeof(*sve);
	if (!regset(tid, NT_ARM_SVE, sve, &len) || len < sizeof(sve->head) ||
	    sve_bytes(sve->head.vl) > len - sizeof(sve->head) || !sve->head.vl) {
		free(sve);
		return -EINVAL;
	}
	x->sve = sve->head;
	x->sve_len = sve_bytes(sve->head.vl);
	memcpy(x->sve_regs, sve->regs, x->sve_len);
	free(sve);
	return 0;
}

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

static size_t sve_record(const struct extended *x)
{
	return x->sve_len ? 16 + round_up(x->sve_len, 16) : 0;
}

/* Behind fpsimd_context, with the record that ends the list. */
static bool sve_fits(const struct extended *x)
{
	return FPSIMD_SIZE + sve_record(x) + RECORD_HEAD <= 4096;
}

static size_t size_of(const struct extended *x)
{
	if (sve_fits(x))
		return FRAME_SIZE;
	return round_up(FRAME_RECORDS + FPSIMD_SIZE + EXTRA_SIZE + 16 + sve_record(x) + 16, 64) > FRAME_SIZE
		   ? round_up(FRAME_RECORDS + FPSIMD_SIZE + EXTRA_SIZE + 16 + sve_record(x) + 16, 64)
		   : FRAME_SIZE;
}

size_t klp_frame_size(pid_t tid)
{
	struct extended *x = malloc(sizeof(*x));
	size_t n = x && !extended_get(tid, x) ? size_of(x) : 0;

	free(x);
	return n;
}

size_t klp_frame_bare_size(void)
{
	return FRAME_SIZE;
}

size_t klp_frame_argument(unsigned arg)
{
	return arg < 8 ? FRAME_REGS + 8 * arg : 0;
}

static void put32(uint8_t *at, uint32_t v)
{
	memcpy(at, &v, 4);
}

static void put64(uint8_t *at, uint64_t v)
{
	memcpy(at, &v, 8);
}

static uint8_t *put_fpsimd(uint8_t *at, const struct extended *x)
{
	put32(at, FPSIMD_MAGIC);
	put32(at + 4, FPSIMD_SIZE);
	put32(at + 8, x->fpsimd.fpsr);
	put32(at + 12, x->fpsimd.fpcr);
	memcpy(at + 16, x->fpsimd.v, sizeof(x->fpsimd.v));
	return at + FPSIMD_SIZE;
}

static uint8_t *put_sve(uint8_t *at, const struct extended *x)
{
	put32(at, SVE_MAGIC);
	put32(at + 4, (uint32_t)sve_record(x));
	memcpy(at + 8, &x->sve.vl, sizeof(x->sve.vl));
	memcpy(at + 16, x->sve_regs, x->sve_len);
	return at + sve_record(x);
}

int klp_frame_build_bare(const struct klp_registers *regs, uint64_t mask, uint64_t restorer, uint64_t at, uint8_t *out,
			 size_t len)
{
	static const struct extended none;

	(void)restorer; /* in x30 */
	if (len < FRAME_SIZE || (at & 15))
		return -ENOSPC;
	memset(out, 0, FRAME_SIZE);
	put32(out + FRAME_STACK_FLAGS, BAD_STACK_FLAGS);
	put64(out + FRAME_MASK, mask);
	memcpy(out + FRAME_REGS, &regs->user, sizeof(regs->user));
	put_fpsimd(out + FRAME_RECORDS, &none);
	return 0;
}

static int build(const struct extended *x, const struct klp_registers *regs, uint64_t mask, uint64_t at, uint8_t *out,
		 size_t len)
{
	uint8_t *p;
	int rc = len < size_of(x) ? -ENOSPC : klp_frame_build_bare(regs, mask, 0, at, out, len);

	if (rc)
		return rc;
	p = put_fpsimd(out + FRAME_RECORDS, x);
	if (!x->sve_len)
		return 0;
	if (!sve_fits(x)) {
		put32(p, EXTRA_MAGIC);
		put32(p + 4, EXTRA_SIZE);
		p += EXTRA_SIZE + 16; /* the data begins behind the record that ends the list */
		put64(p - EXTRA_SIZE - 8, at + (uint64_t)(p - out));
		put32(p - EXTRA_SIZE, (uint32_t)(sve_record(x) + 16));
		memset(p, 0, sve_record(x) + 16);
	}
	put_sve(p, x);
	return 0;
}

int klp_frame_build(pid_t tid, const struct klp_registers *regs, uint64_t mask, uint64_t restorer, uint64_t at,
		    uint8_t *out, size_t len)
{
	struct extended *x = malloc(sizeof(*x));
	int rc = x ? extended_get(tid, x) : -ENOMEM;

	(void)restorer;
	if (!rc)
		rc = build(x, regs, mask, at, out, len);
	free(x);
	return rc;
}

int klp_frame_gadgets(const struct klp_process *p, uint64_t *gadget, uint64_t *restorer, struct klp_error *e)
{
	static const uint8_t call[] = {0x01, 0x00, 0x00, 0xd4, 0xc0, 0x03, 0x5f, 0xd6}; /* svc #0; ret */
	static const uint8_t back[] = {0x68, 0x11, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4}; /* mov x8, #139; svc #0 */

	*gadget = klp_frame_find_code(p, call, sizeof(call), 4, true);
	*restorer = klp_frame_find_code(p, back, sizeof(back), 4, true);
	if (!*gadget || !*restorer)
		return klp_fail(e, ENOTSUP, KLP_NO_BORROW,
				"process %d has no '%s' in its text, which a borrowed thread would need", p->pid,
				*gadget ? "rt_sigreturn" : "svc #0; ret");
	return 0;
}
