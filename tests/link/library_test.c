/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Modules for shared objects: slots of every TLS model, functions through the object's own slot, and which definition
 * the process uses (P45). The directory with objects and libraries is the argument; a second one says that the program
 * runs with something preloaded.
 */
#include <check.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "klp/reloc.h"
#include "klp/resolve.h"
#include "tests/link/harness.h"

static const char *directory, *program;

static const char *in_directory(const char *name, const char *suffix)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/%s%s", directory, name, suffix);
	return path;
}

struct library {
	void *handle;
	const struct klp_object *o;
	int *(*tls)(void), *(*high)(void);
	int (*old)(int);
};

static void open_library(const char *name, struct library *l)
{
	l->handle = dlopen(in_directory(name, ".so"), RTLD_NOW | RTLD_LOCAL);
	ck_assert_msg(l->handle != NULL, "%s", dlerror());
	l->tls = (int *(*)(void))dlsym(l->handle, "t_tls_address");
	l->high = (int *(*)(void))dlsym(l->handle, "t_tls_high_address");
	l->old = (int (*)(int))dlsym(l->handle, "t_old");
	ck_assert(l->tls && l->high && l->old);
	l->o = object_of((const void *)l->old);
}

extern void *__tls_get_addr(size_t *module_and_offset);

/* The place in the object's TLS block: the block's start is what the ABI's own function says. */
static uint64_t offset_in(const struct library *l, const int *variable)
{
	size_t start[2] = {0, 0};

	ck_assert_int_eq(dlinfo(l->handle, RTLD_DI_TLS_MODID, &start[0]), 0);
	return (uint64_t)((const char *)variable - (const char *)__tls_get_addr(start));
}

/* slot_type 0: the module names no slot. */
static json_t *tls_symbols(const struct library *l, uint32_t slot_type)
{
	static const char *const name[2] = {"t_tls", "t_tls_high"};
	uint64_t offset[2] = {offset_in(l, l->tls()), offset_in(l, l->high())};
	json_t *a = json_array();

	for (int i = 0; i < 2; i++) {
		uint64_t slot = slot_type ? slot_of(l->o, name[i], slot_type) : 0;

		ck_assert_msg(!slot_type || slot, "no slot for %s", name[i]);
		json_array_append_new(a, symbol_tls(name[i], offset[i], slot));
	}
	json_array_append_new(a, symbol_dynamic(l->o, "__tls_get_addr", "func", 1, 0));
	return a;
}

struct in_thread {
	struct loaded *l;
	struct library *lib;
};

static void *other_thread(void *arg)
{
	struct in_thread *t = arg;
	struct result r = {{0}};

	t->l->run(&r, 4);
	return r.v[R_TLS] == 74 && *t->lib->tls() == 74 && r.v[R_TLS_HIGH] == 90 &&
		       r.v[R_TLS_ADDRESS] == (long)(uintptr_t)t->lib->high()
		   ? arg
		   : NULL;
}

static void run_tls(struct library *lib, const char *model, uint32_t slot_type)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct result r = {{0}};
	struct loaded l;
	struct in_thread arg = {&l, lib};
	int before = *lib->tls();
	pthread_t t;
	void *ok;

	ck_assert_msg(load(in_directory(model, ".o"), lib->o, tls_symbols(lib, slot_type), &l, &e) == 0, "%s: %s",
		      model, e.text);
	l.run(&r, 5);
	ck_assert_msg(r.v[R_TLS] == before + 5 && *lib->tls() == before + 5, "%s", model);
	ck_assert_msg(r.v[R_TLS_HIGH] == 90 && r.v[R_TLS_ADDRESS] == (long)(uintptr_t)lib->high(), "%s", model);
	ck_assert_int_eq(pthread_create(&t, NULL, other_thread, &arg), 0);
	ck_assert_int_eq(pthread_join(t, &ok), 0);
	ck_assert_msg(ok != NULL, "%s: in another thread", model);
	unload(&l);
}

static void refuse_tls(struct library *lib, const char *model, uint32_t slot_type, const char *say)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct loaded l;

	ck_assert_int_lt(load(in_directory(model, ".o"), lib->o, tls_symbols(lib, slot_type), &l, &e), 0);
	ck_assert_msg(strstr(e.text, say) && strstr(e.text, "t_tls"), "%s: %s", model, e.text);
}

START_TEST(test_tls)
{
	struct library gd, ld, ie, hidden, desc;

	open_library("lib-gd", &gd);
	run_tls(&gd, "tls-gd", R_X86_64_DTPMOD64);
	run_tls(&gd, "tls-noplt", R_X86_64_DTPMOD64);
	refuse_tls(&gd, "tls-ie", R_X86_64_DTPMOD64, "offset from the thread pointer is not known");
	refuse_tls(&gd, "tls-desc", R_X86_64_DTPMOD64, "no descriptor");
	open_library("lib-ld", &ld);
	run_tls(&ld, "tls-ld", 0);
	run_tls(&ld, "tls-gd", 0);
	open_library("lib-ie", &ie);
	run_tls(&ie, "tls-ie", R_X86_64_TPOFF64);
	run_tls(&ie, "tls-le", R_X86_64_TPOFF64);
	run_tls(&ie, "tls-desc", R_X86_64_TPOFF64);
	refuse_tls(&ie, "tls-gd", R_X86_64_TPOFF64, "module number");
	refuse_tls(&ie, "tls-ie", 0, "no slot from which");
	open_library("lib-ie-hidden", &hidden);
	run_tls(&hidden, "tls-ie", 0);
	open_library("lib-desc", &desc);
	run_tls(&desc, "tls-desc", R_X86_64_TLSDESC);
	refuse_tls(&desc, "tls-gd", R_X86_64_TLSDESC, "module number");
}
END_TEST

/* The library's own slot tells what its calls mean; without one, the process's scope. */
START_TEST(test_functions)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct result r = {{0}};
	struct loaded l;
	struct library lib;
	json_t *a = json_array();

	open_library("lib-gd", &lib);
	json_array_append_new(a, symbol_dynamic(lib.o, "t_add", "func", 1, 0));
	json_array_append_new(a, symbol_address(lib.o, "t_value", "object", dlsym(lib.handle, "t_value")));
	json_array_append_new(a, symbol_dynamic(lib.o, "strlen", "func", 0, 0));
	json_array_append_new(a, symbol_dynamic(lib.o, "getpid", "func", 0, 0));
	json_array_append_new(a, symbol_dynamic(lib.o, "memset", "func", 0, 0));
	ck_assert_msg(load(in_directory("plain", ".o"), lib.o, a, &l, &e) == 0, "%s", e.text);
	l.run(&r, 3);
	ck_assert_int_eq(r.v[R_CALL], 5);
	ck_assert_ptr_eq((void *)r.v[R_ADDRESS], dlsym(lib.handle, "t_add"));
	ck_assert_int_eq(r.v[R_DATA], 41);
	ck_assert_int_eq(*(int *)dlsym(lib.handle, "t_value"), 41);
	ck_assert_int_eq(r.v[R_IFUNC], 3);
	ck_assert_int_eq(r.v[R_LIBC_CALL], getpid());
	ck_assert_ptr_eq((void *)r.v[R_LIBC_ADDR], dlsym(RTLD_DEFAULT, "getpid"));
	unload(&l);
}
END_TEST

/* An ifunc that nobody has used: refused by name, not by a wrong address. */
START_TEST(test_unused_ifunc)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct library lib;
	struct loaded l;
	json_t *a = json_array();

	open_library("lib-gd", &lib);
	json_array_append_new(a, symbol_dynamic(lib.o, "wcsnlen", "func", 0, 0));
	ck_assert_int_eq(load(in_directory("ifunc", ".o"), lib.o, a, &l, &e), -ENOENT);
	ck_assert_int_eq(e.reason, KLP_NO_SYMBOL);
	ck_assert_msg(strstr(e.text, "wcsnlen") && strstr(e.text, "ifunc"), "%s", e.text);
}
END_TEST

static int preempted(struct library *lib, struct klp_error *e)
{
	struct klp_module_function fn = {.name = (char *)"t_add"};

	fn.address = (uint64_t)(uintptr_t)dlsym(lib->handle, "t_add") - lib->o->bias;
	return klp_resolve_check_preempted(&self, lib->o, &fn, e);
}

START_TEST(test_not_preempted)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_module_function fn = {.name = (char *)"t_value_nowhere"};
	struct library lib, other;

	open_library("lib-gd", &lib);
	ck_assert_int_eq(lib.old(2), 2 + 100 + 1);
	ck_assert_msg(preempted(&lib, &e) == 0, "%s", e.text);
	/* Two of them: each is proven by its own slot. */
	open_library("lib-ie", &other);
	open_library("lib-gd", &lib);
	ck_assert_msg(preempted(&lib, &e) == 0, "%s", e.text);
	ck_assert_int_eq(klp_resolve_check_preempted(&self, lib.o, &fn, &e), -EINVAL);
}
END_TEST

START_TEST(test_preempted)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct library lib;

	open_library("lib-gd", &lib);
	ck_assert_int_eq(lib.old(2), 2 * 100 + 1); /* the preloaded one multiplies */
	ck_assert_int_eq(preempted(&lib, &e), -EADDRNOTAVAIL);
	ck_assert_int_eq(e.reason, KLP_PREEMPTED);
	ck_assert_msg(strstr(e.text, "preempt.so") != NULL, "%s", e.text);
}
END_TEST

/* Loaded with the program, a descriptor is static: its argument is the offset from the thread pointer. */
START_TEST(test_static_descriptor)
{
	struct klp_error e = KLP_ERROR_INIT;
	uint64_t words[2];
	struct library lib;

	open_library("lib-desc", &lib);
	memcpy(words, (void *)(lib.o->bias + slot_of(lib.o, "t_tls", R_X86_64_TLSDESC)), sizeof(words));
	ck_assert(klp_desc_is_static((const uint8_t *)words[0], KLP_DESC_STATIC_MAX));
	run_tls(&lib, "tls-desc", R_X86_64_TLSDESC);
	run_tls(&lib, "tls-ie", R_X86_64_TLSDESC);
	run_tls(&lib, "tls-le", R_X86_64_TLSDESC);
	ck_assert_int_eq(e.err, 0);
}
END_TEST

static void run_preloaded(const char *library, const char *what)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		setenv("LD_PRELOAD", in_directory(library, ".so"), 1);
		execl(program, program, directory, what, (char *)NULL);
		_exit(127);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(status == 0, "with %s preloaded: status 0x%x", library, status);
}

START_TEST(test_with_preload)
{
	run_preloaded("preempt", "preempted");
	run_preloaded("lib-desc", "descriptor");
}
END_TEST

int main(int argc, char **argv)
{
	Suite *s = suite_create("link-library");
	TCase *c = tcase_create("library");
	SRunner *r;
	int failed;

	if (argc < 2)
		return 2;
	program = argv[0];
	directory = argv[1];
	unsetenv("LD_PRELOAD"); /* not for objcopy */
	tcase_set_timeout(c, 120);
	if (argc > 2) {
		tcase_add_test(c, strcmp(argv[2], "preempted") ? test_static_descriptor : test_preempted);
	} else {
		tcase_add_test(c, test_tls);
		tcase_add_test(c, test_functions);
		tcase_add_test(c, test_not_preempted);
		if (!SANITIZED) {
			tcase_add_test(c, test_unused_ifunc); /* that runtime has a wcsnlen of its own */
			tcase_add_test(c, test_with_preload);
		}
	}
	suite_add_tcase(s, c);
	r = srunner_create(s);
	srunner_set_fork_status(r, CK_NOFORK);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	klp_process_close(&self);
	return failed ? 1 : 0;
}
