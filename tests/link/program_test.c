/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Modules for the main executable: linked, mapped, and their functions called. Built twice, as a PIE and as a program
 * of fixed addresses; the directory with the objects is the argument.
 */
#include <check.h>
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "klp/include/klp/klp.h"
#include "klp/reloc.h"
#include "klp/resolve.h"
#include "tests/link/harness.h"

static const char *objects;
static const struct klp_object *me;
extern int t_never(int a);

static const char *object(const char *name)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/%s.o", objects, name);
	return path;
}

/* The program's own TLS block of this thread, as the dynamic linker says. */
static int find_tls(struct dl_phdr_info *info, size_t size, void *data)
{
	(void)size;
	if (!*info->dlpi_name)
		*(char **)data = info->dlpi_tls_data;
	return *info->dlpi_name ? 0 : 1;
}

static uint64_t tls_offset(const void *variable)
{
	char *block = NULL;

	dl_iterate_phdr(find_tls, &block);
	ck_assert_ptr_nonnull(block);
	return (uint64_t)((const char *)variable - block);
}

static json_t *symbols(int with_slots)
{
	json_t *a = json_array();

	json_array_append_new(a, symbol_address(me, "t_add", "func", (void *)t_add));
	json_array_append_new(a, symbol_address(me, "t_value", "object", &t_value));
	json_array_append_new(a, symbol_dynamic(me, "strlen", "func", with_slots, 0));
	json_array_append_new(a, symbol_dynamic(me, "getpid", "func", with_slots, 0));
	json_array_append_new(a, symbol_dynamic(me, "memset", "func", with_slots, 0));
	json_array_append_new(a, symbol_dynamic(me, "environ", "object", 0, 0));
	json_array_append_new(a, symbol_dynamic(me, "__tls_get_addr", "func", 0, 0));
	json_array_append_new(a, symbol_tls("t_tls", tls_offset(&t_tls), 0));
	json_array_append_new(a, symbol_tls("t_tls_high", tls_offset(&t_tls_high), 0));
	return a;
}

/* What the module's m_run must answer for n. `run` is how often it has run since it was loaded, from 1. */
static void check_results(const char *name, const struct result *r, int n, int run, int value)
{
	static const int table[8] = {1, 2, 4, 8, 16, 32, 64, 128};
	static const char *const words[] = {"one", "three", "seven"};
	int counter = 100 + run - 1; /* local() counts it, once a run, behind the sum and behind choose() */
	int chosen[] = {counter, n + 50, 5, 0, table[5] + n, value + n, 1234, -1};

	ck_assert_msg(r->v[R_CALL] == n + 2, "%s: call", name);
	ck_assert_msg(r->v[R_ADDRESS] == (long)(uintptr_t)t_add, "%s: the address of a function is the target's own",
		      name);
	ck_assert_msg(r->v[R_DATA] == value && t_value == value, "%s: data", name);
	ck_assert_msg(r->v[R_IFUNC] == (n & 15), "%s: ifunc", name);
	ck_assert_msg(r->v[R_LIBC_CALL] == getpid(), "%s: call of libc", name);
	ck_assert_msg(r->v[R_STATIC] == run + counter, "%s: static data", name);
	ck_assert_msg(r->v[R_CONST] == table[n & 7], "%s: constants", name);
	ck_assert_msg(r->v[R_SWITCH] == (n <= 6 ? chosen[n] : -1), "%s: jump table: %ld for %d", name, r->v[R_SWITCH],
		      n);
	ck_assert_msg(r->v[R_LOCAL] == n * 3 + table[n & 7], "%s: local function", name);
	ck_assert_msg(r->v[R_BSS] == run, "%s: zeroed data", name);
	ck_assert_msg(r->v[R_POINTERS] == (long)strlen(words[n % 3]), "%s: table of pointers", name);
	ck_assert_msg(r->v[R_TAIL] == n + 5, "%s: tail call", name);
	ck_assert_msg(r->v[R_POINTER_CALL] == 2 * n, "%s: call by pointer", name);
}

static void run_variant(const char *name, int with_slots, int libc_address, int with_environ, int with_tls)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct loaded l;
	int rc = load(object(name), me, symbols(with_slots), &l, &e);

	ck_assert_msg(rc == 0, "%s: %s", name, e.text);
	for (int n = 0, run = 1; n < 9; n++, run++) {
		struct result r;
		int value = t_value + 1, tls = t_tls + 1;

		memset(&r, 0x55, sizeof(r));
		l.run(&r, n);
		check_results(name, &r, n, run, value);
		if (libc_address)
			ck_assert_msg(r.v[R_LIBC_ADDR] == (long)(uintptr_t)getpid, "%s: the address of getpid", name);
		if (with_environ)
			ck_assert_msg(r.v[R_ENVIRON] == (long)(uintptr_t)environ, "%s: environ", name);
		if (with_tls) {
			ck_assert_msg(r.v[R_TLS] == tls && t_tls == tls, "%s: thread-local", name);
			ck_assert_msg(r.v[R_TLS_HIGH] == 9 && r.v[R_TLS_ADDRESS] == (long)(uintptr_t)&t_tls_high,
				      "%s: second thread-local", name);
		}
	}
	/* The function table: a place for the site record, then the function. */
	ck_assert_uint_eq(((uint64_t *)l.l.functions_addr)[0], 0);
	ck_assert_uint_eq(((uint64_t *)l.l.functions_addr)[1], l.l.new_function[0]);
	ck_assert_uint_eq(l.l.new_range[0].start, l.l.new_function[0]);
	ck_assert_uint_gt(l.l.new_range[0].end, l.l.new_range[0].start);
	ck_assert_uint_ge(l.l.new_range[0].start, l.l.text_addr);
	ck_assert_uint_le(l.l.new_range[0].end, l.l.text_addr + l.l.text_len);
	ck_assert_uint_eq(l.l.meta_len, l.m.meta_len);
	ck_assert(!memcmp((void *)l.l.meta_addr, l.m.meta_text, l.l.meta_len));
	unload(&l);
}

#ifdef __PIC__
START_TEST(test_variants)
{
	static const char *const pic[] = {"gcc-pic",       "gcc-pie",   "gcc-noplt", "gcc-O0",      "gcc-Os",  "gcc-O3",
					  "gcc-patchable", "clang-pic", "clang-pie", "clang-noplt", "clang-O0"};

	for (size_t i = 0; i < sizeof(pic) / sizeof(pic[0]); i++)
		for (int slots = 0; slots < 2; slots++)
			run_variant(pic[i], slots, 1, 1, 1);
	run_variant("gcc-large", 1, 1, 1, 1);
	run_variant("clang-large", 0, 1, 1, 1);
}
END_TEST

/* Code for fixed low addresses does not fit into a PIE: it is refused by name, before anything is mapped. */
START_TEST(test_low_code_refused)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct loaded l;

	ck_assert_int_eq(load(object("gcc-nopic"), me, symbols(1), &l, &e), -ERANGE);
	ck_assert_int_eq(e.reason, KLP_BAD_RELOC);
	ck_assert_msg(strstr(e.text, "R_X86_64_32") != NULL, "%s", e.text);
}
END_TEST
#else
START_TEST(test_variants)
{
	run_variant("gcc-nopic", 1, 1, 1, 1);
	run_variant("clang-nopic", 1, 1, 1, 1);
	run_variant("gcc-nopic", 0, 1, 1, 1);
	run_variant("gcc-pic", 1, 1, 1, 1);
	run_variant("gcc-large", 1, 1, 1, 1);
	/* Everything that is not in the executable itself by its canonical PLT entry. */
	run_variant("clang-pie", 0, 1, 1, 1);
}
END_TEST

START_TEST(test_low_code_refused)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct loaded l;

	/* The same object, but its data out of reach of 32 bits. */
	json_t *a = symbols(1);
	json_object_set_new(json_array_get(a, 1), "address", json_integer(INT64_C(1) << 40));
	ck_assert_int_eq(load(object("gcc-nopic"), me, a, &l, &e), -EINVAL);
	ck_assert_int_eq(e.reason, KLP_NO_SYMBOL);
	ck_assert_msg(strstr(e.text, "t_value") != NULL, "%s", e.text);
}
END_TEST
#endif

START_TEST(test_tls_models)
{
	static const char *const model[] = {"tls-le",   "tls-ie",       "tls-gd",       "tls-ld",
					    "tls-desc", "tls-clang-ld", "tls-clang-gd", "tls-noplt"};

	for (size_t i = 0; i < sizeof(model) / sizeof(model[0]); i++) {
		struct klp_error e = KLP_ERROR_INIT;
		struct result r = {{0}};
		struct loaded l;
		int tls = t_tls;

		ck_assert_msg(load(object(model[i]), me, symbols(0), &l, &e) == 0, "%s: %s", model[i], e.text);
		l.run(&r, 5);
		ck_assert_msg(r.v[R_TLS] == tls + 5 && t_tls == tls + 5, "%s", model[i]);
		ck_assert_msg(r.v[R_TLS_HIGH] == 9, "%s", model[i]);
		ck_assert_msg(r.v[R_TLS_ADDRESS] == (long)(uintptr_t)&t_tls_high, "%s", model[i]);
		unload(&l);
	}
}
END_TEST

static void *tls_thread(void *arg)
{
	struct loaded *l = arg;
	struct result r = {{0}};

	l->run(&r, 3);
	return r.v[R_TLS] == 10 && t_tls == 10 && r.v[R_TLS_ADDRESS] == (long)(uintptr_t)&t_tls_high ? arg : NULL;
}

START_TEST(test_tls_of_another_thread)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct loaded l;
	pthread_t t;
	void *ok;

	ck_assert_int_eq(load(object("tls-ie"), me, symbols(0), &l, &e), 0);
	ck_assert_int_eq(pthread_create(&t, NULL, tls_thread, &l), 0);
	ck_assert_int_eq(pthread_join(t, &ok), 0);
	ck_assert_ptr_eq(ok, &l);
	unload(&l);
}
END_TEST

START_TEST(test_assembly)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct result r = {{0}};
	struct loaded l;
	json_t *a = symbols(1), *y = symbol_dynamic(me, "getpid", "func", 1, 0);

	/* The name inside the module is the metadata's business. */
	json_object_set_new(y, "name", json_string("slot_of_getpid"));
	json_object_set_new(y, "got", json_integer(0));
	json_array_append_new(a, y);
	ck_assert_int_eq(load(object("asm"), me, a, &l, &e), -ENOENT);
	ck_assert_int_eq(e.reason, KLP_NO_SYMBOL);
	ck_assert_msg(strstr(e.text, "slot_of_getpid") != NULL, "%s", e.text);
	ck_assert_msg(load(object("asm-getpid"), me, symbols(1), &l, &e) == 0, "%s", e.text);
	l.run(&r, 4);
	ck_assert_int_eq(r.v[R_CALL], 6);
	ck_assert_int_eq(r.v[R_ADDRESS], (long)(uintptr_t)t_add);
	ck_assert_int_eq(r.v[R_DATA], t_value);
	ck_assert_int_eq(r.v[R_POINTER_CALL], 8);
	ck_assert_int_eq(r.v[R_TLS], t_tls);
	ck_assert_int_eq(r.v[R_TLS_HIGH], (long)tls_offset(&t_tls_high));
	ck_assert_int_eq(r.v[R_STATIC], getpid());
	ck_assert_int_eq(r.v[R_LIBC_CALL], getpid());
	unload(&l);
}
END_TEST

/* S2: a call out of reach gets a PLT entry, an address out of reach is refused with the symbol's name. */
START_TEST(test_far)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct loaded l;
	const uint8_t *text;
	int entries = 0;

	if ((uint64_t)(uintptr_t)dlsym(RTLD_DEFAULT, "getpid") - me->start > UINT32_MAX) {
		json_t *a = json_array();

		ck_assert_int_eq(load(object("gcc-pic"), me, symbols(1), &l, &e), 0);
		text = (const uint8_t *)l.l.text_addr;
		for (uint64_t i = 0; i + 16 <= l.l.text_len; i += 16)
			entries += text[i] == 0xff && text[i + 1] == 0x25 && text[i + 6] == 0xcc;
		ck_assert_int_gt(entries, 0);
		unload(&l);
#ifdef __PIC__
		json_array_append_new(a, symbol_dynamic(me, "getpid", "func", 1, 0));
		ck_assert_int_eq(load(object("far"), me, a, &l, &e), -ERANGE);
		ck_assert_int_eq(e.reason, KLP_BAD_RELOC);
		ck_assert_msg(strstr(e.text, "getpid") && strstr(e.text, "does not reach"), "%s", e.text);
#else
		/* The executable's own PLT entry is the function's address, and that is near. */
		json_array_append_new(a, symbol_dynamic(me, "getpid", "func", 0, 0));
		ck_assert_msg(load(object("far"), me, a, &l, &e) == 0, "%s", e.text);
		ck_assert_ptr_eq(((void *(*)(void))(uintptr_t)l.l.new_function[0])(), (void *)(uintptr_t)getpid);
		unload(&l);
#endif
	}
}
END_TEST

/* A slot that nobody has used yet: a call goes through the object's own PLT entry, an address is looked up. */
START_TEST(test_lazy)
{
	uint64_t slot = slot_of(me, "getppid", R_X86_64_JUMP_SLOT), value, addr, near_plt;
	struct klp_error e = KLP_ERROR_INIT;
	json_t *a = json_array();
	struct klp_resolver *r;
	struct klp_module m;
	char *text;

	ck_assert_int_eq(t_never(1), 0);
	ck_assert_uint_ne(slot, 0);
	memcpy(&value, (void *)(me->bias + slot), sizeof(value));
	/* Without -z now it leads to the second instruction of the PLT entry. */
	ck_assert_uint_ge(value, me->text_start);
	ck_assert_uint_lt(value, me->text_end);
	json_array_append_new(a, symbol_dynamic(me, "getppid", "func", 1, value - 6 - me->bias));
	json_array_append_new(a, symbol_dynamic(me, "getppid", "func", 1, 0));
	text = json_dumps(metadata(me, a), JSON_COMPACT);
	ck_assert_int_eq(klp_module_parse_meta(text, strlen(text), &m, &e), 0);
	ck_assert_int_eq(klp_resolver_new(&m, &self, me, NULL, &r, &e), 0);
	ck_assert_msg(klp_resolve_call(r, 0, &addr, &near_plt, &e) == 0, "%s", e.text);
	ck_assert_uint_eq(addr, value - 6);
	ck_assert_uint_eq(near_plt, value - 6);
	ck_assert_msg(klp_resolve_address(r, 0, &addr, &e) == 0, "%s", e.text);
	ck_assert_uint_eq(addr, (uint64_t)(uintptr_t)dlsym(RTLD_DEFAULT, "getppid"));
	ck_assert_msg(klp_resolve_call(r, 1, &addr, &near_plt, &e) == 0, "%s", e.text);
	ck_assert_uint_eq(addr, (uint64_t)(uintptr_t)dlsym(RTLD_DEFAULT, "getppid"));
	klp_resolver_free(r);
	klp_module_free(&m);
	free(text);
}
END_TEST

/* A name that the C library defines in several versions: the default one, or the one that is asked for. */
START_TEST(test_versions)
{
	static const char *const version[] = {"", "GLIBC_2.3", "GLIBC_2.2.5"};
	/* The older definition stands first in the hash chain of some of these. */
	static const char *const several[] = {"pthread_cond_init", "pthread_kill", "glob", "sched_setaffinity",
					      "timer_delete"};
	struct klp_error e = KLP_ERROR_INIT;
	json_t *a = json_array();
	struct klp_resolver *r;
	struct klp_module m;
	uint64_t addr[3];
	char *text;

	for (size_t i = 0; i < 3; i++) {
		json_t *y = symbol_dynamic(me, "realpath", "func", 0, 0);

		json_object_set_new(y, "version", json_string(version[i]));
		json_array_append_new(a, y);
	}
	for (size_t i = 0; i < 5; i++)
		json_array_append_new(a, symbol_dynamic(me, several[i], "func", 0, 0));
	text = json_dumps(metadata(me, a), JSON_COMPACT);
	ck_assert_int_eq(klp_module_parse_meta(text, strlen(text), &m, &e), 0);
	ck_assert_int_eq(klp_resolver_new(&m, &self, me, NULL, &r, &e), 0);
	for (size_t i = 0; i < 3; i++)
		ck_assert_msg(klp_resolve_address(r, i, &addr[i], &e) == 0, "%s", e.text);
	ck_assert_uint_eq(addr[0], (uint64_t)(uintptr_t)dlvsym(RTLD_DEFAULT, "realpath", "GLIBC_2.3"));
	ck_assert_uint_eq(addr[1], addr[0]);
	ck_assert_uint_eq(addr[2], (uint64_t)(uintptr_t)dlvsym(RTLD_DEFAULT, "realpath", "GLIBC_2.2.5"));
	ck_assert_uint_ne(addr[2], addr[0]);
	for (size_t i = 0; i < 5; i++) {
		ck_assert_msg(klp_resolve_address(r, 3 + i, &addr[0], &e) == 0, "%s", e.text);
		ck_assert_uint_eq(addr[0], (uint64_t)(uintptr_t)dlsym(RTLD_DEFAULT, several[i]));
	}
	klp_resolver_free(r);
	klp_module_free(&m);
	free(text);
}
END_TEST

/* Slots that are not what the module says. */
START_TEST(test_wrong_slots)
{
	static const struct {
		const char *name, *key;
		json_int_t value;
		const char *say;
	} wrong[] = {{"getpid", "got", 16, "no relocated slot"}, {"getpid", "got", 0, "no object of the process"}};
	struct klp_error e = KLP_ERROR_INIT;
	json_t *a, *y;
	struct loaded l;

	a = symbols(1);
	y = json_array_get(a, 3);
	json_object_set_new(y, "got", json_integer(wrong[0].value));
	ck_assert_int_lt(load(object("gcc-pic"), me, a, &l, &e), 0);
	ck_assert_msg(strstr(e.text, wrong[0].say) && e.reason == KLP_NO_SYMBOL, "%s", e.text);
	/* Another symbol's slot. */
	a = symbols(1);
	y = json_array_get(a, 3);
	json_object_set_new(y, "got", json_integer((json_int_t)slot_of(me, "getppid", R_X86_64_JUMP_SLOT)));
	ck_assert_int_lt(load(object("gcc-pic"), me, a, &l, &e), 0);
	ck_assert_msg(strstr(e.text, "belongs to getppid") && e.reason == KLP_NO_SYMBOL, "%s", e.text);
	/* A version that does not exist. */
	a = symbols(0);
	y = json_array_get(a, 3);
	json_object_set_new(y, "version", json_string("GLIBC_9.9"));
	ck_assert_int_lt(load(object("gcc-pic"), me, a, &l, &e), 0);
	ck_assert_msg(strstr(e.text, wrong[1].say) && strstr(e.text, "getpid@GLIBC_9.9"), "%s", e.text);
	a = symbols(0);
	y = json_array_get(a, 3);
	json_object_set_new(y, "version", json_string("GLIBC_2.2.5"));
	ck_assert_msg(load(object("gcc-pic"), me, a, &l, &e) == 0, "%s", e.text);
	unload(&l);
	/* A function outside the object's code. */
	a = symbols(1);
	y = json_array_get(a, 0);
	json_object_set_new(y, "address", json_integer(1));
	ck_assert_int_lt(load(object("gcc-pic"), me, a, &l, &e), 0);
	ck_assert_msg(strstr(e.text, "t_add") && e.reason == KLP_NO_SYMBOL, "%s", e.text);
}
END_TEST

/* The unwind information is linked, and its first FDE describes code of the module. */
START_TEST(test_eh_frame)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct loaded l;
	uint32_t len, id;
	int fdes = 0;

	ck_assert_int_eq(load(object("gcc-pic"), me, symbols(1), &l, &e), 0);
	ck_assert_uint_gt(l.l.eh_frame_size, 0);
	for (uint64_t at = l.l.eh_frame_addr; at + 8 < l.l.eh_frame_addr + l.l.eh_frame_size; at += len + 4) {
		int32_t distance;
		uint64_t start;

		memcpy(&len, (void *)at, 4);
		memcpy(&id, (void *)(at + 4), 4);
		if (!len || !id)
			continue;
		memcpy(&distance, (void *)(at + 8), 4);
		start = at + 8 + (uint64_t)(int64_t)distance;
		ck_assert_uint_ge(start, l.l.text_addr);
		ck_assert_uint_lt(start, l.l.text_addr + l.l.text_len);
		fdes++;
	}
	ck_assert_int_gt(fdes, 3);
	unload(&l);
}
END_TEST

/* L3: exceptions and cleanups are refused, plain C is not. */
START_TEST(test_unwind_check)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct loaded l;

	ck_assert_int_eq(load(object("gcc-pic"), me, symbols(1), &l, &e), 0);
	ck_assert_int_eq(klp_module_check_unwind(&l.m, &self, &e), 0);
	l.m.exceptions = true;
	ck_assert_int_eq(klp_module_check_unwind(&l.m, &self, &e), -EOPNOTSUPP);
	ck_assert_int_eq(e.reason, KLP_NO_UNWIND_INFO);
	unload(&l);
	for (int k = 0; k < 2; k++) {
		json_t *a = json_array();
		struct klp_module m;
		char *path;

		json_array_append_new(a, symbol_address(me, "t_value", "object", &t_value));
		json_array_append_new(a, symbol_dynamic(me, "__gcc_personality_v0", "func", 0, 0));
		json_array_append_new(a, symbol_dynamic(me, "_Unwind_Resume", "func", 0, 0));
		path = make_module(object(k ? "cleanup-clang" : "cleanup"), metadata(me, a));

		ck_assert_msg(klp_module_read(path, &m, &e) == 0, "%s", e.text);
		ck_assert_int_eq(klp_module_check_unwind(&m, &self, &e), -EOPNOTSUPP);
		ck_assert_int_eq(e.reason, KLP_NO_UNWIND_INFO);
		klp_module_free(&m);
		unlink(path);
		free(path);
	}
}
END_TEST

/* Sections that cannot be linked. */
START_TEST(test_sections_refused)
{
	static const struct {
		const char *object, *say;
		enum klp_reason reason;
	} bad[] = {
	    {"bad-wx", "writable and executable", KLP_BAD_MODULE},
	    {"bad-tls", "thread-local variables of its own", KLP_UNSUPPORTED},
	    {"bad-init", "constructors", KLP_UNSUPPORTED},
	    {"bad-align", "alignment", KLP_LIMIT},
	    {"bad-common", "common symbol", KLP_BAD_MODULE},
	    {"bad-undefined", "undefined symbol", KLP_BAD_MODULE},
	    {"bad-huge", "at most", KLP_LIMIT},
	    {"bad-8", "R_X86_64_8 against", KLP_BAD_RELOC},
	    {"bad-16", "R_X86_64_16 against", KLP_BAD_RELOC},
	    {"bad-pc8", "R_X86_64_PC8 against", KLP_BAD_RELOC},
	    {"bad-pc16", "R_X86_64_PC16 against", KLP_BAD_RELOC},
	    {"bad-gotoff", "R_X86_64_GOTOFF64 against", KLP_BAD_RELOC},
	    {"bad-size", "R_X86_64_SIZE64 against", KLP_BAD_RELOC},
	    {"bad-tlsuse", "does not go with t_tls", KLP_BAD_RELOC},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct klp_error e = KLP_ERROR_INIT;
		struct loaded l;
		int rc;

		if (!strcmp(bad[i].object, "bad-undefined"))
			rc = load(object(bad[i].object), me, json_array(), &l, &e);
		else
			rc = load(object(bad[i].object), me, symbols(0), &l, &e);
		ck_assert_msg(rc < 0, "%s was linked", bad[i].object);
		ck_assert_msg(strstr(e.text, bad[i].say) && e.reason == bad[i].reason, "%s: %s: %s", bad[i].object,
			      klp_reason_name(e.reason), e.text);
	}
}
END_TEST

START_TEST(test_exported)
{
	struct klp_module_function fn = {.name = (char *)"t_add", .address = (uint64_t)(uintptr_t)t_add - me->bias};
	struct klp_error e = KLP_ERROR_INIT;

	/* The test exports its symbols (-rdynamic). */
	ck_assert_msg(klp_resolve_check_preempted(&self, me, &fn, &e) == 0, "%s", e.text);
	fn.name = (char *)"t_nothing";
	ck_assert_int_eq(klp_resolve_check_preempted(&self, me, &fn, &e), -EINVAL);
	ck_assert_int_eq(e.reason, KLP_BAD_FUNCTION);
}
END_TEST

START_TEST(test_info)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_module *m;
	json_t *o;
	char *path = make_module(object("gcc-pic"), metadata(me, symbols(1)));

	ck_assert_int_eq(klp_module_open(path, &m, &e), 0);
	o = klp_module_info(m);
	ck_assert_str_eq(json_string_value(json_object_get(o, "name")), "fix");
	ck_assert_uint_eq(strlen(json_string_value(json_object_get(o, "sha256"))), 64);
	ck_assert_int_gt(json_integer_value(json_object_get(o, "size")), 0);
	json_decref(o);
	klp_module_close(m);
	unlink(path);
	free(path);
}
END_TEST

/* The last test: every relocation type that is listed as supported was in a module that ran. */
START_TEST(test_every_type_seen)
{
	for (uint32_t t = 0; t < 256; t++) {
		const struct klp_reloc_info *i = klp_reloc_find(t);

		if (!i || i->class == KLP_REL_REFUSED)
			continue;
#ifdef __PIC__
		if (t == R_X86_64_32 || t == R_X86_64_32S)
			continue; /* in the program of fixed addresses */
#else
		if (t != R_X86_64_32 && t != R_X86_64_32S)
			continue;
#endif
		ck_assert_msg(seen[t], "%s was in no module that ran", i->name);
	}
}
END_TEST

int main(int argc, char **argv)
{
	Suite *s = suite_create("link");
	TCase *c = tcase_create("program");
	SRunner *r;
	int failed;

	if (argc != 2)
		return 2;
	objects = argv[1];
	me = object_of(&t_value);
	tcase_set_timeout(c, 120);
	tcase_add_test(c, test_variants);
	tcase_add_test(c, test_low_code_refused);
	tcase_add_test(c, test_tls_models);
	tcase_add_test(c, test_tls_of_another_thread);
	tcase_add_test(c, test_assembly);
	tcase_add_test(c, test_far);
	tcase_add_test(c, test_lazy);
	if (!SANITIZED)
		tcase_add_test(c, test_versions); /* that runtime has a realpath of its own, without versions */
	tcase_add_test(c, test_wrong_slots);
	tcase_add_test(c, test_eh_frame);
	tcase_add_test(c, test_unwind_check);
	tcase_add_test(c, test_sections_refused);
	tcase_add_test(c, test_exported);
	tcase_add_test(c, test_info);
	tcase_add_test(c, test_every_type_seen);
	suite_add_tcase(s, c);
	r = srunner_create(s);
	/* The process that was opened is this one. */
	srunner_set_fork_status(r, CK_NOFORK);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	klp_process_close(&self);
	return failed ? 1 : 0;
}
