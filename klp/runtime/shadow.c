/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shadow variables, in the target: called by the code of patches on any thread, in any signal handler. Without libc,
 * TLS or vector registers, like all of the runtime.
 *
 * FINDING. A few tables, each with four times the slots of the one before, made when the one before has no room at the
 * wanted place. A hash names one bucket in each table. Slots never move and tables never go, so a get takes no lock and
 * does not wait: it looks into one bucket per table, and a slot that changes under it is told by its state word.
 *
 * CHANGING. One lock, held for a few stores and never while a callback runs. A signal handler of the thread that holds
 * it could want it too, so signals are blocked meanwhile (but those of a fault, which cannot happen here). A variable
 * under construction or destruction is a state of its slot, owned by the thread that does it; others that want the same
 * variable wait for that word to change.
 *
 * FORK. Whoever holds the lock, builds or frees does not exist in the child of a fork by another thread. So lock and
 * slots carry the number of their process's incarnation, and the current one lies in a page that a fork wipes
 * (MADV_WIPEONFORK): the child finds 0 there and takes a new number, and what carries another one is nobody's. A child
 * of vfork shares the memory, sees the number and waits rightly. Every change is a sequence of stores of which each
 * leaves a table and lists that are right: what a child can lose is the one block that was being handed out. (The
 * kernel copies under the address space's lock and ends with a flush, so the child sees of each thread's stores those
 * up to one of them.) A slot that somebody was at is freed without its destructor: the variable did not exist yet, or
 * any more.
 *
 * MEMORY. See shadow.h. Blocks of 31 sizes, a list of free ones for each.
 */
#include "klp/runtime/shadow.h"
#include "klp/runtime/rt.h"
#include "syscall.h"

#pragma GCC poison malloc calloc realloc free printf fprintf memcpy memset errno

#define FUTEX_WAIT_PRIVATE 128
#define FUTEX_WAKE_PRIVATE 129
#define SIG_BLOCK_ 0
#define SIG_SETMASK_ 2
#define SIGNAL(n) (1ull << ((n)-1))
/* ILL, TRAP, BUS, FPE, SEGV, SYS: a blocked one would kill. */
#define FAULTS (SIGNAL(4) | SIGNAL(5) | SIGNAL(7) | SIGNAL(8) | SIGNAL(11) | SIGNAL(31))
#define EVERYBODY 0x7fffffff
#define LOCK_SPINS 100u
#define SCAN_STEP 1024u /* slots looked at in one hold of the lock */
#define VALUE_MAX ((1ull << 20) - sizeof(struct klp_rt_shadow_block))
#define GOLDEN 0x9e3779b97f4a7c15ull

_Static_assert(sizeof(struct klp_rt_shadow_block) == 16, "values are aligned to 16 bytes");
_Static_assert(sizeof(struct klp_rt_shadow) <= KLP_SHADOW_PAGE, "the wiped page is the second");

typedef struct klp_rt_shadow area_t;
typedef struct klp_rt_shadow_slot slot_t;
typedef struct klp_rt_shadow_block block_t;

extern const unsigned char klp_rt_begin[] __attribute__((visibility("hidden")));

void *klp_rt_shadow_get(const void *obj, unsigned long id);
void *klp_rt_shadow_begin(const void *obj, unsigned long id, uint64_t size, int *fresh);
void *klp_rt_shadow_take(const void *obj, unsigned long id);
void *klp_rt_shadow_next(unsigned long id, uint64_t *place, const void **obj);
void klp_rt_shadow_end(void *data, int keep);

/* The area of this process, 0 if it has none. The control block lies behind the image. */
static area_t *get_area(void)
{
	const struct klp_rt_cb *cb = (const struct klp_rt_cb *)(const void *)(klp_rt_begin + KLP_RT_TEXT_SIZE);

	/* Pairs with the helper's store, which comes when the area is complete. */
	return (area_t *)__atomic_load_n(&cb->shadow, __ATOMIC_ACQUIRE);
}

static inline block_t *block_of(uint64_t data)
{
	return (block_t *)(data - sizeof(block_t));
}

static uint32_t self(void)
{
	return (uint32_t)klp_syscall0(KLP_NR_gettid);
}

/* The number of this process among those that its memory has been through. */
static uint32_t get_incarnation(area_t *a)
{
	uint32_t *word = &((struct klp_rt_shadow_fork *)((uint64_t)a + KLP_SHADOW_PAGE))->incarnation;
	uint32_t now = __atomic_load_n(word, __ATOMIC_ACQUIRE), fresh;

	if (now)
		return now;
	fresh = __atomic_add_fetch(&a->incarnations, 1, __ATOMIC_ACQ_REL);
	/* Of several threads one names the process; the others' numbers are skipped. */
	if (__atomic_compare_exchange_n(word, &now, fresh, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return fresh;
	return now;
}

/* ---- the lock ---- */

struct hold {
	area_t *a;
	uint32_t incarnation;
	uint64_t mask; /* the thread's own signal mask */
};

static int lock_try(struct hold *h, uint32_t waiters)
{
	uint32_t was = __atomic_load_n(&h->a->lock, __ATOMIC_RELAXED);

	/* Free, or left by a process that this one is a copy of. */
	if (was && was >> 1 == h->incarnation)
		return 0;
	/* Acquire: pairs with the exchange in unlock(). */
	return __atomic_compare_exchange_n(&h->a->lock, &was, h->incarnation << 1 | waiters, 0, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

static void lock(struct hold *h)
{
	uint64_t all = ~FAULTS;
	uint32_t n;

	klp_syscall4(KLP_NR_rt_sigprocmask, SIG_BLOCK_, (uint64_t)&all, (uint64_t)&h->mask, sizeof(h->mask));
	/* Only now: a handler that forked before would have left the parent's. */
	h->incarnation = get_incarnation(h->a);
	for (n = 0; n < LOCK_SPINS; n++)
		if (lock_try(h, 0))
			return;
	while (!lock_try(h, 1)) {
		uint32_t held = h->incarnation << 1, waited = held | 1;

		/* Marked as waited for, or so already: then its holder wakes somebody. */
		if (__atomic_compare_exchange_n(&h->a->lock, &held, waited, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED) ||
		    held == waited)
			klp_syscall4(KLP_NR_futex, (uint64_t)&h->a->lock, FUTEX_WAIT_PRIVATE, waited, 0);
	}
}

static void unlock(struct hold *h)
{
	/* Release: pairs with lock_try(). */
	if (__atomic_exchange_n(&h->a->lock, 0, __ATOMIC_RELEASE) & 1)
		klp_syscall3(KLP_NR_futex, (uint64_t)&h->a->lock, FUTEX_WAKE_PRIVATE, 1);
	klp_syscall4(KLP_NR_rt_sigprocmask, SIG_SETMASK_, (uint64_t)&h->mask, 0, sizeof(h->mask));
}

/* ---- memory; the lock is held ---- */

static uint64_t class_size(uint32_t c)
{
	return (c & 1 ? 48ull : 32ull) << (c / 2);
}

/* `size` bytes that nobody has had, a multiple of 16; 0: there is no room. */
static uint64_t hand_out(area_t *a, uint64_t size)
{
	if (size > a->size - a->used)
		return 0;
	a->used += size;
	return (uint64_t)a + a->used - size;
}

static block_t *block_get(area_t *a, uint64_t size)
{
	uint32_t c = 0;
	block_t *b;

	while (class_size(c) < size + sizeof(block_t))
		c++;
	b = (block_t *)a->spare[c];
	if (b) {
		a->spare[c] = b->link;
	} else {
		b = (block_t *)hand_out(a, class_size(c));
		if (!b)
			return 0;
		b->size_class = c;
	}
	return b;
}

static void block_put(area_t *a, block_t *b)
{
	b->link = a->spare[b->size_class];
	/* Release, to the compiler and to a fork's copy: the list is never without its rest. */
	__atomic_store_n(&a->spare[b->size_class], (uint64_t)b, __ATOMIC_RELEASE);
}

/* A value is the builder's alone: outside of the lock, and word by word, for its size is rounded up to words. */
static void clear(uint64_t data)
{
	uint64_t n = (class_size(block_of(data)->size_class) - sizeof(block_t)) / 8, i;
	volatile uint64_t *word = (volatile uint64_t *)data;

	for (i = 0; i < n; i++)
		word[i] = 0;
}

/* ---- tables ---- */

static uint64_t hash(uint64_t obj, uint64_t id)
{
	uint64_t h = (obj ^ id * GOLDEN) * GOLDEN;

	h ^= h >> 32;
	return h * GOLDEN;
}

/* The bucket of a hash in table i; 0: no such table. The high bits are the good ones; each table takes two more. */
static slot_t *bucket(area_t *a, unsigned i, uint64_t h)
{
	/* Acquire: pairs with the store in table_add(). */
	uint64_t table = __atomic_load_n(&a->table[i], __ATOMIC_ACQUIRE);

	if (!table)
		return 0;
	return (slot_t *)((uint64_t)a + table) + KLP_SHADOW_BUCKET * (h >> (64 - 5 - 2 * i));
}
_Static_assert(KLP_SHADOW_TABLE_SLOTS(0) == KLP_SHADOW_BUCKET << 5, "bits of the first table's buckets");

/* The address of the value, if the slot holds this very variable. */
static uint64_t slot_match(slot_t *s, uint64_t obj, uint64_t id)
{
	for (;;) {
		/* Acquire: pairs with the store of READY: who sees it sees the value. */
		uint64_t state = __atomic_load_n(&s->state, __ATOMIC_ACQUIRE), data;
		int match;

		if (KLP_SHADOW_KIND(state) != KLP_SHADOW_READY)
			return 0;
		/* Acquire: pairs with slot_fill(): who sees a new one sees a newer state below. */
		match = __atomic_load_n(&s->obj, __ATOMIC_ACQUIRE) == obj;
		match &= __atomic_load_n(&s->id, __ATOMIC_ACQUIRE) == id;
		data = __atomic_load_n(&s->data, __ATOMIC_ACQUIRE);
		if (__atomic_load_n(&s->state, __ATOMIC_RELAXED) == state)
			return match ? data : 0;
	}
}

static uint64_t search(area_t *a, uint64_t obj, uint64_t id)
{
	uint64_t h = hash(obj, id), data;
	unsigned i, k;
	slot_t *s;

	for (i = 0; i < KLP_SHADOW_TABLES && (s = bucket(a, i, h)); i++)
		for (k = 0; k < KLP_SHADOW_BUCKET; k++)
			if ((data = slot_match(&s[k], obj, id)))
				return data;
	return 0;
}

static int is_busy(uint64_t state)
{
	return KLP_SHADOW_KIND(state) == KLP_SHADOW_BUILDING || KLP_SHADOW_KIND(state) == KLP_SHADOW_FREEING;
}

/* Gives the variable up. Its slot first: a block must never be free and in a slot. */
static uint64_t slot_drop(area_t *a, slot_t *s)
{
	block_t *b = block_of(s->data);
	uint64_t state = __atomic_load_n(&s->state, __ATOMIC_RELAXED), was;

	/* Without the incarnation, the mark of waiters and the kind. */
	was = __atomic_exchange_n(&s->state, (state & 0xfffffff8u) | KLP_SHADOW_FREE, __ATOMIC_ACQ_REL);
	block_put(a, b);
	return was;
}

static void slot_wake(slot_t *s, uint64_t was)
{
	if (was & KLP_SHADOW_WAITED)
		klp_syscall3(KLP_NR_futex, (uint64_t)&s->state, FUTEX_WAKE_PRIVATE, EVERYBODY);
}

/* The lock is held. What nobody of this process is at becomes free. */
static uint64_t slot_state(struct hold *h, slot_t *s)
{
	uint64_t state = __atomic_load_n(&s->state, __ATOMIC_ACQUIRE);

	if (!is_busy(state) || KLP_SHADOW_INCARNATION(state) == h->incarnation)
		return state;
	slot_drop(h->a, s);
	return __atomic_load_n(&s->state, __ATOMIC_RELAXED);
}

/* The lock is held: the variable's slot, whatever it is at. *room: a free one for it, 0 none. */
static slot_t *slot_find(struct hold *h, uint64_t obj, uint64_t id, slot_t **room)
{
	uint64_t hv = hash(obj, id);
	unsigned i, k;
	slot_t *s;

	*room = 0;
	for (i = 0; i < KLP_SHADOW_TABLES && (s = bucket(h->a, i, hv)); i++) {
		for (k = 0; k < KLP_SHADOW_BUCKET; k++) {
			if (KLP_SHADOW_KIND(slot_state(h, &s[k])) == KLP_SHADOW_FREE) {
				if (!*room)
					*room = &s[k];
			} else if (s[k].obj == obj && s[k].id == id) {
				return &s[k];
			}
		}
	}
	return 0;
}

/* The lock is held. The next table, and the variable's first slot there. */
static slot_t *table_add(area_t *a, uint64_t obj, uint64_t id)
{
	unsigned i = 0;
	uint64_t at;

	while (i < KLP_SHADOW_TABLES && a->table[i])
		i++;
	if (i == KLP_SHADOW_TABLES)
		return 0;
	at = hand_out(a, KLP_SHADOW_TABLE_SLOTS(i) * sizeof(slot_t));
	if (!at)
		return 0;
	/* Zero, as the kernel gave it: FREE. Release: pairs with bucket(). */
	__atomic_store_n(&a->table[i], at - (uint64_t)a, __ATOMIC_RELEASE);
	return bucket(a, i, hash(obj, id));
}

/*
 * The lock is held, the slot is free. Readers may still be at the variable that it held: they find another state behind
 * whatever they see of the new one (release, each). The state last: a fork's child that finds BUILDING finds the block
 * that belongs to it.
 */
static void slot_fill(struct hold *h, slot_t *s, uint64_t obj, uint64_t id, block_t *b)
{
	uint64_t state = __atomic_load_n(&s->state, __ATOMIC_RELAXED);

	b->link = (uint64_t)s;
	b->owner = self();
	__atomic_store_n(&s->obj, obj, __ATOMIC_RELEASE);
	__atomic_store_n(&s->id, id, __ATOMIC_RELEASE);
	__atomic_store_n(&s->data, (uint64_t)(b + 1), __ATOMIC_RELEASE);
	state = ((state + KLP_SHADOW_SEQUENCE) & 0xfffffff8u) | KLP_SHADOW_BUILDING | (uint64_t)h->incarnation << 32;
	__atomic_store_n(&s->state, state, __ATOMIC_RELEASE);
}

/*
 * The lock is held, somebody is at the variable: lets the lock go and waits until he is not. 0: it is this very thread,
 * in a callback or in a signal handler that interrupted one; there is nothing to wait for.
 */
static int wait_for(struct hold *h, slot_t *s, uint64_t state)
{
	uint64_t waited = state | KLP_SHADOW_WAITED;

	if (block_of(s->data)->owner == self()) {
		unlock(h);
		return 0;
	}
	/* klp_rt_shadow_end() takes no lock for what is kept. */
	if (!__atomic_compare_exchange_n(&s->state, &state, waited, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
		unlock(h);
		return 1;
	}
	unlock(h);
	/* The word's lower half: little endian. */
	klp_syscall4(KLP_NR_futex, (uint64_t)&s->state, FUTEX_WAIT_PRIVATE, (uint32_t)waited, 0);
	return 1;
}

/* ---- what modules call ---- */

void *klp_rt_shadow_get(const void *obj, unsigned long id)
{
	area_t *a = get_area();

	return a ? (void *)search(a, (uint64_t)obj, id) : 0;
}

/*
 * The value, if the variable exists; else a zeroed one, *fresh = 1, that exists when its maker says so by
 * klp_rt_shadow_end(). Waits while another thread makes or frees it.
 */
void *klp_rt_shadow_begin(const void *obj, unsigned long id, uint64_t size, int *fresh)
{
	struct hold h = {.a = get_area()};

	*fresh = 0;
	if (!h.a)
		return 0;
	for (;;) {
		uint64_t data = search(h.a, (uint64_t)obj, id), state;
		slot_t *s, *room;
		block_t *b;

		if (data)
			return (void *)data;
		if (size > VALUE_MAX)
			return 0;
		lock(&h);
		s = slot_find(&h, (uint64_t)obj, id, &room);
		if (!s) {
			if (!room)
				room = table_add(h.a, (uint64_t)obj, id);
			b = room ? block_get(h.a, size) : 0;
			if (b)
				slot_fill(&h, room, (uint64_t)obj, id, b);
			unlock(&h);
			if (!b)
				return 0;
			clear((uint64_t)(b + 1));
			*fresh = 1;
			return b + 1;
		}
		state = __atomic_load_n(&s->state, __ATOMIC_ACQUIRE);
		if (!is_busy(state))
			unlock(&h); /* made since the search */
		else if (!wait_for(&h, s, state))
			return 0;
	}
}

/* The lock is held. The variable is this thread's now: nobody finds it any more. */
static void *slot_take(struct hold *h, slot_t *s, uint64_t state)
{
	block_of(s->data)->owner = self();
	/* Nobody else changes READY without the lock. */
	__atomic_store_n(&s->state, (state & 0xfffffff8u) | KLP_SHADOW_FREEING | (uint64_t)h->incarnation << 32,
			 __ATOMIC_RELEASE);
	return (void *)s->data;
}

/* The value, taken out of the table, for the caller to destroy and end; 0 if there is no such variable. */
void *klp_rt_shadow_take(const void *obj, unsigned long id)
{
	struct hold h = {.a = get_area()};

	if (!h.a)
		return 0;
	for (;;) {
		uint64_t state;
		slot_t *s, *room;
		void *data;

		lock(&h);
		s = slot_find(&h, (uint64_t)obj, id, &room);
		if (!s) {
			unlock(&h);
			return 0;
		}
		state = __atomic_load_n(&s->state, __ATOMIC_ACQUIRE);
		if (!is_busy(state)) {
			data = slot_take(&h, s, state);
			unlock(&h);
			return data;
		}
		if (!wait_for(&h, s, state))
			return 0;
	}
}

/* The slot number *place, counted through all tables; 0 behind the last. */
static slot_t *slot_number(area_t *a, uint64_t place)
{
	unsigned i;

	for (i = 0; i < KLP_SHADOW_TABLES; i++) {
		uint64_t table = __atomic_load_n(&a->table[i], __ATOMIC_ACQUIRE);

		if (!table)
			break;
		if (place < KLP_SHADOW_TABLE_SLOTS(i))
			return (slot_t *)((uint64_t)a + table) + place;
		place -= KLP_SHADOW_TABLE_SLOTS(i);
	}
	return 0;
}

/* Takes the next variable of this id, from slot number *place on. */
void *klp_rt_shadow_next(unsigned long id, uint64_t *place, const void **obj)
{
	struct hold h = {.a = get_area()};
	uint64_t state = 0;
	slot_t *s;

	if (!h.a)
		return 0;
	do {
		unsigned n = 0;

		lock(&h);
		while ((s = slot_number(h.a, *place)) && n++ < SCAN_STEP) {
			state = slot_state(&h, s);
			if (KLP_SHADOW_KIND(state) != KLP_SHADOW_FREE && s->id == id)
				break;
			(*place)++;
			state = 0;
		}
		if (!state) {
			unlock(&h);
		} else if (!is_busy(state)) {
			void *data = slot_take(&h, s, state);

			*obj = (const void *)s->obj;
			(*place)++;
			unlock(&h);
			return data;
		} else if (!wait_for(&h, s, state)) {
			(*place)++; /* this thread's own callback is at it */
		}
		state = 0;
	} while (s);
	return 0;
}

/* The end of what klp_rt_shadow_begin() or _take() or _next() began: the variable exists now, or not any more. */
void klp_rt_shadow_end(void *data, int keep)
{
	slot_t *s = (slot_t *)block_of((uint64_t)data)->link;
	struct hold h = {.a = get_area()};
	uint64_t state, was;

	if (keep) {
		state = __atomic_load_n(&s->state, __ATOMIC_RELAXED);
		/* Release: pairs with slot_match(). The exchange tells who began to wait until then. */
		was = __atomic_exchange_n(&s->state, (state & 0xfffffff8u) | KLP_SHADOW_READY, __ATOMIC_ACQ_REL);
	} else {
		lock(&h);
		was = slot_drop(h.a, s);
		unlock(&h);
	}
	slot_wake(s, was);
}
