/* SPDX-License-Identifier: Apache-2.0 */
/* Are two linked files the same program? */
#include "klp-build.h"

#include <fcntl.h>
#include <gelf.h>
#include <string.h>
#include <unistd.h>

/* The next section that a process sees; NULL at the end. */
static Elf_Scn *kb_next_visible(Elf *elf, Elf_Scn *scn, GElf_Shdr *sh)
{
	while ((scn = elf_nextscn(elf, scn)))
		if (gelf_getshdr(scn, sh) && (sh->sh_flags & SHF_ALLOC) && sh->sh_type != SHT_NOTE)
			return scn;
	return NULL;
}

static bool kb_same_section(Elf_Scn *a, const GElf_Shdr *x, Elf_Scn *b, const GElf_Shdr *y)
{
	Elf_Data *p, *q;

	if (x->sh_type != y->sh_type || x->sh_flags != y->sh_flags || x->sh_addr != y->sh_addr ||
	    x->sh_size != y->sh_size)
		return false;
	if (x->sh_type == SHT_NOBITS || !x->sh_size)
		return true;
	p = elf_rawdata(a, NULL);
	q = elf_rawdata(b, NULL);
	return p && q && p->d_buf && q->d_buf && p->d_size == q->d_size && !memcmp(p->d_buf, q->d_buf, p->d_size);
}

bool kb_same_program(const char *a, const char *b)
{
	int x = open(a, O_RDONLY | O_CLOEXEC), y = open(b, O_RDONLY | O_CLOEXEC);
	Elf *p, *q;
	Elf_Scn *s = NULL, *t = NULL;
	GElf_Shdr sh, th;
	bool same = false;

	elf_version(EV_CURRENT);
	p = x >= 0 ? elf_begin(x, ELF_C_READ, NULL) : NULL;
	q = y >= 0 ? elf_begin(y, ELF_C_READ, NULL) : NULL;
	if (p && q && elf_kind(p) == ELF_K_ELF && elf_kind(q) == ELF_K_ELF) {
		do {
			s = kb_next_visible(p, s, &sh);
			t = kb_next_visible(q, t, &th);
			same = s && t ? kb_same_section(s, &sh, t, &th) : !s && !t;
		} while (same && s);
	}
	elf_end(p);
	elf_end(q);
	if (x >= 0)
		close(x);
	if (y >= 0)
		close(y);
	return same;
}
