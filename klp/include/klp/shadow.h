/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shadow variables: data that a live patch attaches to an object of the program whose type it cannot change, as in the
 * Linux kernel (Documentation/livepatch/shadow-vars.rst). For code of a patch only, C or C++: klp-build binds the calls
 * to the runtime that klp brings into the process; a program that is not patched cannot call them.
 *
 * A variable is known by {obj, id}: obj is any address of the program's choosing (it is compared, never read), id a
 * number that the author chooses once per kind of variable. All patches of a process share them: a later patch, stacked
 * or replacing, finds what an earlier one made.
 *
 * Value      size bytes, aligned to 16, zero unless the constructor writes to it. It stays where it is until it is
 *            freed. At most KLP_SHADOW_VALUE_MAX bytes; all variables of a process together have the room that is set
 *            aside when the first patch with such calls is loaded (64 MiB, less where the process's limits or locked
 *            memory call for it). NULL when it is used up; what is freed is used again.
 * Ownership  the process owns them, not a patch, a thread or obj. Nothing is freed by itself: free a variable where its
 *            obj is freed, for the program will use that address again, and what is left when the last patch goes stays
 *            with klp's runtime until a later patch frees it (`klpctl status` counts it).
 * Threads    every function may be called from any thread at any time. A get never waits. A get while another thread
 *            frees the same variable may return it: as with any object, the author sees to it that nobody uses what is
 *            being freed (in the kernel by RCU, here by the lock or the life of obj).
 * Callbacks  a constructor or destructor runs on the calling thread without any lock of klp's, exactly once for a
 *            variable. Meanwhile get does not find the variable, and others that want to make or free that very one
 *            wait. Callbacks must return: not longjmp, not fork, not end the thread, and not wait for a thread that
 *            may wait for this variable. From inside of them, or of a signal handler that interrupts them, the same
 *            variable is not there: NULL.
 * Signals    every function may be called from a signal handler.
 * fork       the child has copies of all variables; one that another thread was making or freeing does not exist there.
 * exec       ends them.
 */
#ifndef KLP_SHADOW_H
#define KLP_SHADOW_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KLP_SHADOW_VALUE_MAX 1048560u /* bytes of one value */

/* Not 0: the variable is not made, and the call that wanted it returns NULL. */
typedef int (*klp_shadow_ctor_t)(void *obj, void *shadow_data, void *ctor_data);
typedef void (*klp_shadow_dtor_t)(void *obj, void *shadow_data);

/*
 * The runtime's part. Weak, so that the patched program can be linked, although nothing defines them there. Callbacks
 * are called by the inline functions below and not from the runtime: so their addresses need not leave the patch, whose
 * code can then be unmapped at its unload.
 */
#define KLP_SHADOW_RUNTIME_ extern __attribute__((weak, visibility("default")))
#define KLP_SHADOW_INLINE_ static inline __attribute__((always_inline, unused))
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 11
#define KLP_SHADOW_NAME_(n) __attribute__((access(none, n))) /* an address that is compared, not read */
#else
#define KLP_SHADOW_NAME_(n)
#endif
KLP_SHADOW_RUNTIME_ void *klp_rt_shadow_get(const void *obj, unsigned long id) KLP_SHADOW_NAME_(1);
KLP_SHADOW_RUNTIME_ void *klp_rt_shadow_begin(const void *obj, unsigned long id, size_t size, int *fresh)
    KLP_SHADOW_NAME_(1);
KLP_SHADOW_RUNTIME_ void *klp_rt_shadow_take(const void *obj, unsigned long id) KLP_SHADOW_NAME_(1);
KLP_SHADOW_RUNTIME_ void *klp_rt_shadow_next(unsigned long id, uint64_t *place, const void **obj);
KLP_SHADOW_RUNTIME_ void klp_rt_shadow_end(void *data, int keep);

/* The value of {obj, id}, or NULL. */
KLP_SHADOW_INLINE_ void *klp_shadow_get(const void *obj, unsigned long id)
{
	return klp_rt_shadow_get(obj, id);
}

KLP_SHADOW_INLINE_ void *klp_shadow_construct_(const void *obj, void *data, klp_shadow_ctor_t ctor, void *ctor_data)
{
	int failed = ctor && ctor((void *)(uintptr_t)obj, data, ctor_data);

	klp_rt_shadow_end(data, !failed);
	return failed ? NULL : data;
}

/* Makes {obj, id}. NULL if it exists already, if the constructor fails, or without memory. ctor may be NULL. */
KLP_SHADOW_INLINE_ void *klp_shadow_alloc(const void *obj, unsigned long id, size_t size, klp_shadow_ctor_t ctor,
					  void *ctor_data)
{
	int fresh;
	void *data = klp_rt_shadow_begin(obj, id, size, &fresh);

	return data && fresh ? klp_shadow_construct_(obj, data, ctor, ctor_data) : NULL;
}

/* The value of {obj, id}, made now if it does not exist: by one of all threads that ask at the same time. */
KLP_SHADOW_INLINE_ void *klp_shadow_get_or_alloc(const void *obj, unsigned long id, size_t size, klp_shadow_ctor_t ctor,
						 void *ctor_data)
{
	int fresh;
	void *data = klp_rt_shadow_begin(obj, id, size, &fresh);

	return data && fresh ? klp_shadow_construct_(obj, data, ctor, ctor_data) : data;
}

/* Ends {obj, id} if it exists; dtor may be NULL. */
KLP_SHADOW_INLINE_ void klp_shadow_free(const void *obj, unsigned long id, klp_shadow_dtor_t dtor)
{
	void *data = klp_rt_shadow_take(obj, id);

	if (!data)
		return;
	if (dtor)
		dtor((void *)(uintptr_t)obj, data);
	klp_rt_shadow_end(data, 0);
}

/* Ends all variables of this id that exist when it is called, whatever their obj. */
KLP_SHADOW_INLINE_ void klp_shadow_free_all(unsigned long id, klp_shadow_dtor_t dtor)
{
	uint64_t place = 0;
	const void *obj;
	void *data;

	while ((data = klp_rt_shadow_next(id, &place, &obj))) {
		if (dtor)
			dtor((void *)(uintptr_t)obj, data);
		klp_rt_shadow_end(data, 0);
	}
}

#ifdef __cplusplus
}
#endif

#endif
