/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Relocations of x86_64 (System V ABI, psABI 1.0 section 4.4; TLS: "ELF Handling For Thread-Local Storage" and RFC
 * TLSDESC-x86). The list is what gcc 12 and clang 14 emit for C in all code models that klp can place: small, with and
 * without PIC, and medium data by 64-bit addresses. What they do not emit is known by name and refused.
 */
#include "klp/reloc.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "klp/machine.h"

#define KLP_RELOC(t, class, width, pc, sign)                                      \
	{                                                                         \
		R_X86_64_##t, "R_X86_64_" #t, KLP_REL_##class, width, pc, sign, 0 \
	}
#define KLP_RELOC_REFUSED(t) KLP_RELOC(t, REFUSED, 0, false, false)

const struct klp_reloc_info klp_reloc_list[] = {
    KLP_RELOC(NONE, NONE, 0, false, false),
    KLP_RELOC(64, VALUE, 8, false, false),
    KLP_RELOC(PC64, VALUE, 8, true, true),
    KLP_RELOC(32, VALUE, 4, false, false),
    KLP_RELOC(32S, VALUE, 4, false, true),
    KLP_RELOC(PC32, VALUE, 4, true, true),
    KLP_RELOC(PLT32, VALUE, 4, true, true),
    KLP_RELOC(GOTPCREL, GOT, 4, true, true),
    KLP_RELOC(GOTPCRELX, GOT, 4, true, true),
    KLP_RELOC(REX_GOTPCRELX, GOT, 4, true, true),
    KLP_RELOC(TPOFF32, TPOFF, 4, false, true),
    KLP_RELOC(TPOFF64, TPOFF, 8, false, true),
    KLP_RELOC(GOTTPOFF, GOT_TPOFF, 4, true, true),
    KLP_RELOC(TLSGD, TLS_GD, 4, true, true),
    KLP_RELOC(TLSLD, TLS_LD, 4, true, true),
    KLP_RELOC(DTPOFF32, DTPOFF, 4, false, true),
    KLP_RELOC(DTPOFF64, DTPOFF, 8, false, true),
    KLP_RELOC(GOTPC32_TLSDESC, TLS_DESC, 4, true, true),
    KLP_RELOC(TLSDESC_CALL, TLS_DESC_CALL, 0, false, false),
    KLP_RELOC_REFUSED(8),
    KLP_RELOC_REFUSED(16),
    KLP_RELOC_REFUSED(PC8),
    KLP_RELOC_REFUSED(PC16),
    KLP_RELOC_REFUSED(GOT32),
    KLP_RELOC_REFUSED(GOT64),
    KLP_RELOC_REFUSED(GOTPC32),
    KLP_RELOC_REFUSED(GOTPC64),
    KLP_RELOC_REFUSED(GOTPCREL64),
    KLP_RELOC_REFUSED(GOTPLT64),
    KLP_RELOC_REFUSED(GOTOFF64),
    KLP_RELOC_REFUSED(PLTOFF64),
    KLP_RELOC_REFUSED(SIZE32),
    KLP_RELOC_REFUSED(SIZE64),
    KLP_RELOC_REFUSED(COPY),
    KLP_RELOC_REFUSED(GLOB_DAT),
    KLP_RELOC_REFUSED(JUMP_SLOT),
    KLP_RELOC_REFUSED(RELATIVE),
    KLP_RELOC_REFUSED(IRELATIVE),
    KLP_RELOC_REFUSED(DTPMOD64),
    KLP_RELOC_REFUSED(TLSDESC),
};

const size_t klp_reloc_list_len = sizeof(klp_reloc_list) / sizeof(klp_reloc_list[0]);

/*
 * e8 call, e9 jmp, 0f 80..8f jcc, each with the 4-byte field last, so the displacement counts from offset + 4. The byte
 * before a field that is an instruction's memory operand is its ModRM byte with mod 00 and rm 101 (05, 0d, ... 3d),
 * which is none of these.
 */
bool klp_reloc_is_branch(const struct klp_reloc_info *i, const uint8_t *code, uint64_t code_len, uint64_t offset,
			 int64_t addend)
{
	if (i->class != KLP_REL_VALUE || !i->pc_relative || i->width != 4 || addend != -4)
		return false;
	if (offset < 1 || offset > code_len)
		return false;
	if (code[offset - 1] == 0xe8 || code[offset - 1] == 0xe9)
		return true;
	return offset >= 2 && code[offset - 2] == 0x0f && (code[offset - 1] & 0xf0) == 0x80;
}

/* No relocation speaks of another one here. */
bool klp_reloc_is_high(const struct klp_reloc_info *i)
{
	(void)i;
	return false;
}

/* ff 15 call *slot(%rip), ff 25 jmp *slot(%rip) */
bool klp_reloc_is_slot_call(const struct klp_reloc_info *i, const uint8_t *code, uint64_t code_len, uint64_t offset)
{
	return i->class == KLP_REL_GOT && offset >= 2 && offset <= code_len && code[offset - 2] == 0xff &&
	       (code[offset - 1] == 0x15 || code[offset - 1] == 0x25);
}

int klp_reloc_store(const struct klp_reloc_info *i, uint8_t *field, uint64_t place, uint64_t value, int64_t addend)
{
	/* Modulo 2^64, as the ABI computes; only then the field's width decides. */
	uint64_t v = value + (uint64_t)addend - (i->pc_relative ? place : 0);
	uint32_t low = (uint32_t)v;

	if (i->width == 8) {
		memcpy(field, &v, sizeof(v));
		return 0;
	}
	if (i->width != 4)
		return -EINVAL;
	if (i->is_signed ? (uint64_t)(int64_t)(int32_t)low != v : low != v)
		return -ERANGE;
	memcpy(field, &low, sizeof(low));
	return 0;
}

/* lea x@tlsdesc(%rip), %rax (48 8d 05) -> mov $tpoff, %rax (48 c7 c0); call *x@tlscall(%rax) (ff 10) -> xchg %ax, %ax
 */
int klp_reloc_relax_desc(const struct klp_reloc_info *i, uint8_t *code, uint64_t code_len, uint64_t offset,
			 int64_t tpoff)
{
	static const uint8_t lea[3] = {0x48, 0x8d, 0x05}, mov[3] = {0x48, 0xc7, 0xc0}, call[2] = {0xff, 0x10},
			     nop[2] = {0x66, 0x90};
	int32_t v = (int32_t)tpoff;

	if (i->class == KLP_REL_TLS_DESC_CALL) {
		if (offset > code_len || code_len - offset < sizeof(call) || memcmp(code + offset, call, sizeof(call)))
			return -EILSEQ;
		memcpy(code + offset, nop, sizeof(nop));
		return 0;
	}
	if (offset < sizeof(lea) || offset > code_len || code_len - offset < sizeof(v) ||
	    memcmp(code + offset - 3, lea, sizeof(lea)))
		return -EILSEQ;
	if (v != tpoff)
		return -ERANGE;
	memcpy(code + offset - 3, mov, sizeof(mov));
	memcpy(code + offset, &v, sizeof(v));
	return 0;
}

int klp_module_plt_encode(uint8_t out[KLP_MODULE_PLT_SIZE], uint64_t addr, uint64_t slot)
{
	int64_t distance = (int64_t)(slot - (addr + 6));
	int32_t disp = (int32_t)distance;

	if (disp != distance)
		return -ERANGE;
	memset(out, KLP_TEXT_FILL, KLP_MODULE_PLT_SIZE);
	out[0] = 0xff; /* jmp *slot(%rip) */
	out[1] = 0x25;
	memcpy(out + 2, &disp, sizeof(disp));
	return 0;
}

enum klp_slot_kind klp_slot_kind(uint32_t type)
{
	switch (type) {
	case R_X86_64_JUMP_SLOT:
		return KLP_SLOT_JUMP;
	case R_X86_64_GLOB_DAT:
	case R_X86_64_64:
		return KLP_SLOT_ADDRESS;
	case R_X86_64_TPOFF64:
		return KLP_SLOT_TPOFF;
	case R_X86_64_DTPMOD64:
		return KLP_SLOT_DTPMOD;
	case R_X86_64_DTPOFF64:
		return KLP_SLOT_DTPOFF;
	case R_X86_64_TLSDESC:
		return KLP_SLOT_DESC;
	default:
		return KLP_SLOT_OTHER;
	}
}

/* [endbr64] push $index; [bnd] jmp PLT0 */
bool klp_slot_is_lazy(const uint8_t *code, size_t len, size_t index)
{
	static const uint8_t endbr[4] = {0xf3, 0x0f, 0x1e, 0xfa};
	uint32_t pushed;

	if (len >= sizeof(endbr) && !memcmp(code, endbr, sizeof(endbr))) {
		code += sizeof(endbr);
		len -= sizeof(endbr);
	}
	if (len < 7 || code[0] != 0x68)
		return false;
	memcpy(&pushed, code + 1, sizeof(pushed));
	return pushed == index && (code[5] == 0xe9 || (code[5] == 0xf2 && code[6] == 0xe9));
}

/* glibc's _dl_tlsdesc_return and musl's __tlsdesc_static: [endbr64] mov 8(%rax), %rax; ret */
bool klp_desc_is_static(const uint8_t *code, size_t len)
{
	static const uint8_t endbr[4] = {0xf3, 0x0f, 0x1e, 0xfa}, load[5] = {0x48, 0x8b, 0x40, 0x08, 0xc3};

	if (len >= sizeof(endbr) && !memcmp(code, endbr, sizeof(endbr))) {
		code += sizeof(endbr);
		len -= sizeof(endbr);
	}
	return len >= sizeof(load) && !memcmp(code, load, sizeof(load));
}

/* Variant II: the block ends at the thread pointer, its start has the alignment of p_vaddr. */
int64_t klp_tls_executable_offset(uint64_t vaddr, uint64_t memsz, uint64_t align)
{
	uint64_t end = vaddr + memsz;

	if (align > 1)
		end = (end + align - 1) & ~(align - 1);
	return -(int64_t)(end - vaddr);
}
