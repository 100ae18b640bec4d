/* SPDX-License-Identifier: Apache-2.0 */
/* What the signal frames of all architectures have in common. */
#include "klp/frame.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>

#define KLP_TEXT_CHUNK 65536u
#define KLP_CODE_MAX 16u       /* bytes of what is looked for */
#define KLP_RSEQ_CONFIG 0x420f /* PTRACE_GET_RSEQ_CONFIGURATION */

/* In [at, at + n), which was read to buf. */
static uint64_t klp_frame_match(const uint8_t *buf, size_t n, uint64_t at, const uint8_t *want, size_t len,
				size_t align)
{
	const uint8_t *hit = buf;

	while ((hit = memmem(hit, n - (size_t)(hit - buf), want, len))) {
		if (!((at + (uint64_t)(hit - buf)) % align))
			return at + (uint64_t)(hit - buf);
		hit++;
	}
	return 0;
}

uint64_t klp_frame_find_code(const struct klp_process *p, const uint8_t *want, size_t len, size_t align, bool vdso)
{
	uint8_t *buf = malloc(KLP_TEXT_CHUNK);
	uint64_t found = 0;

	for (size_t i = 0; buf && i < p->map_count && !found; i++) {
		const struct klp_mapping *m = &p->map[i];

		if ((m->prot & (PROT_EXEC | PROT_WRITE)) != PROT_EXEC ||
		    (!m->inode && (!vdso || strcmp(m->path, "[vdso]"))))
			continue;
		for (uint64_t at = m->start; at < m->end && !found; at += KLP_TEXT_CHUNK - KLP_CODE_MAX) {
			struct klp_error ignored = KLP_ERROR_INIT;
			size_t n = m->end - at < KLP_TEXT_CHUNK ? (size_t)(m->end - at) : KLP_TEXT_CHUNK;

			if (klp_process_read(p, at, buf, n, &ignored))
				break;
			found = klp_frame_match(buf, n, at, want, len, align);
		}
	}
	free(buf);
	return found;
}

bool klp_frame_in_rseq(pid_t tid, const struct klp_process *p)
{
	struct {
		uint64_t abi;
		uint32_t size, signature, flags, pad;
	} conf;
	struct klp_error ignored = KLP_ERROR_INIT;
	uint64_t section = 1;

	if (ptrace(KLP_RSEQ_CONFIG, tid, (void *)sizeof(conf), &conf) <= 0 || !conf.abi)
		return false;
	return klp_process_read(p, conf.abi + 8, &section, sizeof(section), &ignored) || section != 0;
}
