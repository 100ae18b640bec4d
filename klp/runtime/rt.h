/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine (outside) and the runtime (inside the target) share: the layout of the runtime image, of the
 * control block and of the site arenas. The control block describes the state of every operation, so that the
 * next klpctl can resume or reverse what a killed one began (invariant P1).
 *
 * Memory of klp in a target:
 *
 *   core      [ image: r-x, KLP_RT_TEXT_SIZE ][ control block: rw-, sizeof(struct klp_rt_cb) rounded up ][ own: rw-, a
 * page ] arena     [ stubs: r-x ][ site records: rw- ]           one or more per patched object, near it module    [
 * text: r-x ][ read-only data: r-- ][ data: rw- ][ metadata (JSON): r-- ]   one per patch, near its object
 *
 * At least one unmapped page is kept on both sides of each, so that the kernel never merges them with others.
 *
 * WHO WRITES WHAT (every shared word has one writing side; no read-modify-write from outside):
 *   T  a thread of the target, in dispatch        H  the transient helper, at the engine's request, one aligned store
 *   E  the engine, while nobody in the target reads it (published afterwards by a store of H)
 * A field's letter stands in its comment. All words are naturally aligned. All sizes in bytes.
 */
#ifndef KLP_RT_H
#define KLP_RT_H

#include <stdint.h>

#include "klp/runtime/shadow.h"

/* struct klp_rt_regs: the registers that the trampoline saved, as dispatch and ops see them. */
#if defined(__x86_64__)
#include "klp/runtime/arch/x86_64/regs.h"
#elif defined(__aarch64__)
#include "klp/runtime/arch/aarch64/regs.h"
#elif defined(__riscv)
#include "klp/runtime/arch/riscv64/regs.h"
#endif

#define KLP_RT_MAGIC "klp-runtime-1\n\0" /* 16 bytes with its terminator, first bytes of the image; written LAST */
#define KLP_CB_MAGIC "klp-control-1\n\0" /* first bytes of the control block; written last */
#define KLP_RT_TEXT_SIZE 0x4000u
#define KLP_RT_STACK_SIZE 0x4000u
#define KLP_RT_FRAME_SIZE 0x4000u /* room for one borrow frame: AMX needs ~11 KiB */
#define KLP_MAX_THREADS 32768u    /* entries of the thread table; a power of two */
#define KLP_MAX_PATCHES 64u
#define KLP_MAX_ARENAS 64u
#define KLP_MAX_MAPS 320u
#define KLP_MAX_OPS 1024u    /* ops in one request */
#define KLP_ARENA_SITES 256u /* site records in one arena */
#define KLP_STUB_SIZE 64u

/*
 * First bytes of the image. Offsets are from the image's start. `build` identifies the layout and the code: the first
 * 8 bytes of a digest over the image; an engine refuses a runtime with another one (KLP_FOREIGN_RUNTIME).
 */
struct klp_rt_image {
	char magic[16];
	uint64_t build;
	uint32_t size;                     /* bytes of the image in use */
	uint32_t trampoline;               /* klp_rt_trampoline: stubs jump here, argument registers */
	uint32_t trampoline_end;           /* first byte behind both trampolines and dispatch */
	uint32_t trampoline_full;          /* the same, all registers recorded */
	uint32_t borrow;                   /* klp_rt_borrow: a borrowed thread runs this */
	uint32_t helper;                   /* klp_rt_helper: the helper's first instruction */
	uint32_t ops_livepatch;            /* struct klp_rt_ops of the live patcher */
	uint32_t callback;                 /* klp_rt_callback: a borrowed thread runs a patch's callback */
	uint32_t shadow[KLP_SHADOW_CALLS]; /* functions that modules may call: KLP_SHADOW_CALL_NAMES */
	uint32_t find_fde;                 /* klp_rt_find_fde */
	uint32_t eh_frame, eh_frame_end;   /* the image's unwind information, for debuggers */
};

/* One borrow: written by E into the control block before the thread is redirected (never changed while it runs). The
 * offsets are borrow.S's. */
struct klp_rt_borrow {
	uint64_t cb; /* address of the control block */
	uint64_t reserved[2];
	uint64_t frame_restart; /* stack pointer for the rt_sigreturn that goes home as if nothing had happened */
	uint64_t frame_eintr;   /* the same, but the interrupted call returns -EINTR (A2) */
	uint64_t old_mask;      /* the thread's own signal mask */
	uint64_t eintr_always;  /* 1: any handled signal makes it EINTR (calls of the -ERESTARTNOHAND class) */
	uint64_t has_call;      /* 0: the thread was in user code; frame_restart is used whatever is pending */
	uint64_t stack_top;     /* of the helper */
	uint64_t result;        /* address of cb->borrow_result */
	uint64_t scratch;       /* address of cb->borrow_scratch */
};

/*
 * A patch's callback on a borrowed thread (klp/callbacks.h). One at a time; the record says to a tool that finds it
 * what was asked and how far it came. E writes it and stores ASKED last, before it redirects the thread.
 */
enum klp_rt_callback_state {
	KLP_RT_CALLBACK_NONE = 0,
	KLP_RT_CALLBACK_ASKED,
	KLP_RT_CALLBACK_RUNS,
	KLP_RT_CALLBACK_DONE
};
struct klp_rt_callback {
	uint64_t fn; /* E  address of the function */
	/* E  where the relative timeout of the thread's call is, 0: it has none. timeout_unit 0: in its way home, 32
	 * bits of ms; else on its stack, two words, seconds and parts of which a second has so many. */
	uint64_t timeout;
	uint32_t kind;  /* E  enum klp_callback */
	uint32_t patch; /* E  index of the patch */
	uint32_t tid;   /* E  the thread, as the target's pid namespace sees it */
	int32_t result; /* T  of pre_patch, else 0 */
	uint32_t state; /* E, T */
	uint32_t timeout_unit;
};

struct klp_rt_site;
struct klp_rt_regs; /* an architecture without an engine does not define it */
typedef void (*klp_rt_ops_fn)(struct klp_rt_site *site, struct klp_rt_regs *regs);
struct klp_rt_ops {
	uint64_t fn;    /* absolute address of a klp_rt_ops_fn; relocated by E when the image is written */
	uint64_t flags; /* KLP_RT_IPMODIFY */
};
#define KLP_RT_IPMODIFY 1u

/* One patched function. 128 bytes; the first word is what its prefix jumps through. */
struct klp_rt_site {
	uint64_t slot;   /* H  (E before the site is armed) */
	uint64_t ops;    /* E  address of a struct klp_rt_ops, in the target */
	uint64_t cb;     /* E  the control block */
	uint64_t pc[4];  /* E  [(transition id & 1) * 2 + universe]; stable while that transition can still be read */
	uint64_t entry;  /* E  address of the symbol */
	uint64_t body;   /* E  first instruction behind the site: the original body */
	uint64_t stub;   /* E  this site's stub */
	uint64_t prefix; /* E  first byte that the PLT entry occupies */
	uint8_t used;    /* E  1 from the moment the record describes a site */
	uint8_t layout;  /* E  enum klp_site_layout */
	uint8_t prefix_len; /* E  bytes of prefix_old in use */
	uint8_t pad;
	uint32_t entry_size;    /* E  the original function is [entry, entry + entry_size) */
	uint8_t prefix_old[24]; /* E  bytes of the prefix before it was written */
	uint64_t original;      /* E  klp_stub_original: what a jump through the slot takes to the body */
};
_Static_assert(sizeof(struct klp_rt_site) == 128, "site record");

/* First 128 bytes of an arena's rw part; the site records follow. */
struct klp_rt_arena {
	uint64_t stubs;      /* E */
	uint64_t stubs_len;  /* E */
	uint64_t trampoline; /* E  absolute address; stubs jump through this word */
	uint64_t reserved[13];
};
_Static_assert(sizeof(struct klp_rt_arena) == 128, "arena header");

/*
 * One thread during a transition (invariants T1, T2). An entry belongs to a tid; `tp` is bound at its first dispatch.
 * Entries are inserted by H (threads listed by the engine) or claimed by T (a thread that was born meanwhile), both
 * with a compare-and-swap of the first free place of the tid's probe sequence; they are never moved, and no place
 * becomes free while a transition runs, so both find the same place and one tid never has two entries.
 */
struct klp_rt_thread {
	uint32_t tid;     /* T/H by CAS */
	uint32_t state;   /* T/H  (transition id << 1) | universe; another id: universe 0, or see enter_own() */
	uint64_t tp;      /* T  */
	uint64_t count;   /* T  entries into dispatch, ever; incremented before the verdict is loaded */
	uint64_t in_sp;   /* T  not 0 while in dispatch: the frame's address; lets a longjmp out of it be recognised */
	uint64_t verdict; /* H, or E while the thread is stopped or at the door: see KLP_VERDICT */
	uint64_t base;    /* T  see decide() in dispatch.c */
	uint64_t bound;   /* T  when tp was bound: of several entries with one tp, the last is the living thread's */
	uint64_t parent;  /* T  KLP_TP_FOREIGN: place of the entry that it inherits from, KLP_MAX_THREADS: none */
};
_Static_assert(sizeof(struct klp_rt_thread) == 64, "thread entry");

/* In the entry of a fork's or vfork's child where the two cannot be told apart: nobody inherits from it. */
#define KLP_TP_FOREIGN UINT64_MAX

/* In the place of an entry that is no more: searches go on behind it, and it can be claimed. No thread has this tid. */
#define KLP_TID_FREED UINT32_MAX

/* tid and state as the one word that claims an entry (little endian: tid first). */
#define KLP_THREAD_CLAIM(tid, state) ((uint64_t)(uint32_t)(tid) | (uint64_t)(uint32_t)(state) << 32)

/* "When your entry count was `count`, no function being left was on your stack": 16 bits generation, 48 bits count; 0 =
 * none. */
#define KLP_VERDICT(generation, count) \
	(((uint64_t)(uint16_t)(generation) << 48) | ((uint64_t)(count)&0xffffffffffffull))
#define KLP_VERDICT_GENERATION(v) ((uint16_t)((v) >> 48))
#define KLP_VERDICT_COUNT(v) ((v)&0xffffffffffffull)

/*
 * The door (section 8 of the design, way 2): a thread that is always inside the functions being left is proven in the
 * moment in which it enters one from a clean stack. The engine invites some; the first of them that enters takes the
 * seat, says where its registers lie and waits, so that never more than one waits (P3); the engine reads its stack and
 * stores a verdict for its count, or goes on to the next round. Everything that E writes here is a hint, torn or late:
 * it can make a thread wait once more or not at all. What moves a thread is the verdict alone, which names the count of
 * this very entry.
 */
#define KLP_DOORS 64u
struct klp_rt_invitation {
	uint64_t entry; /* E  address of the invited thread's entry, 0 none */
	uint64_t above; /* E  only from frames above this address: where the outermost function being left returns to */
};
struct klp_rt_door {
	uint64_t seat;       /* T by CAS  KLP_DOOR_SEAT of whoever took it last */
	uint32_t patience;   /* E  loops of the wait; at most KLP_DOOR_PATIENCE_MAX */
	uint16_t generation; /* E */
	uint8_t round;       /* E  0: closed. Who took the seat waits as long as it does not change; one byte */
	uint8_t pad;
	struct klp_rt_invitation invited[KLP_DOORS];
};
#define KLP_DOOR_OF(index) ((uint32_t)(index) % KLP_DOORS)
#define KLP_DOOR_PATIENCE_MAX 16384u
#define KLP_DOOR_SEAT(regs, round) ((regs) << 8 | (round))

/*
 * The transition word (H): 0 when there is none. Universe 0 is "before", 1 is "after"; target is where threads move to
 * (a reversal flips it and takes a new generation). sealed: every thread that existed when the last site was armed has
 * an entry, so a thread without one is new and starts in the target universe.
 */
#define KLP_TR(id, generation, target, sealed)                                                                     \
	(((uint64_t)(uint32_t)(id) << 32) | ((uint64_t)(uint16_t)(generation) << 16) | ((uint64_t)(sealed) << 2) | \
	 ((uint64_t)(target) << 1) | 1u)
#define KLP_TR_ID(w) ((uint32_t)((w) >> 32))
#define KLP_TR_GENERATION(w) ((uint16_t)((w) >> 16))
/* Every thread has been proven; the final slots are being stored. Whoever dispatches now belongs to the target
 * universe. */
#define KLP_TR_COMPLETING_BIT 8u
#define KLP_TR_COMPLETING(w) (((w) >> 3) & 1u)
#define KLP_TR_SEALED(w) (((w) >> 2) & 1u)
#define KLP_TR_TARGET(w) (((w) >> 1) & 1u)
#define KLP_TR_ACTIVE(w) ((w)&1u)

/* What the helper can do. A request is a list of ops, executed in order; it stops at the first that fails, SYSCALL,
 * INSERT and FORGET excepted. */
enum klp_rt_opcode {
	KLP_OP_SYSCALL = 1, /* result = syscall(a[0]; a[1..6]); a negative result does not stop the request */
	KLP_OP_STORE,       /* *(uint64_t *)a[0] = a[1], one aligned store with release order */
	KLP_OP_SYNC,        /* membarrier(PRIVATE_EXPEDITED_SYNC_CORE); registers on first use */
	KLP_OP_MAP, /* mmap(a[0], a[1], a[2]=prot, PRIVATE|ANON|FIXED_NOREPLACE) and record it in maps[a[3]] with owner
		       a[4] */
	KLP_OP_UNMAP,  /* munmap what maps[a[0]] records and clear the record */
	KLP_OP_FORGET, /* entry a[0] belongs to tid a[1], which is no more: free its place (only between transitions) */
	KLP_OP_INSERT, /* insert tid a[0] with state a[1] unless it has an entry, or a[2] != 0; result = index */
	KLP_OP_EXIT,   /* leave: helper_tid = 0, then exit */
	KLP_OP_CALL,   /* result = a[0](): a function of the target without arguments, an ifunc's resolver */
	KLP_OP_REPLACE, /* *(uint64_t *)a[0] = a[2] if a[1] is there, at once; -EFAULT: nothing is there any more;
			 * -EBUSY
			 */
	KLP_OP_PARK /* wait for ever in the system call a[0] of a[1..6] and execute nothing any more; a[0] = -1: in a
		       loop (klp/permit.h) */
};
struct klp_rt_op {
	uint32_t code;
	uint32_t pad;
	uint64_t a[7];
	int64_t result; /* H */
};

struct klp_rt_map {
	uint64_t addr, len;
	uint32_t prot;
	uint32_t owner; /* KLP_OWNER_CORE, KLP_OWNER_SHADOW, KLP_OWNER_ARENA + index, KLP_OWNER_PATCH + index */
	uint64_t live;  /* H */
};
#define KLP_OWNER_CORE 1u
#define KLP_OWNER_SHADOW 2u
#define KLP_OWNER_ARENA 0x100u
#define KLP_OWNER_PATCH 0x1000u

/*
 * A loaded patch, or of one with several objects what is loaded for one of them: their records have one `order`, which
 * no other patch has, and one state. All E; what it means is in klp/patch.h. `meta` is the module's own JSON, in the
 * target.
 */
struct klp_rt_patch {
	char name[64];
	uint32_t state; /* enum klp_patch_state, 0 = free record; written last */
	uint32_t order; /* position in the stack, from 1 */
	uint64_t meta, meta_len;
	uint64_t text, text_len; /* the module's executable range */
	uint64_t base, len;      /* the whole module, or its part for the object */
	uint8_t digest[32];      /* SHA-256 of the module file */
	uint64_t bias;           /* load bias of the patched object */
	uint64_t object_start;   /* its lowest mapping */
	uint64_t
	    functions; /* address of an array of uint64_t pairs {site record, new function}, in the module's mapping */
	uint64_t function_count;
	uint32_t replace; /* loaded with --replace */
	uint32_t forced;
	uint64_t eh_frame, eh_frame_len; /* the module's unwind information as it is linked; length 0: none */
	uint64_t names;                  /* struct klp_rt_names in the module's mapping; 0: none */
	uint32_t callbacks;              /* bits 1 << enum klp_callback: klp/callbacks.h */
	uint32_t object;                 /* which one of the metadata's objects */
};

/* The module's own functions and data, for debuggers (klp/symfile.h): behind this follow count Elf64_Sym, whose
 * st_value is a run-time address, and strings_len bytes of names. */
struct klp_rt_names {
	uint32_t count, strings_len;
};

/* Invariant L3: what the process's unwinder is told of a module (klp/runtime/unwinder.c). */
struct klp_rt_fde {
	uint64_t start, end; /* addresses of code */
	uint64_t fde;        /* address of its FDE in the module's .eh_frame */
};
/* All H, in this order: version even, the others, version odd. */
struct klp_rt_unwind {
	uint64_t version;     /* odd: the others hold; grows */
	uint64_t start, end;  /* the module's code */
	uint64_t fdes, count; /* address of an array of struct klp_rt_fde, sorted, in the module's mapping */
};
/* A slot of the target's that leads to klp_rt_find_fde. */
struct klp_rt_hook {
	uint64_t slot;   /* E  address, before anything is stored there; 0 free */
	uint64_t object; /* E  lowest mapping of its object */
};
#define KLP_MAX_HOOKS 8u

#define KLP_BOUND_LAST 4096u
struct klp_rt_cb {
	char magic[16];              /* E, last */
	uint64_t self;               /* E  address of this block */
	uint64_t image;              /* E  address of the image */
	uint64_t size;               /* E  sizeof(struct klp_rt_cb) */
	uint32_t pid;                /* E  as the target itself sees it (getpid); T changes it in a fork child */
	int32_t tid_offset;          /* E  offset of the tid from the thread pointer; INT32_MIN: unknown, ask gettid */
	uint64_t start_time;         /* E  field 22 of /proc/PID/stat of the process that the block was made in */
	uint64_t transition;         /* H  the transition word */
	uint32_t next_id;            /* E  id of the next transition */
	uint32_t next_generation;    /* E  never 0 */
	uint32_t transition_patch;   /* E  index of the patch it is about, +1; 0 none */
	uint32_t transition_kind;    /* E  enum klp_transition_kind */
	uint64_t transition_since;   /* E  CLOCK_REALTIME in ms */
	uint64_t overflow;           /* T, H  not 0: a thread found no free entry and is in universe 0 for that */
	uint64_t sync_registered;    /* H */
	uint32_t helper_tid;         /* H  as the target's pid namespace sees it; 0 none */
	int32_t borrow_result;       /* the borrowed thread: result of its clone */
	uint64_t borrow_scratch[4];  /* the borrowed thread: pending set, struct sigaction */
	struct klp_rt_borrow borrow; /* E */
	uint8_t request;             /* E  one byte: a new value is a new request */
	uint8_t done;                /* H  equals request when it has been executed */
	uint8_t asleep;              /* H  1: about to wait, waiting, or back from it; behind `done` (klp/wake.h) */
	uint8_t pad[5];
	uint32_t op_count;      /* E */
	uint32_t op_done;       /* H  ops executed */
	uint64_t early_returns; /* E  system calls that ended early because of klp, ever (P2) */
	uint32_t removing;      /* E  1: a thread may be on its way to unmap the core */
	uint32_t pad2;
	uint64_t bindings;        /* T  counts the bindings of thread pointers */
	uint64_t shadow;          /* H  address of the shadow variables (klp/runtime/shadow.h), 0 none */
	uint64_t places;          /* T, H  entries of the thread table that are taken */
	uint64_t unwind_original; /* H  where the hooked slots led to */
	uint32_t parked;          /* E  1: the helper has been asked to wait for ever; H  0 when another one begins */
	uint32_t nothing[2];      /* always 0: what a parked helper waits on */
	uint32_t reserved[3];
	struct klp_rt_unwind unwind[KLP_MAX_PATCHES];
	struct klp_rt_hook hook[KLP_MAX_HOOKS];
	struct klp_rt_callback callback;
	struct klp_rt_borrow callback_borrow; /* E  of the thread that runs it */
	uint64_t callback_scratch[4];         /* that thread */
	struct klp_rt_map maps[KLP_MAX_MAPS];
	uint64_t arenas[KLP_MAX_ARENAS];       /* E  addresses of struct klp_rt_arena; 0 = free */
	uint64_t arena_object[KLP_MAX_ARENAS]; /* E  lowest mapping of the object it is near to */
	struct klp_rt_patch patches[KLP_MAX_PATCHES];
	struct klp_rt_op ops[KLP_MAX_OPS];                                /* E, results H */
	uint8_t frame[2][KLP_RT_FRAME_SIZE] __attribute__((aligned(64))); /* E  borrow frames: restart, eintr */
	uint8_t callback_frame[2][KLP_RT_FRAME_SIZE] __attribute__((aligned(64))); /* E  the same, of callback_borrow */
	uint8_t stack[KLP_RT_STACK_SIZE] __attribute__((aligned(64)));             /* H */
	struct klp_rt_door door __attribute__((aligned(64)));
	uint32_t bound_last[KLP_BOUND_LAST]; /* T  by hash of a thread pointer: entry that was bound last, +1; 0 none */
	struct klp_rt_thread threads[KLP_MAX_THREADS] __attribute__((aligned(64)));
};

/*
 * Behind the control block, in a page of its own, which the kernel clears in the copy that a fork makes
 * (MADV_WIPEONFORK): a 64-bit word, stored by the engine. KLP_OWN: who reads it is of the process whose pid is in
 * `pid`, or is its vfork child, and need not ask the kernel. 0: the child of a fork, or a kernel or a seccomp filter
 * without that call; dispatch asks.
 */
#define KLP_OWN_PAGE 4096ull
#define KLP_OWN_OFFSET ((sizeof(struct klp_rt_cb) + KLP_OWN_PAGE - 1) & ~(KLP_OWN_PAGE - 1))
#define KLP_OWN_WORD(cb) ((uint64_t *)((uint64_t)(cb) + KLP_OWN_OFFSET))
#define KLP_OWN 0x6e776f2d706c6bull

/* Stacks lie at equal distances. */
#define KLP_BOUND_HASH(tp) ((uint64_t)(tp)*0x9e3779b97f4a7c15u >> 52)

/* Hash of a tid into the table; linear probing. */
#define KLP_THREAD_HASH(tid) (((uint32_t)(tid)*2654435761u) & (KLP_MAX_THREADS - 1))

#endif
