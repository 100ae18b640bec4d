/* SPDX-License-Identifier: Apache-2.0 */
/* What all tests of the way into a target share: a tool in a process of its own, targets that end with the test,
 * checks. */
#ifndef KLP_TESTS_REMOTE_COMMON_H
#define KLP_TESTS_REMOTE_COMMON_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "klp/remote.h"

#define TEST_SKIPPED 77

/* What a tool's process reported. Lies in shared memory. */
struct tool_result {
	int rc;
	struct klp_error error;
	unsigned cycles, refused; /* done; refused with KLP_NO_BORROW where that is allowed */
	unsigned stops;
	uint64_t longest_stop_ns, early_returns;
};

uint64_t now_ns(void);
void sleep_ms(unsigned ms);
/* The quick count, or the full one with KLP_FULL=1. */
unsigned rounds(unsigned quick, unsigned full);
/* Memory that this process and its children share. */
void *shared(size_t len);
/* A child that dies with this process. */
pid_t fork_bound(void);
/* A process, on every processor that we may use, that notes in *worst (shared memory, which the caller may set to 0) by
 * how many nanoseconds a sleep on it ended too late: so long the machine kept from running who wanted to. */
void watch_machine(_Atomic uint64_t *worst);
/* Ends a child of ours and takes its status. */
void finish(pid_t pid);

/* In this process: open, lock, check, find, start, ping, sync, stop, remove, close. */
int cycle(pid_t pid, unsigned wait_ms, struct tool_result *r);
/* The parts of it, for a tool that leaves something behind. */
int cycle_start(pid_t pid, unsigned wait_ms, struct klp_process *p, struct klp_remote *rem, struct klp_error *e);
/* In a process of its own: a cycle that is killed in a function that the test replaces, or gets to its end (false). */
bool tool_dies(pid_t target);
/* In such a function: kill -9 of the tool, and of the child that traces for it (klp/tracer.h) if it is to die as well:
 * then this does not return. */
void tool_is_killed(bool its_tracer_too);
/* In a process of its own, `count` cycles; stops at the first error but KLP_NO_BORROW (if may_refuse). */
void tool_cycles(pid_t pid, unsigned count, unsigned wait_ms, bool may_refuse, struct tool_result *r);
/* The same without waiting for it; the result lies in r (shared memory) when it has ended. */
pid_t tool_spawn(pid_t pid, unsigned count, unsigned wait_ms, bool may_refuse, struct tool_result *r);

/* Counts and prints failures; check_end gives the exit status. */
void check_at(const char *file, int line, bool good, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
#define check(good, ...) check_at(__FILE__, __LINE__, (good), __VA_ARGS__)
int check_end(void);

/* /proc/PID/maps without what changes by itself; malloc'ed. */
char *maps_text(pid_t pid);
/* Field of /proc/PID/task/TID/status in hexadecimal. */
uint64_t status_hex(pid_t pid, pid_t tid, const char *key);
unsigned thread_count(pid_t pid);
/* Prints where the threads of a process are, for a failure that waits for one. */
void tell_threads(pid_t pid);

#endif
