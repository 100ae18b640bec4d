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
#include "klp/arch/prepared/frame.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#define FRAME_RECORDS 592u

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

struct klp_extended {
	struct {
		uint8_t v[32][16];
		uint32_t fpsr, fpcr, pad[2];
	} fpsimd;
	struct sve_head sve;
	uint8_t sve_regs[SVE_MAX];
	size_t sve_len; /* 0: none */
};

const size_t klp_extended_size = sizeof(struct klp_extended);

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

int klp_extended_get(pid_t tid, struct klp_extended *x)
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

static size_t sve_record(const struct klp_extended *x)
{
	return x->sve_len ? 16 + round_up(x->sve_len, 16) : 0;
}

/* Behind fpsimd_context, with the record that ends the list. */
static bool sve_fits(const struct klp_extended *x)
{
	return FPSIMD_SIZE + sve_record(x) + RECORD_HEAD <= 4096;
}

size_t klp_extended_frame_size(const struct klp_extended *x)
{
	if (sve_fits(x))
		return KLP_FRAME_SIZE;
	return round_up(FRAME_RECORDS + FPSIMD_SIZE + EXTRA_SIZE + 16 + sve_record(x) + 16, 64) > KLP_FRAME_SIZE
		   ? round_up(FRAME_RECORDS + FPSIMD_SIZE + EXTRA_SIZE + 16 + sve_record(x) + 16, 64)
		   : KLP_FRAME_SIZE;
}

static uint8_t *put_fpsimd(uint8_t *at, const struct klp_extended *x)
{
	klp_frame_put32(at, FPSIMD_MAGIC);
	klp_frame_put32(at + 4, FPSIMD_SIZE);
	klp_frame_put32(at + 8, x->fpsimd.fpsr);
	klp_frame_put32(at + 12, x->fpsimd.fpcr);
	memcpy(at + 16, x->fpsimd.v, sizeof(x->fpsimd.v));
	return at + FPSIMD_SIZE;
}

static uint8_t *put_sve(uint8_t *at, const struct klp_extended *x)
{
	klp_frame_put32(at, SVE_MAGIC);
	klp_frame_put32(at + 4, (uint32_t)sve_record(x));
	memcpy(at + 8, &x->sve.vl, sizeof(x->sve.vl));
	memcpy(at + 16, x->sve_regs, x->sve_len);
	return at + sve_record(x);
}

void klp_extended_put(const struct klp_extended *x, uint64_t at, uint8_t *out)
{
	static const struct klp_extended none;
	uint8_t *p = put_fpsimd(out + FRAME_RECORDS, x ? x : &none);

	if (!x || !x->sve_len)
		return;
	if (!sve_fits(x)) {
		klp_frame_put32(p, EXTRA_MAGIC);
		klp_frame_put32(p + 4, EXTRA_SIZE);
		p += EXTRA_SIZE + 16; /* the data begins behind the record that ends the list */
		klp_frame_put64(p - EXTRA_SIZE - 8, at + (uint64_t)(p - out));
		klp_frame_put32(p - EXTRA_SIZE, (uint32_t)(sve_record(x) + 16));
		memset(p, 0, sve_record(x) + 16);
	}
	put_sve(p, x);
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
