/* SPDX-License-Identifier: Apache-2.0 */
/* Errors: errno, reason and sentence (klp/include/klp/error.h). */
#include "klp/include/klp/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

int klp_fail(struct klp_error *e, int err, enum klp_reason reason, const char *fmt, ...)
{
	/* Callers may pass text of *e itself as an argument, so it is written to another buffer first. */
	char text[sizeof(e->text)];
	va_list ap;

	/* A failure without a number would look like success to the caller. */
	if (err <= 0)
		err = err < 0 ? -err : EINVAL;
	va_start(ap, fmt);
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	for (size_t i = 0; i < sizeof(text) && text[i]; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			text[i] = '?'; /* one sentence, one line: names come from hostile files */
	snprintf(e->text, sizeof(e->text), "%s", text);
	e->err = err;
	e->reason = reason;
	return -err;
}

static const char *const klp_reason_names[KLP_REASON_COUNT] = {
#define KLP_NAME(x) [KLP_##x] = #x
    KLP_NAME(OK),
    KLP_NAME(INTERNAL),
    KLP_NAME(NOMEM),
    KLP_NAME(USAGE),
    KLP_NAME(IO),
    KLP_NAME(NO_PROCESS),
    KLP_NAME(PERMISSION),
    KLP_NAME(TRACED),
    KLP_NAME(STOPPED),
    KLP_NAME(ZOMBIE),
    KLP_NAME(BUSY),
    KLP_NAME(KERNEL_MADE),
    KLP_NAME(SECCOMP),
    KLP_NAME(SHADOW_STACK),
    KLP_NAME(NO_BORROW),
    KLP_NAME(NO_ROOM),
    KLP_NAME(HELPER),
    KLP_NAME(FOREIGN_RUNTIME),
    KLP_NAME(TARGET_MEMORY),
    KLP_NAME(BAD_MODULE),
    KLP_NAME(WRONG_ARCH),
    KLP_NAME(NO_OBJECT),
    KLP_NAME(BAD_FUNCTION),
    KLP_NAME(BAD_RELOC),
    KLP_NAME(NO_SYMBOL),
    KLP_NAME(PREEMPTED),
    KLP_NAME(AMBIGUOUS),
    KLP_NAME(NO_UNWIND_INFO),
    KLP_NAME(NO_SITE),
    KLP_NAME(PREFIX_TOO_SMALL),
    KLP_NAME(SITE_MISALIGNED),
    KLP_NAME(SITE_UNKNOWN),
    KLP_NAME(SITE_TAKEN),
    KLP_NAME(ATTRIBUTE_ONLY),
    KLP_NAME(EXISTS),
    KLP_NAME(NOT_LOADED),
    KLP_NAME(ORDER),
    KLP_NAME(STATE),
    KLP_NAME(COUPLED),
    KLP_NAME(PENDING),
    KLP_NAME(UNSUPPORTED),
    KLP_NAME(LIMIT),
    KLP_NAME(CALLBACK),
    KLP_NAME(NO_CALLBACK_THREAD),
    KLP_NAME(UNW_NO_MODULE),
    KLP_NAME(UNW_NO_ROW),
    KLP_NAME(UNW_BAD_ROW),
    KLP_NAME(UNW_REG_UNKNOWN),
    KLP_NAME(UNW_OUT_OF_STACK),
    KLP_NAME(UNW_NOT_MONOTONIC),
    KLP_NAME(UNW_NO_END),
    KLP_NAME(UNW_IN_TRAMPOLINE),
    KLP_NAME(UNW_CALLER_HIDDEN),
    KLP_NAME(UNW_CHANGED),
    KLP_NAME(ON_STACK),
    KLP_NAME(RUNNING),
    KLP_NAME(IN_CLONE),
#undef KLP_NAME
};

const char *klp_reason_name(enum klp_reason reason)
{
	if ((unsigned)reason >= KLP_REASON_COUNT || !klp_reason_names[reason])
		return "UNKNOWN";
	return klp_reason_names[reason];
}
