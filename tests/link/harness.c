/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "klp/module_elf.h"
#include "tests/scratch.h"

struct klp_process self;
unsigned char seen[256];

__attribute__((noreturn)) static void die(const char *what, const char *detail)
{
	fprintf(stderr, "harness: %s: %s\n", what, detail);
	exit(2);
}

__attribute__((constructor)) static void open_self(void)
{
	struct klp_error e = KLP_ERROR_INIT;

	if (klp_process_open(getpid(), &self, &e))
		die("the own process", e.text);
}

const struct klp_object *object_of(const void *address)
{
	struct klp_error e = KLP_ERROR_INIT;
	const struct klp_object *o;

	if (klp_process_refresh(&self, &e))
		die("the own process", e.text);
	o = klp_process_object_at(&self, (uint64_t)(uintptr_t)address);
	if (!o)
		die("no object", "at that address");
	return o;
}

json_t *symbol_address(const struct klp_object *o, const char *name, const char *type, const void *address)
{
	return json_pack("{s:s,s:s,s:s,s:i,s:I}", "name", name, "how", "address", "type", type, "object", 0, "address",
			 (json_int_t)((uint64_t)(uintptr_t)address - o->bias));
}

uint64_t slot_of(const struct klp_object *o, const char *name, uint32_t type)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_scope s;
	struct klp_dso *d;
	uint64_t found = 0;

	if (klp_scope_open(&self, &s, &e))
		die("scope", e.text);
	d = klp_scope_dso(&s, o);
	for (int k = 0; d && k < 2 && !found; k++) {
		struct klp_rela_table *t = k ? &d->rela : &d->jmprel;

		if (klp_dso_read_rela(&s, d, t, &e))
			die("relocations", e.text);
		for (size_t i = 0; i < t->count && !found; i++) {
			char have[KLP_SCOPE_MAX_SYMBOL] = "";
			Elf64_Sym sym;

			if (ELF64_R_TYPE(t->rela[i].r_info) != type)
				continue;
			if (ELF64_R_SYM(t->rela[i].r_info) &&
			    klp_dso_symbol(&s, d, ELF64_R_SYM(t->rela[i].r_info), &sym, have, &e))
				die("symbol", e.text);
			if (!strcmp(have, name))
				found = t->rela[i].r_offset;
		}
	}
	klp_scope_close(&s);
	return found;
}

json_t *symbol_dynamic(const struct klp_object *o, const char *name, const char *type, int with_slot, uint64_t plt)
{
	uint64_t got = 0;

	if (with_slot)
		got = slot_of(o, name, R_X86_64_GLOB_DAT);
	if (with_slot && !got)
		got = slot_of(o, name, R_X86_64_JUMP_SLOT);
	return json_pack("{s:s,s:s,s:s,s:i,s:s,s:I,s:I}", "name", name, "how", "dynamic", "type", type, "object", 0,
			 "version", "", "got", (json_int_t)got, "plt", (json_int_t)plt);
}

json_t *symbol_tls(const char *name, uint64_t offset, uint64_t slot)
{
	return json_pack("{s:s,s:s,s:s,s:i,s:I,s:I}", "name", name, "how", "tls", "type", "tls", "object", 0, "address",
			 (json_int_t)offset, "got", (json_int_t)slot);
}

json_t *metadata(const struct klp_object *o, json_t *symbols)
{
	char id[2 * KLP_BUILD_ID_MAX + 1] = "00112233";

	for (size_t i = 0; i < o->build_id_len; i++)
		snprintf(id + 2 * i, 3, "%02x", o->build_id[i]);
	return json_pack("{s:i,s:s,s:s,s:s,s:s,s:s,s:b,s:b,s:[],s:[s],s:[{s:s,s:s,s:[{s:s,s:s,s:i,s:i,s:i,s:i,s:b,s:[["
			 "ii]],s:s}]}],s:o,s:[]}",
			 "format", 1, "name", "fix", "description", "a test", "arch", "x86_64", "built_with", "",
			 "klp_version", "0", "coupled", 0, "exceptions", 0, "escapes", "labels", "CVE", "objects",
			 "name", "target", "build_id", id, "functions", "name", "t_old", "file", "", "sympos", 0,
			 "address", 4660, "size", 120, "recorded", 4644, "exported", 0, "ranges", 4660, 4780,
			 "replacement", "m_run", "symbols", symbols, "notes");
}

static void run_objcopy(char **argv)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		die("objcopy", argv[1]);
}

char *make_module_text(const char *object, json_t *symbols, const char *text, size_t len)
{
	char *meta = scratch_name("link-meta"), *out = scratch_name("link-module"), *argv[512];
	int fd = mkstemp(meta), n = 0;
	size_t i;
	json_t *y;

	if (fd < 0 || write(fd, text, len) != (ssize_t)len)
		die("metadata", meta);
	close(fd);
	fd = mkstemp(out);
	if (fd < 0)
		die("module", out);
	close(fd);
	argv[n++] = strdup("objcopy");
	argv[n++] = strdup("--strip-unneeded-symbol=_GLOBAL_OFFSET_TABLE_"); /* the assembler's, without a use */
	if (asprintf(&argv[n++], "--add-section=.klp.meta=%s", meta) < 0)
		die("memory", "");
	json_array_foreach(symbols, i, y) if (n > 500 || asprintf(&argv[n++], "--redefine-sym=%s=klp:%zu:%s",
								  json_string_value(json_object_get(y, "name")), i,
								  json_string_value(json_object_get(y, "name"))) < 0)
	    die("memory", "");
	argv[n++] = strdup(object);
	argv[n++] = strdup(out);
	argv[n] = NULL;
	run_objcopy(argv);
	while (n--)
		free(argv[n]);
	unlink(meta);
	free(meta);
	return out;
}

char *make_module(const char *object, json_t *meta)
{
	char *text = json_dumps(meta, JSON_COMPACT), *out;

	if (!text)
		die("metadata", "not JSON");
	out = make_module_text(object, json_object_get(meta, "symbols"), text, strlen(text));
	free(text);
	json_decref(meta);
	return out;
}

uint64_t near_base(const struct klp_object *o, uint64_t size)
{
	uint64_t at = (o->start - size - (16u << 20)) & ~4095ull;

	for (int i = 0; i < 4096; i++, at -= 1u << 18) {
		void *p = mmap((void *)at, (size_t)size, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

		if (p == (void *)at)
			return at;
		if (p != MAP_FAILED)
			munmap(p, (size_t)size);
		if (at < (1u << 20))
			break;
	}
	/* A program of fixed low addresses: above it. */
	for (at = (o->end + (64u << 20)) & ~4095ull; at < o->end + (1u << 30); at += 1u << 20) {
		void *p = mmap((void *)at, (size_t)size, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

		if (p == (void *)at)
			return at;
		if (p != MAP_FAILED)
			munmap(p, (size_t)size);
	}
	die("no address", "near the object");
}

static void note_relocations(const struct klp_module *m)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_elf f;

	if (klp_elf_open(m->image, m->size, &f, &e))
		die("module", e.text);
	for (size_t i = 1; i < f.section_count; i++)
		for (size_t k = 0; f.section[i].type == SHT_RELA && (f.section[f.section[i].info].flags & SHF_ALLOC) &&
				   k < f.section[i].size / sizeof(Elf64_Rela);
		     k++) {
			Elf64_Rela r;

			memcpy(&r, f.section[i].data + k * sizeof(r), sizeof(r));
			seen[ELF64_R_TYPE(r.r_info) & 255] = 1;
		}
	klp_elf_close(&f);
}

int load(const char *object, const struct klp_object *o, json_t *symbols, struct loaded *out, struct klp_error *e)
{
	static const int prot[KLP_SEG_COUNT] = {PROT_READ | PROT_EXEC, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ};
	char *path = make_module(object, metadata(o, symbols));
	uint64_t size, base;
	int rc;

	memset(out, 0, sizeof(*out));
	rc = klp_module_read(path, &out->m, e);
	unlink(path);
	free(path);
	if (rc)
		return rc;
	rc = klp_link_measure(&out->m, 0, 4096, &size, e);
	if (rc) {
		klp_module_free(&out->m);
		return rc;
	}
	base = near_base(o, size);
	rc = klp_link(&out->m, 0, &self, o, base, NULL, &out->l, e);
	if (rc) {
		munmap((void *)base, (size_t)size);
		klp_module_free(&out->m);
		return rc;
	}
	if (out->l.size != size || out->l.base != base)
		die("klp_link", "another size than measured");
	for (int k = 0; k < KLP_SEG_COUNT; k++) {
		if (!out->l.seg[k].size)
			continue;
		memcpy((void *)(base + out->l.seg[k].offset), out->l.seg[k].bytes, (size_t)out->l.seg[k].size);
		if (mprotect((void *)(base + out->l.seg[k].offset), (size_t)out->l.seg[k].size, prot[k]))
			die("mprotect", "");
	}
	note_relocations(&out->m);
	out->run = (run_fn)(uintptr_t)out->l.new_function[0];
	return 0;
}

void unload(struct loaded *l)
{
	munmap((void *)l->l.base, (size_t)l->l.size);
	klp_linked_free(&l->l);
	klp_module_free(&l->m);
}
