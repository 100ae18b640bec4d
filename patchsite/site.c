/* SPDX-License-Identifier: Apache-2.0 */
/* The architecture-neutral front of patch sites. */
#include <errno.h>
#include <string.h>
#include "patchsite/arch.h"

static const struct klp_site_arch *const archs[] = {&klp_site_arch_x86_64, &klp_site_arch_aarch64,
						    &klp_site_arch_riscv64};

const struct klp_site_arch *klp_site_arch_find(unsigned machine)
{
	for (size_t i = 0; i < sizeof(archs) / sizeof(archs[0]); i++)
		if (archs[i]->machine == machine)
			return archs[i];
	return NULL;
}

int klp_site_decode(unsigned arch, uint64_t entry, uint64_t recorded, const uint8_t *code, uint64_t code_addr,
		    size_t code_len, struct klp_site *out, struct klp_error *e)
{
	const struct klp_site_arch *a = klp_site_arch_find(arch);
	struct klp_site s = {.entry = entry, .prefix = recorded, .prefix_len = (uint32_t)(entry - recorded)};
	int rc;

	if (!a)
		return klp_fail(e, ENOTSUP, KLP_WRONG_ARCH, "patch sites of ELF machine %u are not known", arch);
	if (!recorded)
		return klp_fail(e, ENOENT, KLP_NO_SITE,
				"the function has no entry in __patchable_function_entries: it was not compiled with "
				"-fpatchable-function-entry");
	if (recorded > entry) {
		if (recorded - entry > 16)
			return klp_fail(e, EINVAL, KLP_SITE_UNKNOWN,
					"the recorded patchable entry is %llu bytes behind the symbol",
					(unsigned long long)(recorded - entry));
		return klp_fail(e, EINVAL, KLP_PREFIX_TOO_SMALL,
				"the function has no prefix: all of its patchable NOPs are behind the symbol");
	}
	if (entry - recorded > KLP_SITE_MAX_PREFIX)
		return klp_fail(e, EINVAL, KLP_SITE_UNKNOWN,
				"the recorded patchable entry is %llu bytes before the symbol",
				(unsigned long long)(entry - recorded));
	if (recorded < code_addr || entry - code_addr >= code_len)
		return klp_fail(e, EINVAL, KLP_SITE_UNKNOWN,
				"the function's entry is outside of the code that was read");
	if (entry % a->alignment || recorded % a->alignment)
		return klp_fail(e, EINVAL, KLP_SITE_MISALIGNED, "the function is not aligned to an instruction");
	if (recorded == entry)
		return klp_fail(e, EINVAL, KLP_PREFIX_TOO_SMALL,
				"the function has no prefix: its patchable NOPs are all behind the symbol");
	if (!a->all_nops(code + (recorded - code_addr), (size_t)(entry - recorded)))
		return klp_fail(e, EINVAL, KLP_PREFIX_TOO_SMALL,
				"the %u bytes before the function are not all NOPs of its own",
				(unsigned)(entry - recorded));
	rc = a->decode(code + (entry - code_addr), code_len - (size_t)(entry - code_addr), &s, e);
	if (!rc)
		*out = s;
	return rc;
}

bool klp_site_hide_probe(unsigned arch, uint8_t *code, size_t len, size_t entry)
{
	const struct klp_site_arch *a = klp_site_arch_find(arch);

	return a && entry < len && a->hide_probe(code + entry, len - entry);
}

size_t klp_site_arm_stores(unsigned arch, const struct klp_site *s, struct klp_site_store out[KLP_SITE_MAX_STORES])
{
	const struct klp_site_arch *a = klp_site_arch_find(arch);

	return a ? a->arm_stores(s, out) : 0;
}

/* Exactly the arming sequence backwards: every state in between is one that arming goes through as well. */
size_t klp_site_disarm_stores(unsigned arch, const struct klp_site *s, struct klp_site_store out[KLP_SITE_MAX_STORES])
{
	struct klp_site_store arm[KLP_SITE_MAX_STORES];
	size_t n = klp_site_arm_stores(arch, s, arm);

	for (size_t i = 0; i < n; i++) {
		out[i].addr = arm[n - 1 - i].addr;
		out[i].width = arm[n - 1 - i].width;
		memcpy(out[i].expect, arm[n - 1 - i].value, sizeof(out[i].expect));
		memcpy(out[i].value, arm[n - 1 - i].expect, sizeof(out[i].value));
	}
	return n;
}

enum klp_site_state klp_site_state(unsigned arch, const struct klp_site *s, const uint8_t *entry_bytes, size_t len,
				   size_t *done)
{
	const struct klp_site_arch *a = klp_site_arch_find(arch);

	*done = 0;
	return a ? a->state(s, entry_bytes, len, done) : KLP_STATE_FOREIGN;
}

void klp_site_restore(unsigned arch, enum klp_site_layout layout, uint64_t entry, uint64_t body, uint64_t prefix,
		      uint32_t prefix_len, struct klp_site *out)
{
	const struct klp_site_arch *a = klp_site_arch_find(arch);

	*out = (struct klp_site){
	    .layout = a ? layout : KLP_SITE_NONE,
	    .entry = entry,
	    .body = body,
	    .site = body - (a ? a->site_len(layout) : 0),
	    .prefix = prefix,
	    .prefix_len = prefix_len,
	};
	out->weak_to_uprobe = out->site == entry;
}

const char *klp_site_layout_name(enum klp_site_layout layout)
{
	switch (layout) {
	case KLP_SITE_NONE:
		break;
	case KLP_SITE_X86_ENTRY1:
		return "entry+1";
	case KLP_SITE_X86_ENTRY0:
		return "entry";
	case KLP_SITE_X86_ENDBR:
		return "endbr";
	case KLP_SITE_X86_ENTRY0_2BYTE:
		return "entry-2byte";
	case KLP_SITE_X86_ENTRY1_2BYTE:
		return "entry+1-2byte";
	case KLP_SITE_X86_ENDBR_2BYTE:
		return "endbr-2byte";
	case KLP_SITE_A64_NOP:
		return "entry+4";
	case KLP_SITE_A64_BTI:
		return "bti";
	case KLP_SITE_RV_NOP:
		return "entry+4";
	case KLP_SITE_RV_CNOP:
		return "entry+2";
	}
	return "none";
}
