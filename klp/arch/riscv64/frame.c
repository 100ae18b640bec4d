/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rt_sigframe of riscv64, from the stack pointer that rt_sigreturn finds it at (a multiple of 16):
 *
 *	  0	siginfo (128 bytes, not read by rt_sigreturn)
 *	128	uc_flags  136 uc_link  144 uc_stack {sp, flags, size}  168 uc_sigmask
 *	304	sigcontext: pc, x1 to x31
 *	560	f0 to f31, fcsr; zeros to
 *	1080	records {magic, size, ...}, ended by {0, 0}: the vector registers, if the thread has them in use:
 *		{magic, size, vstart, vl, vtype, vcsr, vlenb, pointer to their bytes}, and these bytes
 *
 * The kernel accepts the record of vector registers from a thread only that has them in use.
 */
#include "klp/arch/prepared/frame.h"

#include <elf.h>
#include <errno.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#define FRAME_FP 560u
#define FRAME_RECORDS 1080u

#define KLP_NT_RISCV_VECTOR 0x900
#define V_MAGIC 0x53465457u
#define V_HEAD 8u   /* magic, size */
#define V_STATE 48u /* five words and the pointer */
#define V_WORDS 40u /* the five words, as the register set begins */
#define V_MAX 8192u /* of 32 registers of 256 bytes */

struct klp_extended {
	uint64_t f[33]; /* fcsr is the last */
	struct {
		uint64_t vstart, vl, vtype, vcsr, vlenb;
		uint8_t regs[V_MAX];
	} v;
	size_t v_len; /* bytes of regs in use; 0: no vector registers are */
};

const size_t klp_extended_size = sizeof(struct klp_extended);

_Static_assert(offsetof(struct klp_extended, v.regs) - offsetof(struct klp_extended, v) == V_WORDS,
	       "the register set's head");

int klp_extended_get(pid_t tid, struct klp_extended *x)
{
	struct iovec f = {x->f, sizeof(x->f)}, v = {&x->v, sizeof(x->v)};

	memset(x->f, 0, sizeof(x->f));
	x->v_len = 0;
	if (ptrace(PTRACE_GETREGSET, tid, (void *)NT_PRFPREG, &f) || f.iov_len < sizeof(x->f))
		return -EINVAL;
	if (ptrace(PTRACE_GETREGSET, tid, (void *)KLP_NT_RISCV_VECTOR, &v))
		return 0; /* no such registers, or not in use */
	/* Larger ones than there is room for are seen by their length. */
	if (v.iov_len < V_WORDS || !x->v.vlenb || x->v.vlenb > V_MAX / 32 || v.iov_len < V_WORDS + 32 * x->v.vlenb)
		return -EINVAL;
	x->v_len = (size_t)(32 * x->v.vlenb);
	return 0;
}

static size_t v_record(const struct klp_extended *x)
{
	return x->v_len ? V_HEAD + V_STATE + x->v_len : 0;
}

size_t klp_extended_frame_size(const struct klp_extended *x)
{
	return (FRAME_RECORDS + v_record(x) + V_HEAD + 63) & ~(size_t)63;
}

void klp_extended_put(const struct klp_extended *x, uint64_t at, uint8_t *out)
{
	uint8_t *p = out + FRAME_RECORDS;

	if (!x)
		return; /* zeros end the list */
	memcpy(out + FRAME_FP, x->f, sizeof(x->f));
	klp_frame_put32(out + FRAME_FP + 32 * 8 + 4, 0); /* behind fcsr, which has 32 bits */
	if (x->v_len) {
		klp_frame_put32(p, V_MAGIC);
		klp_frame_put32(p + 4, (uint32_t)v_record(x));
		memcpy(p + V_HEAD, &x->v, V_WORDS);
		klp_frame_put64(p + V_HEAD + V_WORDS, at + FRAME_RECORDS + V_HEAD + V_STATE);
		memcpy(p + V_HEAD + V_STATE, x->v.regs, x->v_len);
		p += v_record(x);
	}
	memset(p, 0, V_HEAD);
}

int klp_frame_gadgets(const struct klp_process *p, uint64_t *gadget, uint64_t *restorer, struct klp_error *e)
{
	static const uint8_t call[] = {0x73, 0, 0, 0, 0x82, 0x80};             /* ecall; c.jr ra */
	static const uint8_t call_long[] = {0x73, 0, 0, 0, 0x67, 0x80, 0, 0};  /* ecall; jalr x0, 0(ra) */
	static const uint8_t back[] = {0x93, 0x08, 0xb0, 0x08, 0x73, 0, 0, 0}; /* li a7, 139; ecall */

	*gadget = klp_frame_find_code(p, call, sizeof(call), 2, true);
	if (!*gadget)
		*gadget = klp_frame_find_code(p, call_long, sizeof(call_long), 2, true);
	*restorer = klp_frame_find_code(p, back, sizeof(back), 2, true);
	if (!*gadget || !*restorer)
		return klp_fail(e, ENOTSUP, KLP_NO_BORROW,
				"process %d has no '%s' in its text, which a borrowed thread would need", p->pid,
				*gadget ? "rt_sigreturn" : "ecall; ret");
	return 0;
}
