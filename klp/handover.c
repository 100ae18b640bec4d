/* SPDX-License-Identifier: Apache-2.0 */
#include "klp/handover.h"

#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KLP_QUEUED_FROM 32 /* signals of which one more is not dropped */

static struct klp_held_signal *klp_held_find(struct klp_held *h, int signal)
{
	for (unsigned i = 0; i < h->count; i++)
		if (h->signal[i].info.si_signo == signal)
			return &h->signal[i];
	return NULL;
}

bool klp_held_take(struct klp_held *h, const struct klp_process *p, pid_t tid)
{
	struct klp_held_signal *old;
	siginfo_t info;

	if (ptrace(PTRACE_GETSIGINFO, tid, NULL, &info))
		return false;
	old = klp_held_find(h, info.si_signo);
	if (old && old->sent)
		return false; /* this is it, and the thread was in its call when it was sent */
	if (old && info.si_signo < KLP_QUEUED_FROM)
		return true; /* one is pending, so the kernel would drop another one too */
	/* Nobody is to lose it because it could not be sent. */
	if (h->count == KLP_HELD_MAX || syscall(SYS_tgkill, p->pid, tid, 0))
		return false;
	h->signal[h->count].sent = false;
	h->signal[h->count++].info = info;
	return true;
}

void klp_held_send(struct klp_held *h, const struct klp_process *p, pid_t tid)
{
	for (unsigned i = 0; i < h->count; i++)
		if (!h->signal[i].sent) /* again, if the thread's queue is full */
			h->signal[i].sent = !syscall(SYS_tgkill, p->pid, tid, h->signal[i].info.si_signo);
}

void klp_held_deliver(struct klp_held *h, pid_t tid)
{
	struct klp_held_signal *held;
	siginfo_t info;

	if (!h->count || ptrace(PTRACE_GETSIGINFO, tid, NULL, &info))
		return;
	held = klp_held_find(h, info.si_signo);
	if (!held)
		return;
	ptrace(PTRACE_SETSIGINFO, tid, NULL, &held->info);
	h->count--;
	memmove(held, held + 1, (size_t)(h->signal + h->count - held) * sizeof(*held));
}

void klp_held_end(struct klp_held *h, const struct klp_process *p)
{
	for (unsigned i = 0; i < h->count; i++)
		if (h->signal[i].info.si_code != SI_TKILL) /* one that was meant for the thread goes with it */
			syscall(SYS_kill, p->pid, h->signal[i].info.si_signo);
	h->count = 0;
}
