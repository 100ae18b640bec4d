/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/symfile.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KLP_SYMFILE_MAX_SYMBOLS (1u << 20)
#define KLP_SYMFILE_MAX_STRINGS (4u << 20)
#define KLP_SYMFILE_MAX_CODE (256u << 20) /* bytes of code, and of unwind information */
#define KLP_SYMFILE_CHUNK 65536u
#define KLP_SYMFILE_PAGE 4096u
#define KLP_SYMFILE_SEGMENTS 2u

enum { KLP_SEC_NULL, KLP_SEC_TEXT, KLP_SEC_EH_FRAME, KLP_SEC_SYMTAB, KLP_SEC_STRTAB, KLP_SEC_SHSTRTAB, KLP_SECS };
static const char klp_symfile_section_names[] = "\0.text\0.eh_frame\0.symtab\0.strtab\0.shstrtab";

void klp_symfile_free(struct klp_symfile *y)
{
	free(y->sym);
	free(y->strings);
	memset(y, 0, sizeof(*y));
}

static int klp_symfile_room(struct klp_symfile *y, size_t count, size_t strings, struct klp_error *e)
{
	y->sym = calloc(count + 1, sizeof(*y->sym));
	y->strings = calloc(strings + 1, 1);
	y->count = 1;
	y->strings_len = strings + 1;
	return y->sym && y->strings ? 0 : klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for a patch's symbols");
}

static bool klp_lies_in(uint64_t addr, uint64_t len, uint64_t base, uint64_t size)
{
	return addr >= base && addr - base <= size && len <= size - (addr - base);
}

int klp_symfile_read_patch(const struct klp_session *s, const struct klp_patch *p, struct klp_symfile *y,
			   struct klp_error *e)
{
	const struct klp_rt_patch *rec = &p->rec;
	struct klp_rt_names n = {0, 0};
	uint64_t at = rec->names + sizeof(n);
	int rc = 0;

	memset(y, 0, sizeof(*y));
	if (rec->state == KLP_PATCH_LOADING || !rec->text_len)
		return 1;
	if (!klp_lies_in(rec->text, rec->text_len, rec->base, rec->len) || rec->text_len > KLP_SYMFILE_MAX_CODE ||
	    (rec->eh_frame_len && (!klp_lies_in(rec->eh_frame, rec->eh_frame_len, rec->base, rec->len) ||
				   rec->eh_frame_len > KLP_SYMFILE_MAX_CODE)))
		return klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "the places of patch '%s' in the target make no sense",
				rec->name);
	y->text = rec->text;
	y->text_len = rec->text_len;
	y->eh_frame = rec->eh_frame;
	y->eh_frame_len = rec->eh_frame_len;
	if (rec->names && !klp_lies_in(rec->names, sizeof(n), rec->base, rec->len))
		rc = -EINVAL;
	else if (rec->names)
		rc = klp_process_read(&s->p, rec->names, &n, sizeof(n), e);
	if (!rc && (n.count > KLP_SYMFILE_MAX_SYMBOLS || n.strings_len > KLP_SYMFILE_MAX_STRINGS ||
		    !klp_lies_in(at, n.count * sizeof(Elf64_Sym) + n.strings_len, rec->base, rec->len)))
		rc = n.count || n.strings_len ? -EINVAL : 0;
	if (rc == -EINVAL)
		return klp_fail(e, EINVAL, KLP_TARGET_MEMORY, "the names of patch '%s' in the target make no sense",
				rec->name);
	if (!rc)
		rc = klp_symfile_room(y, n.count, n.strings_len, e);
	if (!rc && n.count)
		rc = klp_process_read(&s->p, at, y->sym + 1, n.count * sizeof(*y->sym), e);
	if (!rc && n.strings_len)
		rc = klp_process_read(&s->p, at + n.count * sizeof(*y->sym), y->strings, n.strings_len, e);
	for (size_t i = 1; i <= n.count && !rc; i++) {
		Elf64_Sym *sym = &y->sym[y->count];

		*sym = y->sym[i];
		if (sym->st_name >= y->strings_len || !klp_lies_in(sym->st_value, sym->st_size, rec->base, rec->len))
			continue;
		if (sym->st_shndx != KLP_SEC_TEXT || !klp_lies_in(sym->st_value, sym->st_size, y->text, y->text_len))
			sym->st_shndx = SHN_ABS;
		sym->st_info = (unsigned char)ELF64_ST_INFO(STB_LOCAL, ELF64_ST_TYPE(sym->st_info));
		y->count++;
	}
	if (rc)
		klp_symfile_free(y);
	return rc;
}

bool klp_symfile_function(const struct klp_session *s, const struct klp_patch *p, uint64_t addr, char *buf, size_t len)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_symfile y;
	bool found = false;

	if (addr < p->rec.text || addr - p->rec.text >= p->rec.text_len || klp_symfile_read_patch(s, p, &y, &ignored))
		return false;
	for (size_t i = 1; i < y.count && !found; i++) {
		found = ELF64_ST_TYPE(y.sym[i].st_info) == STT_FUNC && addr >= y.sym[i].st_value &&
			addr - y.sym[i].st_value < y.sym[i].st_size;
		if (found)
			snprintf(buf, len, "%s", y.strings + y.sym[i].st_name);
	}
	klp_symfile_free(&y);
	for (char *c = buf; found && *c; c++) /* it reaches a terminal */
		if (!isprint((unsigned char)*c))
			*c = '?';
	return found;
}

int klp_symfile_read_runtime(const struct klp_session *s, struct klp_symfile *y, struct klp_error *e)
{
	const struct klp_rt_image *h = &s->r.hdr;
	const struct {
		const char *name;
		uint32_t offset, end;
	} own[] = {
	    {"klp_rt_trampoline", h->trampoline, h->trampoline_full},
	    {"klp_rt_trampoline_full", h->trampoline_full, h->trampoline_end},
	    {"klp_rt_borrow", h->borrow, h->borrow},
	    {"klp_rt_helper", h->helper, h->helper},
	    {"klp_rt_callback", h->callback, h->callback},
	    {"klp_rt_find_fde", h->find_fde, h->find_fde},
	};
	size_t used = 1, room = 1;
	int rc;

	memset(y, 0, sizeof(*y));
	if (!s->r.image)
		return 1;
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		room += strlen(own[i].name) + 1;
	rc = klp_symfile_room(y, sizeof(own) / sizeof(own[0]), room, e);
	if (rc)
		return rc;
	y->text = s->r.image;
	y->text_len = KLP_RT_TEXT_SIZE;
	if (h->eh_frame < h->eh_frame_end && h->eh_frame_end <= KLP_RT_TEXT_SIZE) {
		y->text_len = h->eh_frame;
		y->eh_frame = s->r.image + h->eh_frame;
		y->eh_frame_len = h->eh_frame_end - h->eh_frame;
	}
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		Elf64_Sym *sym = &y->sym[y->count];

		if (!own[i].offset || own[i].offset >= KLP_RT_TEXT_SIZE)
			continue;
		sym->st_name = (Elf64_Word)used;
		sym->st_info = ELF64_ST_INFO(STB_LOCAL, STT_FUNC);
		sym->st_shndx = KLP_SEC_TEXT;
		sym->st_value = s->r.image + own[i].offset;
		sym->st_size =
		    own[i].end > own[i].offset && own[i].end <= KLP_RT_TEXT_SIZE ? own[i].end - own[i].offset : 0;
		strcpy(y->strings + used, own[i].name);
		used += strlen(own[i].name) + 1;
		y->count++;
	}
	return 0;
}

static int klp_symfile_copy(const struct klp_session *s, uint64_t addr, uint64_t len, FILE *f, struct klp_error *e)
{
	char *buf = malloc(KLP_SYMFILE_CHUNK);
	int rc = buf ? 0 : klp_fail(e, ENOMEM, KLP_NOMEM, "no memory to copy a patch's code");

	for (uint64_t done = 0; done < len && !rc;) {
		size_t n = len - done < KLP_SYMFILE_CHUNK ? (size_t)(len - done) : KLP_SYMFILE_CHUNK;

		rc = klp_process_read(&s->p, addr + done, buf, n, e);
		if (!rc)
			fwrite(buf, 1, n, f);
		done += n;
	}
	free(buf);
	return rc;
}

static void klp_symfile_segment(Elf64_Phdr *ph, const Elf64_Shdr *sh)
{
	*ph = (Elf64_Phdr){.p_type = sh->sh_size ? PT_LOAD : PT_NULL,
			   .p_flags = sh->sh_flags & SHF_EXECINSTR ? PF_R | PF_X : PF_R,
			   .p_offset = sh->sh_offset,
			   .p_vaddr = sh->sh_addr,
			   .p_paddr = sh->sh_addr,
			   .p_filesz = sh->sh_size,
			   .p_memsz = sh->sh_size,
			   .p_align = KLP_SYMFILE_PAGE};
}

/* What has an address has the same place in its page of the file, as a loader of the file would want it. Returns where
 * the section headers are. */
static uint64_t klp_symfile_layout(const struct klp_symfile *y, Elf64_Ehdr *eh, Elf64_Phdr *ph, Elf64_Shdr *sh)
{
	static const char *const name[KLP_SECS] = {"", ".text", ".eh_frame", ".symtab", ".strtab", ".shstrtab"};
	uint64_t at = KLP_SYMFILE_PAGE;

	memset(sh, 0, KLP_SECS * sizeof(*sh));
	sh[KLP_SEC_TEXT] = (Elf64_Shdr){
	    .sh_type = SHT_PROGBITS, .sh_flags = SHF_ALLOC | SHF_EXECINSTR, .sh_addr = y->text, .sh_size = y->text_len};
	sh[KLP_SEC_EH_FRAME] = (Elf64_Shdr){
	    .sh_type = SHT_PROGBITS, .sh_flags = SHF_ALLOC, .sh_addr = y->eh_frame, .sh_size = y->eh_frame_len};
	sh[KLP_SEC_SYMTAB] = (Elf64_Shdr){.sh_type = SHT_SYMTAB,
					  .sh_size = y->count * sizeof(Elf64_Sym),
					  .sh_link = KLP_SEC_STRTAB,
					  .sh_info = (Elf64_Word)y->count, /* all are local */
					  .sh_entsize = sizeof(Elf64_Sym)};
	sh[KLP_SEC_STRTAB] = (Elf64_Shdr){.sh_type = SHT_STRTAB, .sh_size = y->strings_len};
	sh[KLP_SEC_SHSTRTAB] = (Elf64_Shdr){.sh_type = SHT_STRTAB, .sh_size = sizeof(klp_symfile_section_names)};
	for (unsigned i = 1; i < KLP_SECS; i++) {
		at += (sh[i].sh_addr - at) & (sh[i].sh_flags & SHF_ALLOC ? KLP_SYMFILE_PAGE - 1 : 7);
		sh[i].sh_addralign = 1;
		sh[i].sh_offset = at;
		at += sh[i].sh_size;
		for (const char *n = klp_symfile_section_names + 1;
		     n < klp_symfile_section_names + sizeof(klp_symfile_section_names); n += strlen(n) + 1)
			if (!strcmp(n, name[i]))
				sh[i].sh_name = (Elf64_Word)(n - klp_symfile_section_names);
	}
	klp_symfile_segment(&ph[0], &sh[KLP_SEC_TEXT]);
	klp_symfile_segment(&ph[1], &sh[KLP_SEC_EH_FRAME]);
	memset(eh, 0, sizeof(*eh));
	memcpy(eh->e_ident, ELFMAG, SELFMAG);
	eh->e_ident[EI_CLASS] = ELFCLASS64;
	eh->e_ident[EI_DATA] = ELFDATA2LSB;
	eh->e_ident[EI_VERSION] = EV_CURRENT;
	eh->e_type = ET_EXEC; /* at these addresses and no others */
	eh->e_version = EV_CURRENT;
	eh->e_phoff = sizeof(*eh);
	eh->e_shoff = (at + 7) & ~7ull;
	eh->e_ehsize = sizeof(*eh);
	eh->e_phentsize = sizeof(*ph);
	eh->e_phnum = KLP_SYMFILE_SEGMENTS;
	eh->e_shentsize = sizeof(*sh);
	eh->e_shnum = KLP_SECS;
	eh->e_shstrndx = KLP_SEC_SHSTRTAB;
	return eh->e_shoff;
}

/* Zero bytes up to that place. */
static void klp_symfile_pad(FILE *f, uint64_t to)
{
	for (long at = ftell(f); at >= 0 && (uint64_t)at < to; at++)
		putc(0, f);
}

int klp_symfile_write(const struct klp_session *s, const struct klp_symfile *y, FILE *f, struct klp_error *e)
{
	Elf64_Phdr ph[KLP_SYMFILE_SEGMENTS];
	Elf64_Shdr sh[KLP_SECS];
	Elf64_Ehdr eh;
	uint64_t end = klp_symfile_layout(y, &eh, ph, sh);
	int rc;

	eh.e_machine = s->p.machine;
	fwrite(&eh, sizeof(eh), 1, f);
	fwrite(ph, sizeof(ph), 1, f);
	klp_symfile_pad(f, sh[KLP_SEC_TEXT].sh_offset);
	rc = klp_symfile_copy(s, y->text, y->text_len, f, e);
	klp_symfile_pad(f, sh[KLP_SEC_EH_FRAME].sh_offset);
	if (!rc)
		rc = klp_symfile_copy(s, y->eh_frame, y->eh_frame_len, f, e);
	if (rc)
		return rc;
	klp_symfile_pad(f, sh[KLP_SEC_SYMTAB].sh_offset);
	fwrite(y->sym, sizeof(*y->sym), y->count, f);
	klp_symfile_pad(f, sh[KLP_SEC_STRTAB].sh_offset);
	fwrite(y->strings, 1, y->strings_len, f);
	klp_symfile_pad(f, sh[KLP_SEC_SHSTRTAB].sh_offset);
	fwrite(klp_symfile_section_names, 1, sizeof(klp_symfile_section_names), f);
	klp_symfile_pad(f, end);
	fwrite(sh, sizeof(*sh), KLP_SECS, f);
	if (fflush(f) || ferror(f))
		return klp_fail(e, errno ? errno : EIO, KLP_IO, "the symbol file cannot be written: %s",
				strerror(errno ? errno : EIO));
	return 0;
}
