/* SPDX-License-Identifier: Apache-2.0 */
/* The architecture-neutral front of PLT entries and stubs. */
#include <elf.h>
#include <errno.h>
#include "plt/arch.h"

static int unknown(unsigned arch, struct klp_error *e)
{
	return klp_fail(e, ENOTSUP, KLP_WRONG_ARCH, "PLT entries of ELF machine %u are not known", arch);
}

int klp_prefix_encode(unsigned arch, const struct klp_site *s, uint64_t slot, uint64_t hop, uint8_t out[KLP_PREFIX_MAX],
		      uint64_t *addr, size_t *len, struct klp_error *e)
{
	switch (arch) {
	case EM_X86_64:
		return klp_prefix_encode_x86_64(s, slot, hop, out, addr, len, e);
	case EM_AARCH64:
		return klp_prefix_encode_aarch64(s, slot, hop, out, addr, len, e);
	case EM_RISCV:
		return klp_prefix_encode_riscv64(s, slot, hop, out, addr, len, e);
	default:
		return unknown(arch, e);
	}
}

int klp_stub_encode(unsigned arch, uint64_t stub_addr, uint64_t site_record, uint64_t trampoline_word, uint64_t body,
		    uint8_t *out, size_t out_len, struct klp_error *e)
{
	switch (arch) {
	case EM_X86_64:
		return klp_stub_encode_x86_64(stub_addr, site_record, trampoline_word, body, out, out_len, e);
	case EM_AARCH64:
		return klp_stub_encode_aarch64(stub_addr, site_record, trampoline_word, body, out, out_len, e);
	case EM_RISCV:
		return klp_stub_encode_riscv64(stub_addr, site_record, trampoline_word, body, out, out_len, e);
	default:
		return unknown(arch, e);
	}
}

uint64_t klp_stub_original(unsigned arch, uint64_t stub_addr, uint64_t body)
{
	switch (arch) {
	case EM_AARCH64:
		return klp_stub_original_aarch64(stub_addr, body);
	case EM_RISCV:
		return klp_stub_original_riscv64(stub_addr, body);
	case EM_X86_64:
	default:
		return klp_stub_original_x86_64(stub_addr, body);
	}
}
