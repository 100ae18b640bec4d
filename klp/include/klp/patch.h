/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For authors of live patches: what a diff may state about itself, and the callbacks and states that it brings along.
 * klp-build reads the statements from the patched units. Needs gcc or clang, works in C and C++.
 *
 * A statement stands at file scope and ends with a semicolon. The reason is a string literal that is not empty; it is
 * in the report, so write it for whoever has to decide whether the patch may be loaded.
 */
#ifndef KLP_PATCH_H
#define KLP_PATCH_H

#include <errno.h>

/*
 * KLP_LAYOUT_OK(struct connection, "the new member is read only by code that set it");
 *
 * The type's layout may change although objects of the old layout live in the process. The type as it is written in C:
 * with struct, union or enum, or the name of a typedef for a type that has no other name.
 */
#define KLP_LAYOUT_OK(type, why) KLP_STATEMENT_("layout", #type, #why)

/*
 * KLP_DATA_OK(limit, "new processes read it from the configuration");
 *
 * The initial value of a variable may change: the running program keeps the value that it has. Or a constant may change
 * although data or stored pointers lead to the old one: they still do, only functions of the module use the new one.
 * The size must stay. A static symbol is meant only in the file of the statement.
 */
#define KLP_DATA_OK(symbol, why) KLP_STATEMENT_("data", #symbol, #why)

/*
 * Callbacks, at most one of each kind in a patch. They run in the patched process, on one of its own threads, at the
 * moments of the kernel's livepatch:
 *
 *   static int fn(void)	KLP_PRE_PATCH(fn);	before anything is patched; not 0: the load fails
 *   static void fn(void)	KLP_POST_PATCH(fn);	every thread runs the new code
 *   static void fn(void)	KLP_PRE_UNPATCH(fn);	before an unload begins
 *   static void fn(void)	KLP_POST_UNPATCH(fn);	every thread runs the old code again; also after a load that was
 *							reversed or failed behind pre_patch
 *
 * The thread waits in a system call of the program and nowhere in the C library, so a callback may allocate, print and
 * take the program's locks (but mind that the thread may hold one of those). Every signal is blocked; errno is kept.
 *The result of pre_patch is an error number or its negative.
 */
#define KLP_PRE_PATCH(fn) KLP_CALLBACK_(pre_patch, fn, int, klp_result_ = klp_fn_())
#define KLP_POST_PATCH(fn) KLP_CALLBACK_(post_patch, fn, void, klp_fn_())
#define KLP_PRE_UNPATCH(fn) KLP_CALLBACK_(pre_unpatch, fn, void, klp_fn_())
#define KLP_POST_UNPATCH(fn) KLP_CALLBACK_(post_unpatch, fn, void, klp_fn_())

/*
 * KLP_STATE(CVE_2024_1_TABLE, 2);
 *
 * The patch changes the state that all versions of it call by this number (a constant above 0, written as a number or a
 * name), and knows it in this version (above 0). Once for a number; in the file that asks for it. A patch that is
 * loaded with --replace must know all states of those that it replaces, each in the same or a later version; no patch
 * may know one in an earlier version than an installed patch.
 *
 * klp_state_prev_version(CVE_2024_1_TABLE): the version in which the patches that were installed before know the state,
 * 0 if none does. klp_state_data(CVE_2024_1_TABLE): a void * that the patch may set, at the latest in post_patch; the
 * next patch that knows the state finds there what the one before it left (so not a part of the patch itself, which may
 * go). Both are valid from pre_patch on.
 */
#define KLP_STATE(id, version)                                                                  \
	static volatile struct klp_state_ klp_state_##id __asm__("klp_state_" #id)              \
	    __attribute__((used)) = {(id), (version), 0, 0, 0};                                 \
	KLP_ASSERT_((id) > 0 && (version) > 0, "a state's number and its version are above 0"); \
	KLP_STATEMENT_("state", #id, "\"klp_state_" #id "\"")
#define klp_state_prev_version(id) ((unsigned int)klp_state_##id.previous)
#define klp_state_data(id) (klp_state_##id.data)

/* As klp-build and the engine know it. */
struct klp_state_ {
	unsigned int id, version, previous, reserved;
	void *data;
};

/*
 * A static program that does not use errno has no function that says where it is (klp-build refuses __errno_location
 * then). It cannot see errno either, so there is nothing to keep: define KLP_NO_ERRNO before this file is included.
 */
#ifdef KLP_NO_ERRNO
#define KLP_TAKE_ERRNO_ 0
#define KLP_GIVE_ERRNO_(saved) (void)(saved)
#else
#define KLP_TAKE_ERRNO_ errno
#define KLP_GIVE_ERRNO_(saved) errno = (saved)
#endif

#define KLP_CALLBACK_(kind, fn, type, call)                                         \
	static int klp_##kind##_##fn(void) __asm__("klp_" #kind "_" #fn) KLP_KEEP_; \
	static int klp_##kind##_##fn(void)                                          \
	{                                                                           \
		type (*klp_fn_)(void) = fn;                                         \
		int klp_errno_ = KLP_TAKE_ERRNO_, klp_result_ = 0;                  \
                                                                                    \
		KLP_SAME_TYPE_(fn, type);                                           \
		call;                                                               \
		KLP_GIVE_ERRNO_(klp_errno_);                                        \
		return klp_result_;                                                 \
	}                                                                           \
	KLP_STATEMENT_(#kind, #fn, "\"klp_" #kind "_" #fn "\"")

#ifdef __cplusplus
#define KLP_ASSERT_(is, text) static_assert(is, text)
#define KLP_SAME_TYPE_(fn, type) (void)0 /* the conversion is an error already */
#else
#define KLP_ASSERT_(is, text) _Static_assert(is, text)
#define KLP_SAME_TYPE_(fn, type)                                              \
	KLP_ASSERT_(__builtin_types_compatible_p(__typeof__(fn), type(void)), \
		    "a pre_patch callback is `int " #fn "(void)`, any other `void " #fn "(void)`")
#endif

/* Nothing in the program refers to it, and a linker that collects sections would take it for unused. */
#ifdef __has_attribute
#if __has_attribute(retain)
#define KLP_KEEP_ __attribute__((used, noinline, retain))
#endif
#endif
#ifndef KLP_KEEP_
#define KLP_KEEP_ __attribute__((used, noinline))
#endif

#define KLP_STATEMENT_(kind, name, why)                        \
	__asm__(".pushsection .klp.statement,\"\",%progbits\n" \
		"\t.ascii \"" kind "\"\n\t.byte 0\n"           \
		"\t.ascii \"" name "\"\n\t.byte 0\n"           \
		"\t.ascii " why "\n\t.byte 0\n"                \
		"\t.popsection")

#endif
