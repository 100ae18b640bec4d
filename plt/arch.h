/* SPDX-License-Identifier: Apache-2.0 */
/* What an architecture fills in for PLT entries and stubs: arch/<name>/{prefix,stub}.c. The public functions are
 * plt.h's. */
#ifndef KLP_PLT_ARCH_H
#define KLP_PLT_ARCH_H

#include "plt/plt.h"

int klp_prefix_encode_x86_64(const struct klp_site *s, uint64_t slot, uint64_t hop, uint8_t out[KLP_PREFIX_MAX],
			     uint64_t *addr, size_t *len, struct klp_error *e);
int klp_stub_encode_x86_64(uint64_t stub_addr, uint64_t site_record, uint64_t trampoline_word, uint64_t body,
			   uint8_t *out, size_t out_len, struct klp_error *e);
uint64_t klp_stub_original_x86_64(uint64_t stub_addr, uint64_t body);

int klp_prefix_encode_aarch64(const struct klp_site *s, uint64_t slot, uint64_t hop, uint8_t out[KLP_PREFIX_MAX],
			      uint64_t *addr, size_t *len, struct klp_error *e);
int klp_stub_encode_aarch64(uint64_t stub_addr, uint64_t site_record, uint64_t trampoline_word, uint64_t body,
			    uint8_t *out, size_t out_len, struct klp_error *e);
uint64_t klp_stub_original_aarch64(uint64_t stub_addr, uint64_t body);

int klp_prefix_encode_riscv64(const struct klp_site *s, uint64_t slot, uint64_t hop, uint8_t out[KLP_PREFIX_MAX],
			      uint64_t *addr, size_t *len, struct klp_error *e);
int klp_stub_encode_riscv64(uint64_t stub_addr, uint64_t site_record, uint64_t trampoline_word, uint64_t body,
			    uint8_t *out, size_t out_len, struct klp_error *e);
uint64_t klp_stub_original_riscv64(uint64_t stub_addr, uint64_t body);

#endif
