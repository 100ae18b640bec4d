#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Seccomp filters that forbid a call which klp would make in the target: patched where the filter lets that be, refused with SECCOMP and unchanged where not, never killed.
# The filter comes before the load, after it (so that the unload meets it), in the middle, or is one thread's only.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/VERSION 1/VERSION 2/' <<'C'
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define VERSION 1

static int pipes[2];
static atomic_int go, inside, slept, asked, worker_nr, worker_action, worker_ready;

__attribute__((noipa)) int answer(int x)
{
	return x * 10 + VERSION;
}

__attribute__((noipa)) int sleeper(void)
{
	char c;

	inside = 1;
	while (read(pipes[0], &c, 1) != 1)
		;
	return 100 * VERSION;
}

static void *sleep_thread(void *arg)
{
	for (;;) {
		while (!go)
			usleep(500);
		go = 0;
		slept = sleeper();
	}
	return arg;
}

/* Calls that this program makes behind the filter are read, write and waits. */
static int filter(int nr, int action, int all)
{
	struct sock_filter code[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, action ? SECCOMP_RET_ERRNO | EPERM : SECCOMP_RET_KILL_PROCESS),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {sizeof(code) / sizeof(*code), code};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? errno : syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, all ? SECCOMP_FILTER_FLAG_TSYNC : 0, &prog) ? errno : 0;
}

/* Nothing but what this program makes from here on. */
static int only(void)
{
	struct sock_filter code[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 4, 0),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 3, 0),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clock_nanosleep, 2, 0),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {sizeof(code) / sizeof(*code), code};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? errno : syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog) ? errno : 0;
}

/* A thread with a filter of its own, that calls what is patched when it is asked to. */
static void *worker(void *arg)
{
	if (filter(worker_nr, worker_action, 0))
		abort();
	worker_ready = 1;
	for (;; usleep(500))
		if (asked == 1)
			asked = answer(4);
	return arg;
}

int main(void)
{
	static char line[128], out[32];
	pthread_t t;
	ssize_t n;

	if (pipe(pipes) || pthread_create(&t, NULL, sleep_thread, NULL))
		return 1;
	while ((n = read(0, line, sizeof(line) - 1)) > 0) {
		int nr = 0, action = 0, v = 0;
		char word[32] = "";

		line[n] = 0;
		sscanf(line, "%31s %d %d", word, &nr, &action);
		if (!strcmp(word, "filter")) {
			v = filter(nr, action, 1);
		} else if (!strcmp(word, "only")) {
			v = only();
		} else if (!strcmp(word, "worker")) {
			worker_nr = nr;
			worker_action = action;
			v = pthread_create(&t, NULL, worker, NULL);
			while (!worker_ready)
				usleep(500);
		} else if (!strcmp(word, "ask")) {
			asked = 1;
			while (asked == 1)
				usleep(500);
			v = asked;
		} else if (!strcmp(word, "sleep")) {
			inside = 0;
			go = 1;
			while (!inside)
				usleep(500);
		} else if (!strcmp(word, "wake")) {
			slept = 0;
			v = write(pipes[1], "", 1) != 1;
			while (!slept)
				usleep(500);
			v = slept;
		} else {
			v = answer(4);
		}
		n = snprintf(out, sizeof(out), "%d\n", v);
		if (write(1, out, (size_t)n) != n)
			return 1;
	}
	_exit(0);
}
C
number() { # CALL: its number here
	printf '#include <sys/syscall.h>\nSYS_%s\n' "$1" | "${CC:-cc}" -E - | tail -1
}
# What klp makes in a target, and two calls (mprotect, ptrace) that it never makes there. munmap only gives memory back.
calls="mmap mprotect membarrier clone getpid rt_sigreturn ptrace"
[ "${KLP_FULL:-0}" = 1 ] && calls+=" munmap clone3 exit gettid arch_prctl rt_sigpending rt_sigprocmask rt_sigaction futex madvise"
worked=
refused=
loaded() { # whole: pending for the sleeper first, with calls through dispatch; 1 if it was refused
	local before
	before=$(text_print "$(p)")
	expect 0 sleep
	ctl 4,5 load -v --json --timeout 0.15 -p "$(p)" "$work/own.klp"
	if [ "$(result .result)" = refused ]; then
		expect_reason SECCOMP
		result .message | grep -qE '[a-z_0-9]{3,}' || die "no sentence"
		[ "$(text_print "$(p)")" = "$before" ] || die "a refused load changed the target"
		expect_status 0 '.patches | length'
		expect 41 x
		return 1
	fi
	ask x
	[ "$REPLY" = 42 ] || [ "$REPLY" = 41 ] || die "it answers $REPLY in the transition"
	expect 100 wake
	ctl 0 load -v --json --timeout 20 -p "$(p)" "$work/own.klp"
	expect 42 x
}
n=0
for call in $calls; do
	nr=$(number "$call")
	[[ $nr =~ ^[0-9]+$ ]] || continue
	for action in 0 1; do # kill, EPERM
		[ $action = 0 ] || [ "${KLP_FULL:-0}" = 1 ] || [ $call = membarrier ] || continue
		n=$((n + 1))
		# Before the load.
		target "t$n" "$work/tree/prog"
		expect 0 filter "$nr" $action
		expect 41 x
		if loaded; then
			expect 0 sleep
			ctl 5 unload -v --json --timeout 0.15 -p "$(p)" own
			expect 200 wake
			ctl 0 unload -v --json --timeout 20 -p "$(p)" own
			expect 41 x
			worked+=" $call"
		else
			refused+=" $call"
		fi
		alive
		# Between load and unload.
		target "u$n" "$work/tree/prog"
		loaded || die "a load without a filter was refused"
		expect 0 filter "$nr" $action
		expect 0 sleep
		expect 42 x
		ctl 4,5 unload -v --json --timeout 0.15 -p "$(p)" own
		if [ "$(result .result)" = refused ]; then
			expect_reason SECCOMP
			expect_status enabled '.patches[0].state'
			expect 42 x
			expect 200 wake
			expect 42 x
		else
			expect 200 wake
			ctl 0 unload -v --json --timeout 20 -p "$(p)" own
			expect 41 x
		fi
		alive
	done
done
# One thread's, which is not the one that klp would borrow: it may come to dispatch all the same.
target v "$work/tree/prog"
expect 0 worker "$(number getpid)" 0
expect 41 ask
before=$(text_print "$(p)")
ctl 4 load -v --json --timeout 0.15 -p "$(p)" "$work/own.klp"
expect_reason SECCOMP
[ "$(text_print "$(p)")" = "$before" ] || die "a refused load changed the target"
expect 41 x
expect 41 ask
# One thread's, which comes while a transition is in progress: what klp does on that thread needs none of these calls.
for call in getpid gettid getppid; do
	target "w-$call" "$work/tree/prog"
	expect 0 sleep
	ctl 5 load -v --json --timeout 0.15 -p "$(p)" "$work/own.klp"
	expect 0 worker "$(number $call)" 0
	expect 42 ask
	expect 42 ask
	expect 100 wake
	alive
done
# One for all threads, which comes while klp's own thread waits in the target: that makes no call that is not looked at before. It goes, or where it may not,
# it waits for ever.
waiting="rt_sigtimedwait membarrier exit munmap mmap prctl gettid restart_syscall only"
forbid() { # CALL of `waiting`
	if [ "$1" = only ]; then expect 0 only; else expect 0 filter "$(number "$1")" 0; fi
}
helper() { # its task's directory
	grep -lx klp-helper /proc/"$(p)"/task/*/comm | sed 's,/comm$,,'
}
declare -A load_of=()
for call in $waiting; do
	target "x-$call" "$work/tree/prog"
	expect 0 sleep
	"$klpctl" load --json --timeout 100 -p "$(p)" "$work/own.klp" >"$work/x-$call.json" 2>/dev/null &
	load_of[$call]=$!
	others+=($!)
done
in_transition() { [ "$(status '.patches[0].transition.attended')" = true ]; }
for call in $waiting; do
	use "x-$call"
	wait_for 10 in_transition || die "no transition is in progress"
	forbid $call
done
sleep 3 # longer than the helper stays without a request
for call in $waiting; do
	use "x-$call"
	ask x # which says how the target has ended, if it has
	[ "$REPLY" = 42 ] || [ "$REPLY" = 41 ] || die "it answers $REPLY behind a filter of $call"
	expect 100 wake
done
gone=
for call in $waiting; do
	use "x-$call"
	wait "${load_of[$call]}"
	status=$?
	reason=$(jq -r '.processes[0].reason' "$work/x-$call.json")
	case $status$reason in
	0null) ;;
	4SECCOMP) gone+=" $call" ;;
	*) die "with a filter of $call the load ended with $status, $reason" ;;
	esac
	ask x
	[ "$REPLY" = 42 ] || [ "$REPLY" = 41 ] || die "it answers $REPLY behind a filter of $call"
	ctl 0,4,5 unload --json --timeout 1 -p "$(p)" own
	alive
done
sleep 3
for call in $waiting; do
	use "x-$call"
	alive
	ask x
	case $call in
	exit) [ "$(cut -d' ' -f3 <"$(helper)/stat")" = S ] || die "the helper that may not end does not sleep" ;;
	only) [ "$(cut -d' ' -f41 <"$(helper)/stat")" = 5 ] || die "the helper that may not even sleep is not idle" ;;
	*) [ -z "$(helper)" ] || die "the helper is there behind a filter of $call" ;;
	esac
done
echo "refused in a transition:$gone"
for call in rt_sigtimedwait membarrier exit only; do
	[[ " $gone " = *" $call "* ]] || die "a filter that forbids $call was not seen"
done
echo "patched:$worked"
echo "refused:$refused"
for call in mprotect ptrace; do
	[[ " $worked " = *" $call "* ]] || die "a filter that forbids $call, which klp never makes there, was in its way"
done
for call in mmap membarrier clone rt_sigreturn; do
	[[ " $refused " = *" $call "* ]] || die "a filter that forbids $call was not in its way"
done
