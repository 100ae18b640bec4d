/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/wrapper.h"

#include <sys/syscall.h>

#include "klp/callsite.h"
#include "klp/scope.h"

#define KLP_WRAPPER_CODE 1024u /* bytes of a wrapper */

static const struct {
	long nr;
	const char *name[4];
} klp_wrapper[] = {
    {SYS_read, {"read"}},
    {SYS_recvfrom, {"recvfrom", "recv"}},
    {SYS_recvmsg, {"recvmsg"}},
    {SYS_accept, {"accept"}},
    {SYS_accept4, {"accept4"}},
    {SYS_ppoll, {"ppoll", "poll", "pause"}},
    {SYS_pselect6, {"pselect", "select"}},
    {SYS_epoll_pwait, {"epoll_pwait", "epoll_wait"}},
    {SYS_clock_nanosleep, {"clock_nanosleep", "nanosleep", "usleep", "sleep"}},
    {SYS_nanosleep, {"nanosleep", "usleep", "sleep"}},
    {SYS_wait4, {"wait4", "waitpid", "wait", "wait3"}},
    {SYS_waitid, {"waitid"}},
    {SYS_rt_sigtimedwait, {"sigtimedwait", "sigwaitinfo", "sigwait"}},
    {SYS_rt_sigsuspend, {"sigsuspend"}},
#ifdef SYS_poll /* the calls that newer architectures do not have any more */
    {SYS_poll, {"poll"}},
    {SYS_select, {"select"}},
    {SYS_epoll_wait, {"epoll_wait"}},
    {SYS_pause, {"pause"}},
#endif
};

/* Does the wrapper end in a jump to the function? An indirect one, which would reach address 1 as well, may lead
 * anywhere. */
static bool klp_wrapper_passes_on(const struct klp_process *p, const struct klp_definition *def, uint64_t entry)
{
	const uint64_t to[2] = {entry, 1};
	struct klp_error ignored = KLP_ERROR_INIT;
	uint8_t code[KLP_WRAPPER_CODE];
	bool reached[2] = {false, false};
	size_t len = (size_t)def->sym.st_size;

	if (!len || len > sizeof(code) || klp_process_read(p, def->value, code, len, &ignored))
		return false;
	klp_jumps_reach(p, code, len, def->value, to, reached, 2);
	return reached[0] && !reached[1];
}

static bool klp_wrapper_ends_at(const struct klp_scope *s, struct klp_dso *libc, const char *name, uint64_t entry)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_definition def;

	return klp_dso_lookup(s, libc, name, NULL, false, &def, &ignored) == 1 &&
	       (def.value == entry || klp_wrapper_passes_on(s->p, &def, entry));
}

bool klp_is_wrapper(const struct klp_process *p, const struct klp_object *libc, long nr, uint64_t entry)
{
	struct klp_error ignored = KLP_ERROR_INIT;
	struct klp_scope scope;
	struct klp_dso *d;
	bool found = false;

	if (klp_scope_open(p, &scope, &ignored))
		return false;
	d = klp_scope_dso(&scope, libc);
	for (size_t i = 0; i < sizeof(klp_wrapper) / sizeof(klp_wrapper[0]) && d && !found; i++)
		for (size_t k = 0; k < 4 && klp_wrapper[i].name[k] && !found; k++)
			found =
			    klp_wrapper[i].nr == nr && klp_wrapper_ends_at(&scope, d, klp_wrapper[i].name[k], entry);
	klp_scope_close(&scope);
	return found;
}
