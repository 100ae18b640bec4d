/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A data flow over each function of .eh_frame: at an instruction, register r holds CFA + off[r], or is not known. Where
 * two ways meet, only what both agree on stays known.
 *
 * A call may not return, and what stands behind it then belongs to another way, with another row. So the way behind a
 * call is taken last, where nothing else leads there, and only if what is known fits the row; if not, it is not judged.
 * Code that only a jump through a register reaches, and code behind an instruction that is not understood, is entered
 * with what its first row says, and judged from there on.
 */
#include "unwind-check.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "klp-build.h"
#include "objdiff/linked.h"
#include "unwind-flow.h"
#include "unwind/internal.h"

#define KB_FUNCTION_MAX (1u << 18) /* bytes of one function */
#define KB_FRAME_MAX (1ll << 30)   /* bytes: a row beyond is not judged */
#define KB_SAY_PER_FUNCTION 3u

struct kb_cell {
	struct kb_frame_state in;
	bool reached, queued, behind_call, conflict;
	uint8_t len;
};

struct kb_unwind_check {
	const struct lk *l;
	struct klp_unw_space *space;
	const struct kb_flow_arch *arch;
	struct kb_flow_engine *engine;
	/* the function */
	const struct klp_unw_fde *fde;
	const uint8_t *code;
	size_t size;
	struct kb_cell *cell;
	uint32_t *queue, *behind; /* offsets; those behind calls apart */
	size_t queued, behind_count;
	unsigned said;
	/* the file */
	size_t functions, judged, unknown, refused, strange, disagreements, bad_functions;
};

static const struct klp_unw_row *kb_row(const struct kb_unwind_check *u, size_t at)
{
	const struct klp_unw_cached *c = klp_unw_find_row(u->space, u->fde->start + at);

	return c->reason == KLP_OK ? &c->row : NULL;
}

static bool kb_row_is_simple(const struct klp_unw_row *row)
{
	return row && row->cfa_kind == KLP_UNW_CFA_REG && row->cfa_reg < KB_FLOW_REGS && !row->signal &&
	       row->cfa_off >= -KB_FRAME_MAX && row->cfa_off <= KB_FRAME_MAX &&
	       row->rule[row->ra].kind != KLP_UNW_RULE_UNDEFINED;
}

/* What the row says, taken for true where nothing is known of its register. */
static void kb_adopt(const struct klp_unw_row *row, struct kb_frame_state *s)
{
	if (!kb_row_is_simple(row) || s->known >> row->cfa_reg & 1)
		return;
	s->known |= 1u << row->cfa_reg;
	s->off[row->cfa_reg] = -row->cfa_off;
}

static bool kb_contradicts(const struct klp_unw_row *row, const struct kb_frame_state *s)
{
	return kb_row_is_simple(row) && (s->known >> row->cfa_reg & 1) && s->off[row->cfa_reg] != -row->cfa_off;
}

static void kb_arrive(struct kb_unwind_check *u, size_t at, const struct kb_frame_state *s)
{
	struct kb_cell *c = &u->cell[at];
	uint32_t known = c->in.known;

	if (!c->reached) {
		c->reached = true;
		c->in = *s;
	} else {
		for (unsigned r = 0; r < KB_FLOW_REGS; r++) {
			bool both = c->in.known >> r & s->known >> r & 1;

			if (both && c->in.off[r] == s->off[r])
				continue;
			c->conflict |= both && r == u->arch->sp;
			c->in.known &= ~(1u << r);
		}
		if (c->in.known == known)
			return;
	}
	if (!c->queued) {
		c->queued = true;
		u->queue[u->queued++] = (uint32_t)at;
	}
}

/* Past the NOPs that align the next block: the row can change anywhere among them. */
static size_t kb_skip_padding(struct kb_unwind_check *u, size_t at)
{
	struct kb_frame_state unused = {0};
	struct kb_insn in;

	while (at < u->size && u->arch->step(u->engine, u->code + at, u->size - at, u->fde->start + at, &in, &unused) &&
	       in.padding && in.flow == KB_FLOW_NEXT)
		at += in.len;
	return at;
}

/* The way behind a call is kept for later. */
static void kb_arrive_behind(struct kb_unwind_check *u, size_t at, const struct kb_frame_state *s)
{
	at = kb_skip_padding(u, at);
	if (at >= u->size || u->cell[at].reached || u->cell[at].behind_call)
		return;
	u->cell[at].behind_call = true;
	u->cell[at].in = *s;
	u->behind[u->behind_count++] = (uint32_t)at;
}

/* Applies the instruction at `at`. false: it is not known. */
static bool kb_apply(struct kb_unwind_check *u, size_t at, struct kb_insn *in, struct kb_frame_state *s)
{
	if (!u->arch->step(u->engine, u->code + at, u->size - at, u->fde->start + at, in, s))
		return false;
	u->cell[at].len = (uint8_t)in->len;
	return true;
}

static void kb_follow(struct kb_unwind_check *u, size_t at)
{
	struct kb_frame_state s = u->cell[at].in;
	struct kb_insn in;
	size_t next;

	kb_adopt(kb_row(u, at), &s);
	if (!kb_apply(u, at, &in, &s))
		return;
	next = at + in.len;
	if ((in.flow == KB_FLOW_JUMP || in.flow == KB_FLOW_BRANCH) && in.target >= u->fde->start &&
	    in.target - u->fde->start < u->size)
		kb_arrive(u, (size_t)(in.target - u->fde->start), &s);
	if (next >= u->size)
		return;
	if (in.flow == KB_FLOW_NEXT || in.flow == KB_FLOW_BRANCH)
		kb_arrive(u, next, &s);
	else if (in.flow == KB_FLOW_CALL)
		kb_arrive_behind(u, next, &s);
}

static void kb_follow_all(struct kb_unwind_check *u)
{
	for (;;) {
		while (u->queued) {
			size_t at = u->queue[--u->queued];

			u->cell[at].queued = false;
			kb_follow(u, at);
		}
		if (!u->behind_count)
			return;
		for (;;) {
			struct kb_frame_state in;
			struct kb_cell *c;
			size_t at;

			if (!u->behind_count)
				return;
			at = u->behind[--u->behind_count];
			c = &u->cell[at];
			if (c->reached || kb_contradicts(kb_row(u, at), &c->in))
				continue;
			in = c->in;
			kb_arrive(u, at, &in);
			break;
		}
	}
}

/* Instructions that no way has reached: entered with what their own row says. */
static void kb_resume(struct kb_unwind_check *u)
{
	size_t at = 0;

	while (at < u->size) {
		struct kb_frame_state s = {0};
		struct kb_insn in;

		if (u->cell[at].reached && u->cell[at].len) {
			at += u->cell[at].len;
			continue;
		}
		if (u->cell[at].reached ||
		    !u->arch->step(u->engine, u->code + at, u->size - at, u->fde->start + at, &in, &s)) {
			/* Not understood: up to the next place that is. */
			u->strange++;
			at++;
			while (at < u->size && !u->cell[at].reached)
				at++;
			continue;
		}
		if (!in.padding) {
			s = (struct kb_frame_state){0};
			kb_adopt(kb_row(u, at), &s);
			kb_arrive(u, at, &s);
			kb_follow_all(u);
		}
		at += in.len;
	}
}

static const char *kb_function_name(const struct kb_unwind_check *u, char *buf, size_t len)
{
	const struct lk_sym *y = lk_at(u->l, u->fde->start, NULL);

	for (size_t i = 0; !y && i < u->l->dyn_count; i++)
		if (u->l->dyn[i].value == u->fde->start && u->l->dyn[i].shndx)
			y = &u->l->dyn[i];
	if (y && y->name && *y->name)
		snprintf(buf, len, "%s", y->name);
	else
		snprintf(buf, len, "the function at 0x%" PRIx64, u->fde->start);
	return buf;
}

static void kb_disagree(struct kb_unwind_check *u, size_t at, const char *row, const char *code)
{
	char name[256];

	u->disagreements++;
	u->bad_functions += u->said == 0;
	if (u->said++ < KB_SAY_PER_FUNCTION)
		printf("0x%" PRIx64 " (%s+0x%zx): %s, %s\n", u->fde->start + at,
		       kb_function_name(u, name, sizeof(name)), at, row, code);
}

static void kb_judge(struct kb_unwind_check *u, size_t at)
{
	const struct kb_cell *c = &u->cell[at];
	const struct klp_unw_row *row = kb_row(u, at);
	struct kb_frame_state s = c->in;
	char says[80], is[80];
	struct kb_insn in;
	unsigned r;

	if (!kb_row_is_simple(row)) {
		u->refused += !row;
		u->unknown += row != NULL;
		return;
	}
	r = row->cfa_reg;
	snprintf(says, sizeof(says), "the row says that the frame begins at %s%+" PRId64, u->arch->name[r],
		 row->cfa_off);
	if (kb_contradicts(row, &s)) {
		snprintf(is, sizeof(is), "by the code it is %s%+" PRId64, u->arch->name[r], -s.off[r]);
		kb_disagree(u, at, says, is);
	} else if (s.known >> r & 1) {
		u->judged++;
	} else if (c->conflict && r == u->arch->sp) {
		kb_disagree(u, at, says, "two ways lead here with different stack pointers");
	} else {
		u->unknown++;
	}
	kb_adopt(row, &s);
	if (!kb_contradicts(row, &s) && kb_apply(u, at, &in, &s) && in.flow == KB_FLOW_RETURN &&
	    (s.known >> u->arch->sp & 1) && s.off[u->arch->sp] != u->arch->at_return) {
		snprintf(is, sizeof(is), "the code returns with the frame at %s%+" PRId64, u->arch->name[u->arch->sp],
			 -s.off[u->arch->sp]);
		kb_disagree(u, at, says, is);
	}
}

static void kb_check_function(struct kb_unwind_check *u, const struct klp_unw_fde *fde)
{
	struct kb_frame_state s = {0};
	size_t first;

	if (fde->end - fde->start > KB_FUNCTION_MAX || fde->end <= fde->start ||
	    !(u->code = lk_bytes(u->l, fde->start, fde->end - fde->start))) {
		u->strange++;
		return;
	}
	u->fde = fde;
	u->size = (size_t)(fde->end - fde->start);
	u->said = 0;
	u->queued = u->behind_count = 0;
	u->functions++;
	memset(u->cell, 0, u->size * sizeof(*u->cell));
	/* A cold part that begins with a landing pad has a NOP before it, under the row of a function's entry. */
	first = kb_skip_padding(u, 0);
	if (first < u->size) {
		kb_adopt(kb_row(u, first), &s);
		kb_arrive(u, first, &s);
		kb_follow_all(u);
	}
	kb_resume(u);
	for (size_t at = 0; at < u->size; at++)
		if (u->cell[at].reached && u->cell[at].len)
			kb_judge(u, at);
	if (u->said > KB_SAY_PER_FUNCTION)
		printf("  and %u more in this function\n", u->said - KB_SAY_PER_FUNCTION);
}

/* The tables as one object of a space: the same reader that judges threads. */
static int kb_read_tables(struct kb_unwind_check *u, struct klp_error *e)
{
	struct klp_unw_object o = {.name = u->l->path, .text_start = UINT64_MAX};
	const struct lk_sec *frame = NULL;

	for (size_t i = 0; i < u->l->sec_count; i++)
		if ((u->l->sec[i].flags & SHF_ALLOC) && u->l->sec[i].type != SHT_NOBITS &&
		    !strcmp(u->l->sec[i].name, ".eh_frame"))
			frame = &u->l->sec[i];
	for (size_t i = 0; i < u->l->ph_count; i++) {
		const Elf64_Phdr *ph = &u->l->ph[i];

		if (ph->p_type != PT_LOAD || !(ph->p_flags & PF_X) || !ph->p_memsz || ph->p_vaddr > INT64_MAX ||
		    ph->p_memsz > INT64_MAX)
			continue;
		if (ph->p_vaddr < o.text_start)
			o.text_start = ph->p_vaddr;
		if (ph->p_vaddr + ph->p_memsz > o.text_end)
			o.text_end = ph->p_vaddr + ph->p_memsz;
	}
	o.eh_frame = frame ? lk_bytes(u->l, frame->addr, frame->size) : NULL;
	if (!o.eh_frame || o.text_start >= o.text_end)
		return klp_fail(e, EINVAL, KLP_BAD_FUNCTION, "%s has no .eh_frame, or no code", u->l->path);
	o.eh_frame_len = frame->size;
	o.eh_frame_addr = frame->addr;
	u->space = klp_unw_space_new(u->l->arch->machine);
	if (!u->space)
		return klp_fail(e, ENOMEM, KLP_NOMEM, "no memory for the unwind tables");
	return klp_unw_add_object(u->space, &o, e) < 0 ? -e->err : 0;
}

static const struct kb_flow_arch *kb_flow_find(uint16_t machine)
{
	static const struct kb_flow_arch *const all[] = {&kb_flow_x86_64, &kb_flow_aarch64};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (all[i]->machine == machine)
			return all[i];
	return NULL;
}

int kb_check_unwind(const char *path)
{
	struct klp_error e = KLP_ERROR_INIT;
	struct kb_unwind_check u = {0};
	struct od_pool pool = {0};
	int result = KB_FAILED;
	struct lk l;

	if (lk_load(&pool, path, false, &l, &e))
		goto out;
	u.l = &l;
	u.arch = kb_flow_find(l.arch->machine);
	if (!u.arch) {
		klp_fail(&e, EOPNOTSUPP, KLP_UNSUPPORTED, "%s is for %s: the code of that is not understood here", path,
			 l.arch->name);
		goto out;
	}
	if (kb_read_tables(&u, &e))
		goto out;
	u.engine = u.arch->open();
	u.cell = malloc(KB_FUNCTION_MAX * sizeof(*u.cell));
	/* An offset is in each list at most once at a time. */
	u.queue = malloc(KB_FUNCTION_MAX * sizeof(*u.queue));
	u.behind = malloc(KB_FUNCTION_MAX * sizeof(*u.behind));
	if (!u.engine || !u.cell || !u.queue || !u.behind) {
		klp_fail(&e, ENOMEM, KLP_NOMEM, "no memory to check unwind tables");
		goto out;
	}
	for (size_t i = 0; i < u.space->image[0].fde_count; i++)
		kb_check_function(&u, &u.space->image[0].fde[i]);
	printf("%s: %zu functions, %zu instructions agree with their rows, %zu disagree (%zu functions)\n"
	       "not checked: %zu instructions of which too little is known, %zu with rows that klp refuses, %zu places "
	       "that are "
	       "not understood\n",
	       path, u.functions, u.judged, u.disagreements, u.bad_functions, u.unknown, u.refused, u.strange);
	result = u.disagreements ? KB_REFUSED : KB_BUILT;
out:
	if (result == KB_FAILED)
		kb_error("%s", e.text);
	free(u.cell);
	free(u.queue);
	free(u.behind);
	if (u.engine)
		u.arch->close(u.engine);
	klp_unw_space_free(u.space);
	od_pool_free(&pool);
	return result;
}
