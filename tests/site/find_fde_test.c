/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariant L3 in the real image: klp_rt_find_fde answers from the table of the module that a PC lies in, while another
 * module's entry changes under it. A look-up is stepped through; from each instruction on, the stores of a change come
 * in the helper's order, all at once or some instructions apart.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>
#include "harness.h"

/* Places of modules: nobody executes there. */
#define LOW 0x100000u
#define MIDDLE 0x200000u
#define HIGH 0x300000u
#define LEN 0x1000u
#define STORES 6u
#define GAPS 5u
#define INSTRUCTIONS 60u /* that is more than the look at the first entry */
#define TRAP_FLAG 0x100

struct bases {
	uint64_t text, data, function;
};
typedef const void *(*find_fn)(uint64_t pc, struct bases *bases);

static struct world w;
static find_fn find;
static struct klp_rt_fde low[1] = {{LOW, LOW + LEN, 11}},
			 middle[2] = {{MIDDLE, MIDDLE + 16, 21}, {MIDDLE + 16, MIDDLE + LEN, 22}},
			 high[1] = {{HIGH, HIGH + LEN, 31}};
static unsigned originals, whole;

static const void *original(uint64_t pc, struct bases *bases)
{
	originals++;
	bases->function = pc;
	return (const void *)99;
}

static struct klp_rt_unwind entry_of(const struct klp_rt_fde *table, uint64_t count, uint64_t version)
{
	return (struct klp_rt_unwind){version, table[0].start, table[count - 1].end, (uint64_t)table, count};
}

/* The stores that klp_unwinding_remove_op and klp_unwinding_add ask of the helper, and when they come. */
static struct {
	uint64_t *word[STORES + 1], value[STORES + 1];
	unsigned at, gap, step, done;
} change;

static void change_to(struct klp_rt_unwind *u, const struct klp_rt_unwind *next, unsigned at, unsigned gap)
{
	uint64_t even = u->version + (u->version & 1), again = (even | 1) + 1;

	memset(&change, 0, sizeof(change));
	change.word[0] = change.word[1] = &u->version;
	change.value[0] = even;
	change.value[1] = again;
	change.word[2] = &u->start;
	change.value[2] = next->start;
	change.word[3] = &u->end;
	change.value[3] = next->end;
	change.word[4] = &u->fdes;
	change.value[4] = next->fdes;
	change.word[5] = &u->count;
	change.value[5] = next->count;
	change.word[6] = &u->version;
	change.value[6] = again + 1;
	change.at = at;
	change.gap = gap;
}

static void single_step(int sig, siginfo_t *info, void *context)
{
	ucontext_t *c = context;
	unsigned step = change.step++;

	(void)sig;
	(void)info;
	while (change.done <= STORES && step >= change.at + change.done * change.gap) {
		__atomic_store_n(change.word[change.done], change.value[change.done], __ATOMIC_RELEASE);
		change.done++;
	}
	if (change.done > STORES) /* the rest at full speed */
		c->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
}

static const void *stepped(uint64_t pc, struct bases *bases)
{
	const void *answer;

	__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "cc", "memory");
	answer = find(pc, bases);
	__asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" ::: "cc", "memory");
	return answer;
}

/* One look-up for pc while the first entry goes from `from` to `to`. */
static void look(const struct klp_rt_fde *from, const struct klp_rt_fde *to, uint64_t pc, unsigned at, unsigned gap)
{
	struct klp_rt_unwind next = entry_of(to, 1, 0);
	struct bases bases = {1, 1, 1};
	const void *answer;

	w.cb->unwind[0] = entry_of(from, 1, 7);
	w.cb->unwind[1] = entry_of(middle, 2, 3);
	change_to(&w.cb->unwind[0], &next, at, gap);
	originals = 0;
	answer = stepped(pc, &bases);
	if (pc >= MIDDLE && pc < MIDDLE + LEN) {
		if (answer != (const void *)22 || bases.function != MIDDLE + 16 || bases.text || bases.data)
			fprintf(stderr, "a change at instruction %u, gap %u: %p instead of the module's own entry\n",
				at, gap, answer);
		need(answer == (const void *)22);
		need(bases.function == MIDDLE + 16 && !bases.text && !bases.data);
		need(!originals);
	} else {
		if (answer != (const void *)99)
			fprintf(stderr, "a change at instruction %u, gap %u: %p for code of no module\n", at, gap,
				answer);
		need(answer == (const void *)99 && originals == 1);
	}
	whole += change.done > STORES;
}

int main(void)
{
	struct sigaction sa = {.sa_sigaction = single_step, .sa_flags = SA_SIGINFO};
	const uint64_t asked[] = {MIDDLE + 20, LOW + LEN + 8, HIGH - 8, HIGH + LEN};
	unsigned looks = 0;
	struct bases bases;

	world_make(&w, 1);
	find = (find_fn)(void *)(w.image + ((const struct klp_rt_image *)w.image)->find_fde);
	w.cb->unwind_original = (uint64_t)original;
	need(!sigaction(SIGTRAP, &sa, NULL));
	need(find(MIDDLE + 20, &bases) == (const void *)99);
	for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++)
		for (unsigned gap = 0; gap < GAPS; gap++)
			for (int down = 0; down < 2; down++) {
				const struct klp_rt_fde *from = down ? high : low, *to = down ? low : high;

				for (unsigned at = 0; at < INSTRUCTIONS; at++, looks++)
					look(from, to, asked[i], at, gap);
			}
	/* What is left in an entry of a module that has been taken away is not believed: its table is no more. */
	w.cb->unwind[0] = entry_of(middle, 2, 8);
	w.cb->unwind[0].fdes = 16;
	w.cb->unwind[1] = entry_of(middle, 2, 3);
	need(find(MIDDLE + 20, &bases) == (const void *)22);
	printf("%u look-ups, %u saw a whole change\n", looks, whole);
	need(whole > looks / 2);
	world_free(&w);
	return 0;
}
