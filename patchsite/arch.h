/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an architecture fills in for patch sites (arch/<name>/site.c). Generic code finds it by the ELF machine number,
 * which is also what the public functions take as `arch`.
 */
#ifndef KLP_PATCHSITE_ARCH_H
#define KLP_PATCHSITE_ARCH_H

#include "patchsite/patchsite.h"

/* Longest prefix that is believed; -fpatchable-function-entry itself accepts 65535, nobody has a use for that. */
#define KLP_SITE_MAX_PREFIX 4096u

struct klp_site_arch {
	unsigned machine; /* EM_* */
	const char *name;
	unsigned alignment; /* of instructions */
	/* As klp_site_decode, for a function with a prefix of NOPs: s has entry, prefix and prefix_len; code is that at
	 * the entry, len > 0 bytes of it. */
	int (*decode)(const uint8_t *code, size_t len, struct klp_site *s, struct klp_error *e);
	/* The stores from dormant to armed, in order. Disarming is the same backwards. */
	size_t (*arm_stores)(const struct klp_site *s, struct klp_site_store out[KLP_SITE_MAX_STORES]);
	enum klp_site_state (*state)(const struct klp_site *s, const uint8_t *bytes, size_t len, size_t *done);
	/* Bytes of the landing pad (ENDBR, BTI) at p, 0 if there is none. */
	size_t (*landing_pad)(const uint8_t *p, size_t len);
	/* [p, p + len) is a sequence of whole no-operation instructions. */
	bool (*all_nops)(const uint8_t *p, size_t len);
	/* As klp_site_hide_probe. */
	bool (*hide_probe)(uint8_t *p, size_t len);
	/* Bytes that arming changes; the body begins behind them. */
	unsigned (*site_len)(enum klp_site_layout layout);
	/* Relocation types: an absolute 64-bit address, and "load address + addend". */
	unsigned reloc_abs64, reloc_relative;
};

/* NULL: klp does not know this machine. */
const struct klp_site_arch *klp_site_arch_find(unsigned machine);

extern const struct klp_site_arch klp_site_arch_x86_64;
extern const struct klp_site_arch klp_site_arch_aarch64;
extern const struct klp_site_arch klp_site_arch_riscv64;

#endif
