/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libklp: live patching of running programs, from outside. klpctl is a thin command line over this header.
 *
 * Every call works on one process, is synchronous, and leaves the target correct whatever happens to the caller, kill
 * -9 included: the state of an operation lives in the target and the next call, from any process, resumes or reverses
 * it. Results are JSON objects (jansson) as printed by `klpctl --json`; the caller owns them. Thread safety: one thread
 * per call; calls on different processes from different threads are independent.
 */
#ifndef KLP_KLP_H
#define KLP_KLP_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>
#include <jansson.h>
#include <klp/error.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KLP_VERSION "0.1.0"

/* Progress and events in the kernel's wording ("'fix': starting patching transition"); may be NULL. level 0 event, 1
 * warning, 2 progress. */
typedef void (*klp_log_fn)(void *ctx, int level, const char *text);

struct klp_options {
	unsigned timeout_ms; /* how long to wait for a transition; 0 = 10 s for a load or unload */
	bool replace;        /* atomic replace of all patches */
	bool immediate;      /* a load waits for no thread; KLP_COUPLED if that could mix versions */
	bool no_samples;     /* running threads are interrupted, not sampled through perf */
	klp_log_fn log;
	void *log_ctx;
};

struct klp_module;

/* Reads a module file; the reasons are KLP_BAD_MODULE, KLP_WRONG_ARCH, KLP_IO, KLP_LIMIT. Free with klp_module_close.
 */
int klp_module_open(const char *path, struct klp_module **m, struct klp_error *e);
void klp_module_close(struct klp_module *m);
/* `klpctl info --json`. */
json_t *klp_module_info(const struct klp_module *m);

/*
 * load: 0 done, 1 already loaded ("skipped"), -EAGAIN/KLP_PENDING transition or callback still pending at the timeout
 * (kept, resumable), other -errno: nothing changed. *result is an element of section "processes" of klpctl's JSON; set
 * on success and on failure.
 */
int klp_load(pid_t pid, const struct klp_module *m, const struct klp_options *o, json_t **result, struct klp_error *e);
/* unload: the same; 1 = not loaded. During a load of that patch in flight it reverses it. */
int klp_unload(pid_t pid, const char *name, const struct klp_options *o, json_t **result, struct klp_error *e);
/* Neither stops the target nor writes to it. *result->"patches" is empty if klp is not there. */
int klp_status(pid_t pid, json_t **result, struct klp_error *e);
/* Dry run: would it apply, who would block now. Does not touch the target. */
int klp_check(pid_t pid, const struct klp_module *m, json_t **result, struct klp_error *e);
/* Ends a pending transition by declaring every thread moved. May crash for coupled patches, and warns of it; the patch
 * is never unmapped. */
int klp_force(pid_t pid, const char *name, const struct klp_options *o, json_t **result, struct klp_error *e);
/* Reliable stack traces with verdicts, of blocked threads and, where the kernel permits samples, of running ones; stops
 * nobody. */
int klp_stack(pid_t pid, json_t **result, struct klp_error *e);
/*
 * For debuggers, which find no file that belongs to klp's code: writes into the directory an ELF file for each loaded
 * patch and for klp's runtime, at their addresses in the process: code, unwind information, names. *result->"files":
 * {"patch" (null: the runtime), "path", "text", "text_len"}. Files that are there already are never written over.
 */
int klp_symfiles(pid_t pid, const char *dir, json_t **result, struct klp_error *e);
/* The same names as perf wants them in /tmp/perf-PID.map: a line "START LENGTH NAME" for each function. */
int klp_perf_map(pid_t pid, FILE *out, struct klp_error *e);
/* Which functions of a running process or file are patchable, and why not. */
int klp_sites_file(const char *path, json_t **result, struct klp_error *e);
int klp_sites_process(pid_t pid, json_t **result, struct klp_error *e);

/* Pids of processes that map every object of the module / have any klp runtime. *pids malloc'ed. */
int klp_find_targets(const struct klp_module *m, pid_t **pids, size_t *count, struct klp_error *e);
int klp_find_patched(pid_t **pids, size_t *count, struct klp_error *e);

/*
 * Objects that come and go: a process that starts, a library or plug-in that is opened later, closed, opened again.
 * Each look finds the processes (the given ones, or with count 0 all) that map the module's object (all of them if
 * there are several), loads the patch where it has come since the last look, and unloads it where an object has gone,
 * so that its memory is given back and callbacks are run. The window in which the object's old code can be called is
 * the time between two looks, and the load.
 *
 * Appends {"pid", "patch", "event": "came" | "there" (loaded already) | "went" | "ended", "result": as of klp_load or
 * klp_unload, or null} to *events. A refusal is an event, once; what time alone may end (pending, busy, traced,
 * stopped, no thread to borrow or for a callback) is tried again at each look. Returns how many of the processes are
 * there, or -errno. The module must outlive the watch. One thread at a time.
 */
struct klp_watch;
int klp_watch_new(const struct klp_module *m, const struct klp_options *o, struct klp_watch **w, struct klp_error *e);
int klp_watch_look(struct klp_watch *w, const pid_t *pid, size_t count, json_t *events, struct klp_error *e);
void klp_watch_free(struct klp_watch *w);

#ifdef __cplusplus
}
#endif
#endif
