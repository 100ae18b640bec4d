/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors: a negative errno says what kind of failure it is, a *reason* says which one, and a sentence says it to a
 * human.
 *
 * Every function that can fail takes a `struct klp_error *` (never NULL) and returns 0 (or a count) or -errno.
 * On failure the structure is filled by klp_fail(); on success it is left alone.
 * Ownership: the caller owns the structure; the text is stored inside it. No locking: one structure, one thread.
 */
#ifndef KLP_ERROR_H
#define KLP_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

/* Why something failed, was refused or is not reliable. The names are stable: they are printed in --json. */
enum klp_reason {
	KLP_OK = 0,
	KLP_INTERNAL, /* a check of klp's own failed */
	KLP_NOMEM,    /* no memory in the tool */
	KLP_USAGE,    /* the caller's arguments */
	KLP_IO,       /* a file could not be read or written */
	/* the target process */
	KLP_NO_PROCESS,      /* there is none, or it ended meanwhile */
	KLP_PERMISSION,      /* the kernel does not let us */
	KLP_TRACED,          /* another tracer is attached */
	KLP_STOPPED,         /* job control stopped it (SIGSTOP) */
	KLP_ZOMBIE,          /* it has exited already */
	KLP_BUSY,            /* another klpctl works on it, or a transition is running */
	KLP_KERNEL_MADE,     /* a kernel thread */
	KLP_SECCOMP,         /* its seccomp filters forbid a system call that klp needs */
	KLP_SHADOW_STACK,    /* a hardware shadow stack is switched on */
	KLP_NO_BORROW,       /* no thread could be borrowed without harm */
	KLP_NO_ROOM,         /* no address space near enough, or a limit (RLIMIT_AS, overcommit) is reached */
	KLP_HELPER,          /* the transient helper failed or could not be made */
	KLP_FOREIGN_RUNTIME, /* the runtime in the target belongs to another version of klp */
	KLP_TARGET_MEMORY,   /* what was read from the target makes no sense */
	/* modules and linking */
	KLP_BAD_MODULE, /* not a patch module, damaged, or an unsupported format */
	KLP_WRONG_ARCH,
	KLP_NO_OBJECT,      /* no mapped object has this build-id: not applicable here */
	KLP_BAD_FUNCTION,   /* a function of the module is not where the module says */
	KLP_BAD_RELOC,      /* a relocation type that klp does not know or that does not fit */
	KLP_NO_SYMBOL,      /* a symbol cannot be resolved */
	KLP_PREEMPTED,      /* the process uses another object's definition of a patched function */
	KLP_AMBIGUOUS,      /* more than one function answers the description */
	KLP_NO_UNWIND_INFO, /* exceptions or cancellation could meet a module frame that nobody can unwind */
	/* patch sites */
	KLP_NO_SITE, /* the function has no patchable entry */
	KLP_PREFIX_TOO_SMALL,
	KLP_SITE_MISALIGNED,
	KLP_SITE_UNKNOWN,   /* the bytes are not what any known layout has */
	KLP_SITE_TAKEN,     /* other bytes than expected: another tracer, a breakpoint, a uprobe */
	KLP_ATTRIBUTE_ONLY, /* patchable by attribute in a unit built with -fipa-ra */
	/* patches */
	KLP_EXISTS, /* already loaded: "skipped" */
	KLP_NOT_LOADED,
	KLP_ORDER,              /* a patch above it in the stack is in the way */
	KLP_STATE,              /* an older state version */
	KLP_COUPLED,            /* its functions belong together: not with --consistency=immediate */
	KLP_PENDING,            /* the transition is not complete: see the pending list */
	KLP_UNSUPPORTED,        /* a feature that this version does not have; the text names it */
	KLP_LIMIT,              /* a named limit was reached */
	KLP_CALLBACK,           /* the pre_patch callback of the patch refused the load, or ended its thread */
	KLP_NO_CALLBACK_THREAD, /* no thread of the target may run a callback */
	/* why a stack is not reliable (invariant U1) */
	KLP_UNW_NO_MODULE,
	KLP_UNW_NO_ROW,
	KLP_UNW_BAD_ROW,
	KLP_UNW_REG_UNKNOWN,
	KLP_UNW_OUT_OF_STACK,
	KLP_UNW_NOT_MONOTONIC,
	KLP_UNW_NO_END,
	KLP_UNW_IN_TRAMPOLINE,
	KLP_UNW_CALLER_HIDDEN,
	KLP_UNW_CHANGED,
	/* why a thread has not moved although its stack is known */
	KLP_ON_STACK, /* a function being left is on its stack */
	KLP_RUNNING,  /* it is running: seen too few times, or it ran on */
	KLP_IN_CLONE, /* inside vfork, clone or clone3 */
	KLP_REASON_COUNT
};

struct klp_error {
	int err; /* positive errno, 0 when nothing has failed */
	enum klp_reason reason;
	char text[480]; /* one sentence, no newline, always terminated */
};

#define KLP_ERROR_INIT     \
	{                  \
		0, KLP_OK, \
		{          \
			0  \
		}          \
	}

/* Fills *e and returns -err, so that callers write `return klp_fail(e, EINVAL, KLP_BAD_MODULE, "...")`. */
int klp_fail(struct klp_error *e, int err, enum klp_reason reason, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* "SITE_TAKEN" for KLP_SITE_TAKEN; never NULL. */
const char *klp_reason_name(enum klp_reason reason);

#ifdef __cplusplus
}
#endif
#endif
