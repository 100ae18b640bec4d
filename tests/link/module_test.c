/* SPDX-License-Identifier: Apache-2.0 */
/*
 * P30: what is not a module, is damaged, or is another machine's, is refused with a reason and never harms the reader.
 * Built with the sanitizers. The directory with the objects is the argument.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "klp/include/klp/klp.h"
#include "klp/link.h"
#include "klp/reloc.h"
#include "tests/link/harness.h"
#include "tests/scratch.h"

static uint8_t *image; /* of a good module */
static size_t image_size;
static char *good_text; /* its metadata */
static const char *directory;
static const struct klp_object *me;
static unsigned linked, refused;

/* Reads bytes as klp_module_read does, from a file without a name. */
static int read_bytes(const uint8_t *bytes, size_t len, struct klp_module *m, struct klp_error *e)
{
	char path[64];
	int rc, fd = memfd_create("module", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes, len), (ssize_t)len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	rc = klp_module_read(path, m, e);
	close(fd);
	return rc;
}

/* Everything that is done with a module before a target is touched. A refusal must say why. */
static int use_bytes(const uint8_t *bytes, size_t len)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_linked l;
	struct klp_module m;
	uint64_t size;
	int rc = read_bytes(bytes, len, &m, &e);

	if (!rc) {
		json_decref(klp_module_info(&m));
		rc = klp_module_check_unwind(&m, &self, &e);
		if (!rc)
			rc = klp_link_measure(&m, 0, 4096, &size, &e);
		if (!rc) {
			rc = klp_link(&m, 0, &self, me, (me->start - (64u << 20)) & ~4095ull, NULL, &l, &e);
			if (!rc) {
				ck_assert_uint_eq(l.size, size);
				klp_linked_free(&l);
			}
		}
		klp_module_free(&m);
	}
	if (rc) {
		ck_assert_int_lt(rc, 0);
		ck_assert_int_eq(rc, -e.err);
		ck_assert_int_ne(e.reason, KLP_OK);
		ck_assert_int_ne(e.reason, KLP_INTERNAL);
		ck_assert_uint_gt(strlen(e.text), 10);
		refused++;
	} else {
		linked++;
	}
	return rc;
}

static void make_good(void)
{
	json_t *a = json_array(), *meta;
	char *path, name[4096];
	struct stat st;
	int fd;

	json_array_append_new(a, symbol_address(me, "t_add", "func", (void *)t_add));
	json_array_append_new(a, symbol_address(me, "t_value", "object", &t_value));
	json_array_append_new(a, symbol_dynamic(me, "strlen", "func", 0, 0));
	json_array_append_new(a, symbol_dynamic(me, "getpid", "func", 0, 0));
	json_array_append_new(a, symbol_dynamic(me, "memset", "func", 0, 0));
	json_array_append_new(a, symbol_tls("t_tls", 0, 0));
	meta = metadata(me, a);
	good_text = json_dumps(meta, JSON_COMPACT);
	snprintf(name, sizeof(name), "%s/plain.o", directory);
	path = make_module(name, meta);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert(fd >= 0 && !fstat(fd, &st));
	image_size = (size_t)st.st_size;
	image = malloc(image_size);
	ck_assert_int_eq(read(fd, image, image_size), (ssize_t)image_size);
	close(fd);
	unlink(path);
	free(path);
}

static void refuse_path(const char *path, int err, enum klp_reason reason)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_module m;

	ck_assert_msg(klp_module_read(path, &m, &e) == -err, "%s: %d, %s", path, e.err, e.text);
	ck_assert_msg(e.reason == reason && strstr(e.text, path), "%s: %s: %s", path, klp_reason_name(e.reason),
		      e.text);
}

START_TEST(P30_not_a_file)
{
	char *name = scratch_name("link"), path[PATH_MAX];
	int fd;

	ck_assert_ptr_nonnull(mkdtemp(name));
	refuse_path(name, EISDIR, KLP_BAD_MODULE);
	snprintf(path, sizeof(path), "%s/missing", name);
	refuse_path(path, ENOENT, KLP_IO);
	snprintf(path, sizeof(path), "%s/fifo", name);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	refuse_path(path, EINVAL, KLP_BAD_MODULE); /* and without waiting for a writer */
	unlink(path);
	snprintf(path, sizeof(path), "%s/file", name);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	ck_assert_int_ge(fd, 0);
	refuse_path(path, EINVAL, KLP_BAD_MODULE); /* empty */
	ck_assert_int_eq(ftruncate(fd, 1 << 30), 0);
	refuse_path(path, EFBIG, KLP_LIMIT);
	ck_assert_int_eq(ftruncate(fd, 100000), 0);
	refuse_path(path, EINVAL, KLP_BAD_MODULE); /* zeros */
	close(fd);
	unlink(path);
	refuse_path("/dev/zero", EINVAL, KLP_BAD_MODULE);
	refuse_path("/proc/self/exe", EINVAL, KLP_BAD_MODULE); /* an ELF file, but a program */
	rmdir(name);
	free(name);
}
END_TEST

START_TEST(P30_good)
{
	ck_assert_int_eq(use_bytes(image, image_size), 0);
}
END_TEST

START_TEST(P30_truncated)
{
	for (size_t n = 0; n < image_size; n += 64)
		if (n)
			ck_assert_int_lt(use_bytes(image, n), 0);
	for (size_t n = image_size - 64; n < image_size; n++)
		ck_assert_int_lt(use_bytes(image, n), 0);
}
END_TEST

START_TEST(P30_wrong_arch)
{
	static const struct {
		size_t at;
		uint8_t value;
		enum klp_reason reason;
	} change[] = {{EI_CLASS, ELFCLASS32, KLP_WRONG_ARCH},
		      {EI_DATA, ELFDATA2MSB, KLP_WRONG_ARCH},
		      {18, EM_AARCH64, KLP_WRONG_ARCH},
		      {18, EM_RISCV, KLP_WRONG_ARCH},
		      {16, ET_DYN, KLP_BAD_MODULE},
		      {16, ET_EXEC, KLP_BAD_MODULE},
		      {0, 0, KLP_BAD_MODULE},
		      {EI_VERSION, 9, KLP_BAD_MODULE}};

	for (size_t i = 0; i < sizeof(change) / sizeof(change[0]); i++) {
		struct klp_error e = KLP_ERROR_INIT;
		struct klp_module m;
		uint8_t before = image[change[i].at];

		image[change[i].at] = change[i].value;
		ck_assert_int_lt(read_bytes(image, image_size, &m, &e), 0);
		ck_assert_msg(e.reason == change[i].reason, "%s: %s", klp_reason_name(e.reason), e.text);
		image[change[i].at] = before;
	}
}
END_TEST

static void mutate_byte(size_t at)
{
	uint8_t before = image[at];
	const uint8_t to[] = {
	    0, 0xff, 0x7f, 0x80, (uint8_t)(before + 1), (uint8_t)(before - 1), (uint8_t)(before ^ 0x10)};

	for (size_t k = 0; k < sizeof(to); k++) {
		if (to[k] == before)
			continue;
		image[at] = to[k];
		use_bytes(image, image_size);
	}
	image[at] = before;
}

/* Every byte of the ELF header, the section headers, the symbols and the relocations. */
START_TEST(P30_every_header_byte)
{
	Elf64_Ehdr eh;

	memcpy(&eh, image, sizeof(eh));
	for (size_t at = 0; at < sizeof(eh); at++)
		mutate_byte(at);
	for (size_t at = eh.e_shoff; at < eh.e_shoff + eh.e_shnum * sizeof(Elf64_Shdr); at++)
		mutate_byte(at);
	ck_assert_uint_gt(refused, 1000);
	ck_assert_uint_gt(linked, 10); /* some bytes do not matter: addresses, entry, padding */
}
END_TEST

START_TEST(P30_every_table_byte)
{
	Elf64_Ehdr eh;

	memcpy(&eh, image, sizeof(eh));
	for (size_t i = 1; i < eh.e_shnum; i++) {
		Elf64_Shdr h;

		memcpy(&h, image + eh.e_shoff + i * sizeof(h), sizeof(h));
		if (h.sh_type != SHT_SYMTAB && h.sh_type != SHT_RELA && h.sh_type != SHT_STRTAB)
			continue;
		/* The tables are long: each byte of the first entries, then a stride that meets every field. */
		for (size_t at = h.sh_offset; at < h.sh_offset + h.sh_size; at += at < h.sh_offset + 240 ? 1 : 7)
			mutate_byte(at);
	}
}
END_TEST

/* Every relocation type at the place of the first one: applied, or refused by name or number. */
START_TEST(P30_every_relocation_type)
{
	Elf64_Ehdr eh;

	memcpy(&eh, image, sizeof(eh));
	for (size_t i = 1; i < eh.e_shnum; i++) {
		Elf64_Shdr h;
		Elf64_Rela r;
		uint64_t info;

		memcpy(&h, image + eh.e_shoff + i * sizeof(h), sizeof(h));
		if (h.sh_type != SHT_RELA)
			continue;
		memcpy(&r, image + h.sh_offset, sizeof(r));
		info = r.r_info;
		for (uint32_t type = 0; type < 300; type++) {
			struct klp_error e = KLP_ERROR_INIT;
			struct klp_module m;
			uint64_t size;
			const struct klp_reloc_info *known = klp_reloc_find(type);

			r.r_info = ELF64_R_INFO(ELF64_R_SYM(info), type);
			memcpy(image + h.sh_offset, &r, sizeof(r));
			use_bytes(image, image_size);
			ck_assert_int_eq(read_bytes(image, image_size, &m, &e), 0);
			if (!known || known->class == KLP_REL_REFUSED) {
				char number[32];

				snprintf(number, sizeof(number), "type %u", type);
				ck_assert_int_eq(klp_link_measure(&m, 0, 4096, &size, &e), -ENOTSUP);
				ck_assert_int_eq(e.reason, KLP_BAD_RELOC);
				ck_assert_msg(strstr(e.text, known ? known->name : number) != NULL, "%s", e.text);
			}
			klp_module_free(&m);
		}
		r.r_info = info;
		memcpy(image + h.sh_offset, &r, sizeof(r));
		return;
	}
	ck_abort_msg("no relocations");
}
END_TEST

static int parse(const char *text, size_t len, struct klp_error *e)
{
	struct klp_module m;
	int rc = klp_module_parse_meta(text, len, &m, e);

	if (!rc) {
		ck_assert_uint_eq(m.meta_len, len);
		ck_assert(!memcmp(m.meta_text, text, len));
		klp_module_free(&m);
	}
	return rc;
}

static void refuse_meta(json_t *meta, const char *what)
{
	struct klp_error e = KLP_ERROR_INIT;
	char *text = json_dumps(meta, JSON_COMPACT);

	ck_assert_ptr_nonnull(text);
	ck_assert_msg(parse(text, strlen(text), &e) < 0, "accepted: %s: %s", what, text);
	ck_assert_msg(e.reason == KLP_BAD_MODULE || e.reason == KLP_LIMIT || e.reason == KLP_WRONG_ARCH, "%s: %s", what,
		      e.text);
	ck_assert_uint_gt(strlen(e.text), 10);
	free(text);
}

/* The value that every change is made to, found by walking the same way again in a copy. */
static json_t *at_path(json_t *root, const char *const *path, size_t depth)
{
	for (size_t i = 0; i < depth; i++)
		root = json_is_array(root) ? json_array_get(root, 0) : json_object_get(root, path[i]);
	return root;
}

static bool optional(const char *key)
{
	static const char *const names[] = {"description", "built_with", "klp_version", "labels", "notes",
					    "version",     "got",        "plt",         "digest"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(key, names[i]))
			return true;
	return false;
}

/* Each key of each object: missing, and of every other type. */
static void damage_keys(const json_t *good, const char *const *path, size_t depth)
{
	json_t *copy = json_deep_copy(good), *here = at_path(copy, path, depth), *value;
	const char *key;

	json_object_foreach(at_path((json_t *)(uintptr_t)good, path, depth), key, value)
	{
		json_t *const wrong[] = {json_null(),      json_true(),  json_integer(7), json_real(1.5),
					 json_string("x"), json_array(), json_object(),   json_integer(-1)};

		json_object_del(here, key);
		if (!optional(key))
			refuse_meta(copy, key);
		for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
			json_object_set_new(here, key, wrong[i]);
			/* The right type with another value is tested by name below. */
			if (json_typeof(wrong[i]) != json_typeof(value) &&
			    !(json_is_boolean(wrong[i]) && json_is_boolean(value)))
				refuse_meta(copy, key);
			else if (json_is_integer(wrong[i]) && json_integer_value(wrong[i]) < 0)
				refuse_meta(copy, key);
		}
		json_object_set(here, key, value);
	}
	json_decref(copy);
}

START_TEST(P30_metadata_keys)
{
	static const char *const object[] = {"objects", ""}, *const function[] = {"objects", "", "functions", ""},
				 *const symbol[] = {"symbols", ""};
	json_t *good = json_loads(good_text, 0, NULL);
	struct klp_error e = KLP_ERROR_INIT;

	ck_assert_ptr_nonnull(good);
	ck_assert_msg(parse(good_text, strlen(good_text), &e) == 0, "%s", e.text);
	damage_keys(good, NULL, 0);
	damage_keys(good, object, 2);
	damage_keys(good, function, 4);
	damage_keys(good, symbol, 2);
	json_decref(good);
}
END_TEST

START_TEST(P30_metadata_values)
{
	static const struct {
		const char *path, *value;
	} bad[] = {
	    {"format", "2"},
	    {"name", "\"\""},
	    {"arch", "\"vax\""},
	    {"escapes", "[1]"},
	    {"labels", "[null]"},
	    {"notes", "[[]]"},
	    {"objects", "[]"},
	    {"objects", "[1]"},
	    {"symbols", "[1]"},
	    {"object.name", "\"\""},
	    {"object.build_id", "\"\""},
	    {"object.build_id", "\"012\""},
	    {"object.build_id", "\"zz00zz00\""},
	    {"object.functions", "[]"},
	    {"object.functions", "[7]"},
	    {"function.name", "\"\""},
	    {"function.replacement", "\"\""},
	    {"function.sympos", "65536"},
	    {"function.address", "9223372036854775807"},
	    {"function.size", "0"},
	    {"function.size", "4294967296"},
	    {"function.recorded", "4661"},
	    {"function.ranges", "[]"},
	    {"function.ranges", "[[1]]"},
	    {"function.ranges", "[[1,2,3]]"},
	    {"function.ranges", "[[\"a\",2]]"},
	    {"function.ranges", "[[4780,4660]]"},
	    {"function.ranges", "[[4660,4779]]"},
	    {"function.ranges", "[[-1,4780]]"},
	    {"function.digest", "\"00\""},
	    {"function.digest", "\"\""},
	    {"symbol.name", "\"\""},
	    {"symbol.how", "\"magic\""},
	    {"symbol.how", "\"tls\""},
	    {"symbol.type", "\"thing\""},
	    {"symbol.type", "\"tls\""},
	    {"symbol.object", "1"},
	    {"symbol.address", "9223372036854775807"},
	    {"symbol.got", "-5"},
	    {"symbol.plt", "\"5\""},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		json_t *good = json_loads(good_text, 0, NULL), *in = good,
		       *v = json_loads(bad[i].value, JSON_DECODE_ANY, NULL);
		const char *dot = strchr(bad[i].path, '.');

		if (dot && !strncmp(bad[i].path, "symbol", 6))
			in = json_array_get(json_object_get(good, "symbols"), 0);
		else if (dot)
			in = json_array_get(json_object_get(good, "objects"), 0);
		if (dot && !strncmp(bad[i].path, "function", 8))
			in = json_array_get(json_object_get(in, "functions"), 0);
		ck_assert_ptr_nonnull(v);
		json_object_set_new(in, dot ? dot + 1 : bad[i].path, v);
		refuse_meta(good, bad[i].path);
		json_decref(good);
	}
}
END_TEST

/* A symbol of klp's runtime is a function, and needs no address. */
START_TEST(P30_metadata_runtime)
{
	json_t *good = json_loads(good_text, 0, NULL), *y = json_array_get(json_object_get(good, "symbols"), 0);
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_module m;
	char *text;

	json_object_set_new(y, "how", json_string("klp"));
	json_object_del(y, "address");
	text = json_dumps(good, 0);
	ck_assert_msg(klp_module_parse_meta(text, strlen(text), &m, &e) == 0, "%s", e.text);
	ck_assert(m.symbol[0].function && m.symbol[0].how == KLP_SYM_RUNTIME);
	klp_module_free(&m);
	free(text);
	json_object_set_new(y, "type", json_string("object"));
	refuse_meta(good, "a datum of klp's runtime");
	json_object_set_new(y, "type", json_string("tls"));
	refuse_meta(good, "a thread-local variable of klp's runtime");
	json_decref(good);
}
END_TEST

/* A module with callbacks and states; `object` and `top` are what is put there. */
static json_t *authored(const char *object, const char *top)
{
	json_t *meta = json_loads(good_text, 0, NULL), *v = json_loads(object, 0, NULL), *w = json_loads(top, 0, NULL);

	ck_assert(v && w);
	json_object_set_new(json_array_get(json_object_get(meta, "objects"), 0), "callbacks", v);
	json_object_set_new(meta, "states", w);
	return meta;
}

START_TEST(P30_metadata_authored)
{
	static const char *const callbacks[] = {
	    "[]",
	    "{\"pre_patch\": \"m_run\"}",
	    "{\"pre_patch\": {}}",
	    "{\"pre_patch\": {\"symbol\": \"\"}}",
	    "{\"pre_patch\": {\"symbol\": 7}}",
	    "{\"prepatch\": {\"symbol\": \"m_run\"}}",
	};
	static const char *const states[] = {
	    "{}",
	    "[7]",
	    "[{\"id\": 7, \"version\": 1}]",
	    "[{\"id\": 0, \"version\": 1, \"symbol\": \"zeroed\"}]",
	    "[{\"id\": 7, \"version\": 0, \"symbol\": \"zeroed\"}]",
	    "[{\"id\": -7, \"version\": 1, \"symbol\": \"zeroed\"}]",
	    "[{\"id\": 4294967296, \"version\": 1, \"symbol\": \"zeroed\"}]",
	    "[{\"id\": 7, \"version\": 4294967296, \"symbol\": \"zeroed\"}]",
	    "[{\"id\": 7, \"version\": 1, \"symbol\": \"\"}]",
	    "[{\"id\": 7, \"version\": 1, \"symbol\": \"zeroed\"}, {\"id\": 7, \"version\": 2, \"symbol\": \"words\"}]",
	};
	json_t *meta, *many = json_array();

	for (size_t i = 0; i < sizeof(callbacks) / sizeof(callbacks[0]); i++) {
		meta = authored(callbacks[i], "[]");
		refuse_meta(meta, callbacks[i]);
		json_decref(meta);
	}
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		meta = authored("{}", states[i]);
		refuse_meta(meta, states[i]);
		json_decref(meta);
	}
	for (int i = 1; i <= 257; i++)
		json_array_append_new(many, json_pack("{s:i, s:i, s:s}", "id", i, "version", 1, "symbol", "zeroed"));
	meta = authored("{}", "[]");
	json_object_set_new(meta, "states", many);
	refuse_meta(meta, "more states than there may be");
	json_decref(meta);
}
END_TEST

/* What callbacks and states name must be in the file, and be what it is said to be; the linker says where they are. */
START_TEST(P30_authored_symbols)
{
	static const struct {
		const char *callback, *state;
		bool good;
	} one[] = {{"m_run", "zeroed", true},    {"m_nothing", "zeroed", false}, {"zeroed", "zeroed", false},
		   {"m_run", "counter", false},  {"m_run", "table", false},      {"m_run", "m_run", false},
		   {"m_run", "m_nothing", false}};
	char object[4096];

	snprintf(object, sizeof(object), "%s/plain.o", directory);
	for (size_t i = 0; i < sizeof(one) / sizeof(one[0]); i++) {
		struct klp_error e = KLP_ERROR_INIT;
		struct klp_linked l;
		struct klp_module m;
		char callbacks[200], states[200], *path;
		const uint64_t *table;
		int rc;

		snprintf(callbacks, sizeof(callbacks), "{\"post_patch\": {\"symbol\": \"%s\"}}", one[i].callback);
		snprintf(states, sizeof(states), "[{\"id\": 7, \"version\": 3, \"symbol\": \"%s\"}]", one[i].state);
		path = make_module(object, authored(callbacks, states));
		rc = klp_module_read(path, &m, &e);
		unlink(path);
		free(path);
		if (!one[i].good) {
			ck_assert_msg(rc == -EINVAL && e.reason == KLP_BAD_MODULE, "%s, %s: %s", one[i].callback,
				      one[i].state, e.text);
			continue;
		}
		ck_assert_msg(rc == 0, "%s", e.text);
		ck_assert(m.state_count == 1 && m.state[0].id == 7 && m.state[0].version == 3);
		ck_assert_str_eq(m.object[0].callback[KLP_CALLBACK_POST_PATCH], "m_run");
		rc = klp_link(&m, 0, &self, me, (me->start - (64u << 20)) & ~4095ull, NULL, &l, &e);
		ck_assert_msg(rc == 0, "%s", e.text);
		table = (const uint64_t *)(const void *)(l.seg[KLP_SEG_META].bytes +
							 (l.functions_addr - l.base - l.seg[KLP_SEG_META].offset) +
							 l.function_count * 16);
		ck_assert(!table[KLP_CALLBACK_PRE_PATCH] && !table[KLP_CALLBACK_PRE_UNPATCH] &&
			  !table[KLP_CALLBACK_POST_UNPATCH]);
		ck_assert_uint_ge(table[KLP_CALLBACK_POST_PATCH], l.text_addr);
		ck_assert_uint_lt(table[KLP_CALLBACK_POST_PATCH], l.text_addr + l.text_len);
		ck_assert_uint_eq(l.state_count, 1);
		ck_assert_uint_eq(table[KLP_CALLBACK_KINDS], l.base + l.seg[KLP_SEG_DATA].offset + l.state[0]);
		ck_assert_uint_le(l.state[0] + KLP_STATE_RECORD_SIZE, l.seg[KLP_SEG_DATA].size);
		klp_linked_free(&l);
		klp_module_free(&m);
	}
}
END_TEST

START_TEST(P30_metadata_text)
{
	static const char *const bad[] = {"",
					  " ",
					  "{",
					  "}",
					  "[]",
					  "1",
					  "\"x\"",
					  "null",
					  "{}{}",
					  "{\"format\":1,\"format\":1}",
					  "{\"format\":99999999999999999999}",
					  "{\"format\":1e999}",
					  "{\"name\":\"\\u0000\"}",
					  "{\"name\":\"\\ud800\"}",
					  "{\"name\":\"\xff\"}",
					  "\xef\xbb\xbf{}",
					  "{\"format\":1,}",
					  "{'format':1}"};
	struct klp_error e = KLP_ERROR_INIT;
	size_t len = strlen(good_text);
	char *text = malloc(2 * len + 600000);
	json_t *good, *list, *one;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(parse(bad[i], strlen(bad[i]), &e) < 0 && e.reason == KLP_BAD_MODULE, "accepted: %s",
			      bad[i]);
	/* Cut off anywhere. */
	for (size_t n = 0; n < len; n++)
		ck_assert_int_lt(parse(good_text, n, &e), 0);
	/* Something behind it; a byte inside it. */
	memcpy(text, good_text, len);
	text[len] = 'x';
	ck_assert_int_lt(parse(text, len + 1, &e), 0);
	text[len] = 0;
	ck_assert_int_lt(parse(text, len + 1, &e), 0);
	for (size_t n = 0; n < len; n++) {
		for (int bit = 0; bit < 8; bit++) {
			text[n] = (char)(good_text[n] ^ (1 << bit));
			parse(text, len, &e); /* accepted where it is only a name or a number; no crash */
		}
		text[n] = good_text[n];
	}
	/* Nested without end. */
	memset(text, '[', 500000);
	ck_assert_int_lt(parse(text, 500000, &e), 0);
	for (int i = 0; i < 100000; i++)
		memcpy(text + 5 * i, "{\"a\":", 5);
	ck_assert_int_lt(parse(text, 500000, &e), 0);
	free(text);
	/* Too many, too long, twice. */
	good = json_loads(good_text, 0, NULL);
	list = json_object_get(good, "symbols");
	one = json_array_get(list, 0);
	for (unsigned i = 0; i <= KLP_MODULE_MAX_SYMBOLS; i++)
		json_array_append(list, one);
	refuse_meta(good, "symbols");
	json_decref(good);
	good = json_loads(good_text, 0, NULL);
	list = json_object_get(json_array_get(json_object_get(good, "objects"), 0), "functions");
	json_array_append_new(list, json_deep_copy(json_array_get(list, 0)));
	refuse_meta(good, "the same function twice");
	for (unsigned i = 0; i <= KLP_MODULE_MAX_FUNCTIONS; i++)
		json_array_append(list, json_array_get(list, 0));
	refuse_meta(good, "functions");
	json_decref(good);
	good = json_loads(good_text, 0, NULL);
	json_array_append(json_object_get(good, "objects"), json_array_get(json_object_get(good, "objects"), 0));
	refuse_meta(good, "the same object twice");
	json_decref(good);
	good = json_loads(good_text, 0, NULL);
	text = malloc(KLP_NAME_MAX + 2);
	memset(text, 'a', KLP_NAME_MAX + 1);
	text[KLP_NAME_MAX + 1] = 0;
	json_object_set_new(good, "name", json_string(text));
	refuse_meta(good, "a long name");
	json_object_set_new(good, "name", json_string("fix"));
	list = json_array();
	for (unsigned i = 0; i <= KLP_MODULE_MAX_RANGES; i++)
		json_array_append_new(list, json_pack("[ii]", 4660, 4780));
	json_object_set_new(
	    json_array_get(json_object_get(json_array_get(json_object_get(good, "objects"), 0), "functions"), 0),
	    "ranges", list);
	refuse_meta(good, "many ranges");
	json_decref(good);
	free(text);
}
END_TEST

START_TEST(unknown_keys_and_digest)
{
	struct klp_error e = KLP_ERROR_INIT;
	json_t *good = json_loads(good_text, 0, NULL), *fn;
	struct klp_module m;
	char hex[65], *text;

	for (int i = 0; i < 32; i++)
		snprintf(hex + 2 * i, 3, "%02x", i * 7 & 255);
	fn = json_array_get(json_object_get(json_array_get(json_object_get(good, "objects"), 0), "functions"), 0);
	json_object_set_new(good, "something_new", json_object());
	json_object_set_new(fn, "digest", json_string(hex));
	text = json_dumps(good, 0);
	ck_assert_msg(klp_module_parse_meta(text, strlen(text), &m, &e) == 0, "%s", e.text);
	ck_assert(m.object[0].function[0].has_digest);
	ck_assert_uint_eq(m.object[0].function[0].digest[31], 31 * 7);
	ck_assert_uint_eq(m.object[0].function[0].address, 4660);
	ck_assert_uint_eq(m.object[0].function[0].range[0].end, 4780);
	ck_assert(m.symbol[0].function && m.symbol[0].how == KLP_SYM_ADDRESS);
	ck_assert(!m.coupled && !m.exceptions && json_array_size(m.escapes) == 0);
	klp_module_free(&m);
	free(text);
	json_decref(good);
}
END_TEST

/* File and metadata must agree. */
START_TEST(P30_disagreement)
{
	static const struct {
		const char *key, *value, *say;
		int in_function;
	} change[] = {
	    {"replacement", "m_nothing", "does not contain its replacement", 1},
	    {"replacement", "counter", "does not contain its replacement", 1},
	    {"arch", "aarch64", "its metadata say aarch64", 0},
	};
	char object[4096];
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_module m;
	json_t *meta, *o;
	char *path, *text;

	snprintf(object, sizeof(object), "%s/plain.o", directory);
	for (size_t i = 0; i < sizeof(change) / sizeof(change[0]); i++) {
		meta = json_loads(good_text, 0, NULL);
		o = change[i].in_function
			? json_array_get(
			      json_object_get(json_array_get(json_object_get(meta, "objects"), 0), "functions"), 0)
			: meta;
		json_object_set_new(o, change[i].key, json_string(change[i].value));
		path = make_module(object, meta);
		ck_assert_int_lt(klp_module_read(path, &m, &e), 0);
		ck_assert_msg(strstr(e.text, change[i].say) != NULL, "%s", e.text);
		unlink(path);
		free(path);
	}
	/* A symbol table of the metadata that is too short, or in another order. */
	for (int k = 0; k < 2; k++) {
		meta = json_loads(good_text, 0, NULL);
		o = json_deep_copy(json_object_get(meta, "symbols"));
		if (k)
			json_array_insert(json_object_get(meta, "symbols"), 0,
					  json_array_get(json_object_get(meta, "symbols"), 5));
		else
			json_array_clear(json_object_get(meta, "symbols"));
		text = json_dumps(meta, 0);
		path = make_module_text(object, o, text, strlen(text));
		ck_assert_int_lt(klp_module_read(path, &m, &e), 0);
		ck_assert_msg(strstr(e.text, k ? "in the metadata" : "have only 0 symbols") != NULL, "%s", e.text);
		unlink(path);
		free(path);
		free(text);
		json_decref(o);
		json_decref(meta);
	}
	meta = json_loads(good_text, 0, NULL);
	o = json_deep_copy(json_array_get(json_object_get(meta, "objects"), 0));
	json_object_set_new(o, "build_id", json_string("aabbccdd"));
	json_array_append_new(json_object_get(meta, "objects"), o);
	path = make_module(object, meta);
	ck_assert_int_lt(klp_module_read(path, &m, &e), 0); /* the function is there, but for the first object only */
	ck_assert_int_eq(e.reason, KLP_BAD_FUNCTION);
	unlink(path);
	free(path);
}
END_TEST

static void run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *fmt, ...)
{
	char command[16384];
	va_list ap;

	va_start(ap, fmt);
	ck_assert_int_lt(vsnprintf(command, sizeof(command), fmt, ap), (int)sizeof(command));
	va_end(ap);
	ck_assert_msg(system(command) == 0, "%s", command);
}

/* The metadata of a module that patches the same object twice, as if it were two: for where its parts are. */
static json_t *two_objects(void)
{
	json_t *meta = json_loads(good_text, 0, NULL), *objects = json_object_get(meta, "objects"), *second, *symbols,
	       *y;
	size_t i, count;

	second = json_deep_copy(json_array_get(objects, 0));
	json_object_set_new(second, "name", json_string("second"));
	json_object_set_new(second, "build_id", json_string("aabbccdd"));
	json_array_append_new(objects, second);
	symbols = json_object_get(meta, "symbols");
	count = json_array_size(symbols);
	for (i = 0; i < count; i++) {
		y = json_deep_copy(json_array_get(symbols, i));
		json_object_set_new(y, "object", json_integer(1));
		json_array_append_new(symbols, y);
	}
	return meta;
}

/* An object file of two parts, one for each, to which `options` of objcopy have been done. */
static char *two_parts(const json_t *symbols, const char *options)
{
	char *out = scratch_name("link-parts"), names[2][4096] = {"", ""};
	size_t count = json_array_size(symbols) / 2, i;
	int fd = mkstemp(out);
	json_t *y;

	ck_assert(fd >= 0);
	close(fd);
	json_array_foreach(symbols, i, y)
	{
		char *to = names[i >= count] + strlen(names[i >= count]);
		const char *name = json_string_value(json_object_get(y, "name"));

		snprintf(to, sizeof(names[0]) - (size_t)(to - names[i >= count]), " --redefine-sym %s=klp:%zu:%s", name,
			 i, name);
	}
	run("objcopy -N _GLOBAL_OFFSET_TABLE_ -w -G none %s %s/plain.o %s.0", names[0], directory, out);
	run("objcopy -N _GLOBAL_OFFSET_TABLE_ -w -G none --prefix-alloc-sections=.klp.1 %s %s/plain.o %s.1", names[1],
	    directory, out);
	run("ld -r -o %s.2 %s.0 %s.1 && objcopy %s %s.2 %s && rm %s.[012]", out, out, out, options, out, out, out);
	return out;
}

/* Reads the module; 0, or a refusal that has been seen to say why. */
static int read_parts(json_t *meta, const char *options, struct klp_module *m, struct klp_error *e)
{
	char *text = json_dumps(meta, 0), *object = two_parts(json_object_get(meta, "symbols"), options), *path;
	json_t *none = json_array();
	int rc;

	path = make_module_text(object, none, text, strlen(text));
	rc = klp_module_read(path, m, e);
	unlink(path);
	unlink(object);
	free(path);
	free(object);
	free(text);
	json_decref(none);
	json_decref(meta);
	return rc;
}

/* B27: each part is laid out and linked on its own, at a place of its own. */
START_TEST(several_objects)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_linked l[2];
	struct klp_module m;

	ck_assert_msg(read_parts(two_objects(), "", &m, &e) == 0, "%s", e.text);
	ck_assert_uint_eq(m.object_count, 2);
	ck_assert_uint_eq(klp_module_functions(&m), 2);
	for (unsigned i = 0; i < 2; i++) {
		uint64_t base = (me->start - (uint64_t)(i + 1) * (256u << 20)) & ~4095ull, size;

		ck_assert_msg(klp_link_measure(&m, i, 4096, &size, &e) == 0, "%s", e.text);
		ck_assert_msg(klp_link(&m, i, &self, me, base, NULL, &l[i], &e) == 0, "%s", e.text);
		ck_assert_uint_eq(l[i].size, size);
		ck_assert_uint_eq(l[i].base, base);
		ck_assert_uint_eq(l[i].function_count, 1);
		ck_assert(l[i].new_function[0] >= l[i].text_addr &&
			  l[i].new_function[0] < l[i].text_addr + l[i].text_len);
		ck_assert_uint_gt(l[i].eh_frame_size, 0);
		ck_assert_uint_gt(l[i].fde_count, 0);
	}
	/* The same code, at two places: neither has anything of the other. */
	ck_assert_uint_eq(l[0].size, l[1].size);
	ck_assert_uint_eq(l[0].fde_count, l[1].fde_count);
	ck_assert_uint_eq(l[0].new_function[0] - l[0].base, l[1].new_function[0] - l[1].base);
	ck_assert_int_ne(klp_link_measure(&m, 2, 4096, &l[0].size, &e), 0);
	klp_linked_free(&l[0]);
	klp_linked_free(&l[1]);
	klp_module_free(&m);
}
END_TEST

/* What goes from one part to the other is refused, whichever way it is written. */
START_TEST(several_objects_apart)
{
	struct klp_error e = KLP_ERROR_INIT;
	json_t *meta = two_objects(), *y;
	struct klp_module m;
	uint64_t size;

	/* A symbol of the second part that is the first object's. */
	y = json_array_get(json_object_get(meta, "symbols"), json_array_size(json_object_get(meta, "symbols")) / 2);
	json_object_set_new(y, "object", json_integer(0));
	ck_assert_msg(read_parts(meta, "", &m, &e) == 0, "%s", e.text);
	ck_assert_int_eq(klp_link_measure(&m, 0, 4096, &size, &e), 0);
	ck_assert_int_eq(klp_link_measure(&m, 1, 4096, &size, &e), -ENOTSUP);
	ck_assert_msg(strstr(e.text, "refers to t_add, which belongs to target") != NULL, "%s", e.text);
	klp_module_free(&m);
	/* The second part's data among the first one's. */
	ck_assert_msg(read_parts(two_objects(), "--rename-section .klp.1.data=.data.other", &m, &e) == 0, "%s", e.text);
	ck_assert_int_eq(klp_link_measure(&m, 0, 4096, &size, &e), 0);
	ck_assert_int_eq(klp_link_measure(&m, 1, 4096, &size, &e), -ENOTSUP);
	ck_assert_msg(strstr(e.text, "which belongs to target") != NULL, "%s", e.text);
	klp_module_free(&m);
}
END_TEST

START_TEST(P30_several_objects)
{
	static const char *const name[] = {".klp.0.text",     ".klp.01.text",         ".klp.2.text",
					   ".klp.99999.text", ".klp.4294967297.text", ".klp.1",
					   ".klp.1.",         ".klp.1text",           ".text.lost"};
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_module m;
	char option[256];
	json_t *meta, *list;

	for (size_t i = 0; i < sizeof(name) / sizeof(name[0]); i++) {
		snprintf(option, sizeof(option), "--rename-section .klp.1.text=%s", name[i]);
		ck_assert_msg(read_parts(two_objects(), option, &m, &e) < 0, "%s", name[i]);
		ck_assert_msg(e.reason == KLP_BAD_MODULE || e.reason == KLP_BAD_FUNCTION || e.reason == KLP_AMBIGUOUS,
			      "%s: %s", name[i], e.text);
	}
	/* Sections of an object that the metadata do not have. */
	meta = two_objects();
	json_array_remove(json_object_get(meta, "objects"), 1);
	list = json_object_get(meta, "symbols");
	for (size_t i = 0; i < json_array_size(list); i++)
		json_object_set_new(json_array_get(list, i), "object", json_integer(0));
	ck_assert_int_lt(read_parts(meta, "", &m, &e), 0);
	ck_assert_msg(strstr(e.text, "have only 1 objects") != NULL, "%s", e.text);
	/* Each object with its own build-id, too many of them. */
	meta = json_loads(good_text, 0, NULL);
	list = json_object_get(meta, "objects");
	for (int i = 0; i < 10000; i++) {
		json_t *o = json_deep_copy(json_array_get(list, 0));

		json_object_set_new(o, "build_id", json_sprintf("%08x", i + 1));
		json_array_append_new(list, o);
	}
	refuse_meta(meta, "10000 objects");
	while (json_array_size(list) > KLP_MODULE_MAX_OBJECTS)
		json_array_remove(list, json_array_size(list) - 1);
	{
		char *text = json_dumps(meta, 0);

		ck_assert_msg(klp_module_parse_meta(text, strlen(text), &m, &e) == 0, "%s", e.text);
		ck_assert_uint_eq(m.object_count, KLP_MODULE_MAX_OBJECTS);
		klp_module_free(&m);
		free(text);
	}
	json_decref(meta);
}
END_TEST

START_TEST(errors)
{
	struct klp_error e = KLP_ERROR_INIT;
	char longer[2000];

	memset(longer, 'y', sizeof(longer));
	longer[sizeof(longer) - 1] = 0;
	ck_assert_int_eq(klp_fail(&e, EBUSY, KLP_BUSY, "a\nb %s", longer), -EBUSY);
	ck_assert_int_eq(e.err, EBUSY);
	ck_assert_uint_eq(strlen(e.text), sizeof(e.text) - 1);
	ck_assert_ptr_null(strchr(e.text, '\n'));
	ck_assert_int_eq(klp_fail(&e, EBUSY, KLP_BUSY, "again: %s", e.text), -EBUSY);
	ck_assert(!strncmp(e.text, "again: a?b yyy", 14));
	ck_assert_int_eq(klp_fail(&e, 0, KLP_BUSY, "x"), -EINVAL);
	for (unsigned i = 0; i < KLP_REASON_COUNT; i++) {
		ck_assert_str_ne(klp_reason_name((enum klp_reason)i), "UNKNOWN");
		for (unsigned k = 0; k < i; k++)
			ck_assert_str_ne(klp_reason_name((enum klp_reason)i), klp_reason_name((enum klp_reason)k));
	}
	ck_assert_str_eq(klp_reason_name(KLP_SITE_TAKEN), "SITE_TAKEN");
	ck_assert_str_eq(klp_reason_name((enum klp_reason)12345), "UNKNOWN");
}
END_TEST

int main(int argc, char **argv)
{
	Suite *s = suite_create("module");
	TCase *c = tcase_create("module");
	SRunner *r;
	int failed;

	if (argc != 2)
		return 2;
	directory = argv[1];
	me = object_of(&t_value);
	tcase_set_timeout(c, 240);
	tcase_add_unchecked_fixture(c, make_good, NULL);
	tcase_add_test(c, errors);
	tcase_add_test(c, P30_not_a_file);
	tcase_add_test(c, P30_good);
	tcase_add_test(c, P30_truncated);
	tcase_add_test(c, P30_wrong_arch);
	tcase_add_test(c, P30_every_header_byte);
	tcase_add_test(c, P30_every_table_byte);
	tcase_add_test(c, P30_every_relocation_type);
	tcase_add_test(c, P30_metadata_keys);
	tcase_add_test(c, P30_metadata_values);
	tcase_add_test(c, P30_metadata_runtime);
	tcase_add_test(c, P30_metadata_authored);
	tcase_add_test(c, P30_authored_symbols);
	tcase_add_test(c, P30_metadata_text);
	tcase_add_test(c, unknown_keys_and_digest);
	tcase_add_test(c, P30_disagreement);
	tcase_add_test(c, several_objects);
	tcase_add_test(c, several_objects_apart);
	tcase_add_test(c, P30_several_objects);
	suite_add_tcase(s, c);
	r = srunner_create(s);
	srunner_set_fork_status(r, CK_NOFORK);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	free(image);
	free(good_text);
	klp_process_close(&self);
	return failed ? 1 : 0;
}
