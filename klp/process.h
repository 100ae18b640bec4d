/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A target process as seen from outside: its threads, mappings, objects, memory. Nothing here stops or changes the
 * target, except the two write functions. One klp_process per target; not thread-safe; used by the thread that opened
 * it (ptrace demands that).
 */
#ifndef KLP_PROCESS_H
#define KLP_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "klp/include/klp/error.h"

#define KLP_BUILD_ID_MAX 64
#define KLP_MAX_MAPPINGS 262144
#define KLP_MAX_TIDS 65536

struct klp_mapping {
	uint64_t start, end, offset;
	uint32_t prot; /* PROT_* */
	bool shared, grows_down;
	uint32_t dev_major, dev_minor;
	uint64_t inode;
	const char *path; /* as in /proc/PID/maps, "" for anonymous; owned by the process */
};

/* An ELF image that is mapped, parsed from the target's own memory (so deleted or hidden files do not matter). */
struct klp_object {
	uint64_t start, end;                /* hull of its mappings */
	uint64_t bias;                      /* run-time address - file vaddr */
	uint64_t text_start, text_end;      /* hull of its executable segments */
	uint16_t type, machine;             /* ET_EXEC or ET_DYN */
	uint64_t entry;                     /* run-time e_entry */
	bool main, vdso, libc, interpreter; /* libc: defines the C library's thread start (found by its soname
					       libc.so.6/libc.musl*, or main of a static program) */
	uint8_t build_id[KLP_BUILD_ID_MAX];
	size_t build_id_len;                                  /* 0: none */
	uint64_t phdr, phnum;                                 /* run-time address of program headers */
	uint64_t dynamic;                                     /* run-time address of PT_DYNAMIC, 0 none */
	uint64_t eh_frame_hdr, eh_frame_hdr_len;              /* run-time address, 0 none */
	uint64_t tls_align, tls_memsz, tls_filesz, tls_vaddr; /* PT_TLS; memsz 0 = none */
	uint64_t dev, inode;
	const char *path;
};

/* What klp_process_check saw of all threads at once, so that nobody needs to look at each again. */
struct klp_survey {
	bool done;
	bool all_blocked; /* of one of them even the C library's own signals: it may be in klp's code */
};
#define KLP_ALL_BLOCKED 0xfffffffffffbfeffull /* but SIGKILL and SIGSTOP */

struct klp_process {
	pid_t pid;           /* in the caller's pid namespace */
	pid_t ns_pid;        /* as the target sees itself (innermost of NSpid) */
	uint64_t start_time; /* field 22 of stat */
	uint16_t machine;    /* of the main executable */
	pid_t live_tid;      /* a live thread: its /proc files are used (the main thread may have exited) */
	struct klp_mapping *map;
	size_t map_count;
	struct klp_object *object;
	size_t object_count;
	uint64_t brk_start, brk_end;
	uint64_t start_stack; /* initial stack pointer of the main thread; 0 unknown */
	uint64_t stack_limit; /* RLIMIT_STACK */
	int mem_fd;           /* /proc/PID/task/live_tid/mem */
	int lock_fd;          /* klp_process_lock */
	bool same_ns;         /* the target's tids are ours too: one pid namespace */
	struct klp_survey survey;
	void *priv;
};

/* Opens; refuses zombies, kernel threads, other architectures, those we may not ptrace (KLP_PERMISSION). Does not
 * attach. */
int klp_process_open(pid_t pid, struct klp_process *p, struct klp_error *e);
void klp_process_close(struct klp_process *p);
/* Reads the maps again, and the objects if a mapping of a file has changed. The arrays move. */
int klp_process_refresh(struct klp_process *p, struct klp_error *e);
/* Everything again: a file may have been written to. */
int klp_process_reread(struct klp_process *p, struct klp_error *e);
/* 0, or -EBUSY/KLP_TRACED, -EBUSY/KLP_STOPPED, -ESRCH/KLP_ZOMBIE..: whether it may be changed now. */
int klp_process_check(struct klp_process *p, struct klp_error *e);
/* One klpctl at a time per target, wherever it runs (klp/lock.c). -EBUSY/KLP_BUSY after wait_ms. */
int klp_process_lock(struct klp_process *p, unsigned wait_ms, struct klp_error *e);

/* All of len or an error. Reading never stops anybody. */
int klp_process_read(const struct klp_process *p, uint64_t addr, void *buf, size_t len, struct klp_error *e);
/* Data: honours the target's page protection (process_vm_writev). */
int klp_process_write(const struct klp_process *p, uint64_t addr, const void *buf, size_t len, struct klp_error *e);
/* Several pieces at once, read in their order; all or an error. */
struct klp_piece {
	uint64_t addr;
	void *buf;
	size_t len;
};
int klp_process_read_pieces(const struct klp_process *p, const struct klp_piece *piece, size_t count,
			    struct klp_error *e);
/* Text: /proc/PID/task/TID/mem, through page protection. Hardened kernels demand a tracer: see klp_remote_write_text.
 */
int klp_process_write_text(const struct klp_process *p, uint64_t addr, const void *buf, size_t len,
			   struct klp_error *e);

const struct klp_mapping *klp_process_mapping(const struct klp_process *p, uint64_t addr);
/* Object by build-id; NULL if none. *count = how many mapped objects have it. */
const struct klp_object *klp_process_object(const struct klp_process *p, const uint8_t *build_id, size_t len,
					    size_t *count);
const struct klp_object *klp_process_object_at(const struct klp_process *p, uint64_t addr);

/*
 * The tids (caller's namespace) of all threads that were there before the call and are behind it; also some of those
 * that were born or ended meanwhile, oldest first. *tids is malloc'ed. -EAGAIN: no list was whole.
 */
int klp_process_tids(const struct klp_process *p, pid_t **tids, size_t *count, struct klp_error *e);

/* /proc/PID/task/TID/{stat,status}: what the proofs need. */
struct klp_task_info {
	char comm[64];
	char state;     /* 'R' 'S' 'D' 'T' 't' 'Z' 'X' */
	uint64_t flags; /* PF_*: field 9 of stat */
	uint64_t switches_voluntary, switches_involuntary;
	pid_t tracer, ns_tid;
	uint64_t sig_pending, shd_pending, sig_blocked, sig_caught;
	int seccomp; /* 0, 1, 2 */
	unsigned seccomp_filters;
	bool shadow_stack; /* x86_Thread_features has shstk */
};
int klp_task_info(const struct klp_process *p, pid_t tid, struct klp_task_info *i, struct klp_error *e);
/* The same from the status file alone, without `flags`: half the price, for looking at every thread. */
int klp_task_status(const struct klp_process *p, pid_t tid, struct klp_task_info *i, struct klp_error *e);
/* A live thread by its number in the target's own namespace: its tid in the caller's, and what klp_task_info says; 0:
 * there is none. */
pid_t klp_task_by_ns_tid(const struct klp_process *p, uint64_t ns_tid, struct klp_task_info *info);
/* Kernel-made tasks in the group (io_uring workers): always clean, never borrowed. */
bool klp_task_is_kernel_made(const struct klp_task_info *i);

/* /proc/PID/task/TID/syscall. running: the file says "running". nr = -1: stopped or blocked outside a system call. */
struct klp_task_syscall {
	bool running;
	long nr;
	uint64_t arg[6];
	uint64_t sp, pc;
};
int klp_task_syscall(const struct klp_process *p, pid_t tid, struct klp_task_syscall *s, struct klp_error *e);
/* From the file kept open: 0 or -errno. */
int klp_task_syscall_fd(const struct klp_process *p, int fd, struct klp_task_syscall *s);

/*
 * How often a thread has been put on a processor: it has not run between two equal answers (as text, as long as it is
 * off the processor at both). From schedstat, whose third number counts on the way in; on a kernel without it the
 * context switches of the status file, which count on the way out.
 */
#define KLP_RUNS_TEXT 96
struct klp_task_runs {
	int fd;
	bool from_status;
	char text[KLP_RUNS_TEXT];
};
/* Opens and reads once: 0 or -errno. */
int klp_task_runs_open(const struct klp_process *p, pid_t tid, bool from_status, struct klp_task_runs *r);
/* 1: the same answer as at the opening; 0: it ran; -errno. */
int klp_task_runs_same(const struct klp_task_runs *r);
void klp_task_runs_close(struct klp_task_runs *r);
/* When it began: field 22 of stat, ticks of CLOCK_BOOTTIME, _SC_CLK_TCK a second. 0 or -errno. */
int klp_task_start(const struct klp_process *p, pid_t tid, uint64_t *ticks);
/* "" if it is gone */
void klp_task_comm(const struct klp_process *p, pid_t tid, char *buf, size_t len);

/* Thread pointer without a stop: through get_robust_list and the delta that a stopped thread taught (0 = unknown). */
uint64_t klp_task_thread_pointer(const struct klp_process *p, pid_t tid, int64_t robust_delta);

#endif
