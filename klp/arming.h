/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Site records in the target and the arming and disarming of their sites. Private to klp/.
 *
 * An armed site whose slot leads to the original body changes nothing but a jump, so arming needs no transition: every
 * state between dormant and armed is valid for a thread at any PC (invariant S1), and a tool that is killed half-way
 * leaves one of them.
 */
#ifndef KLP_ARMING_H
#define KLP_ARMING_H

#include "klp/session.h"
#include "patchsite/patchsite.h"

/* A site record of the target, copied, with the decoded site. */
struct klp_armed_site {
	uint64_t record; /* its address in the target */
	struct klp_rt_site rt;
	struct klp_site site; /* decoded again from the record */
	unsigned arena;       /* index in the control block */
	bool gone;            /* seen by klp_sites_disarm: klp/gone.h */
	bool fresh;           /* recorded by this load: no patch of an earlier mapping has it */
};

struct klp_site_set {
	struct klp_armed_site *site;
	size_t count;
};

/* All records in use, from all arenas. */
int klp_sites_read(struct klp_session *s, struct klp_site_set *out, struct klp_error *e);
void klp_site_set_free(struct klp_site_set *set);
struct klp_armed_site *klp_site_find(struct klp_site_set *set, uint64_t record);

/* By the first 8 bytes at the symbol, as they are now. */
int klp_site_read_state(struct klp_session *s, const struct klp_armed_site *a, enum klp_site_state *state, size_t *done,
			struct klp_error *e);

/* Finds the record of the function at `entry` or makes a new, dormant one: near the object, the slot leading to the
 * original body. */
int klp_site_get(struct klp_session *s, const struct klp_object *o, const struct klp_module_function *fn,
		 struct klp_armed_site *out, struct klp_error *e);

/* Arms what is dormant or half armed. S2: other bytes than expected anywhere -> -EBUSY (KLP_SITE_TAKEN) before anything
 * is stored at that site. */
int klp_sites_arm(struct klp_session *s, struct klp_armed_site *site, size_t count, struct klp_error *e);
/* The reverse; PLT entries stay in the prefixes until klp_sites_forget. Nothing is stored at a site that is gone. */
int klp_sites_disarm(struct klp_session *s, struct klp_armed_site *site, size_t count, struct klp_error *e);
/* Puts the prefix bytes back and frees the records: only when no thread can be in prefix or stub (klp/reclaim.c proves
 * it). */
int klp_sites_forget(struct klp_session *s, struct klp_armed_site *site, size_t count, struct klp_error *e);

/* Room near an object for `size` bytes; 0 with the error filled if there is none. */
uint64_t klp_session_near(struct klp_session *s, const struct klp_object *o, uint64_t size, struct klp_error *e);
/* So often another place is taken when the program's own mappings were faster. */
#define KLP_NEAR_TRIES 32u

#define KLP_ARENA_STUBS_SIZE (KLP_ARENA_SITES * KLP_STUB_SIZE)
#define KLP_ARENA_DATA_SIZE \
	((sizeof(struct klp_rt_arena) + KLP_ARENA_SITES * sizeof(struct klp_rt_site) + 4095u) & ~4095ull)

#endif
