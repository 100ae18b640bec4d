/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core in a target: one mapping with the runtime's image, and behind it the control block. Looking for it, making
 * it by a borrowed thread, taking it out. Private to klp/; klp/remote.c says when.
 */
#ifndef KLP_CORE_H
#define KLP_CORE_H

#include "klp/remote.h"

static inline uint64_t klp_cb_at(const struct klp_remote *r, size_t offset)
{
	return r->cb + offset;
}

/* Do mapping i and the next one have a core's shape? */
bool klp_core_is(const struct klp_process *p, size_t i);
/* 0: r->image and r->cb are a core of this klp's, and the rest of r is filled in; 1: one that a killed tool left
 * unfinished; -errno. */
int klp_core_check(struct klp_process *p, struct klp_remote *r, struct klp_error *e);
/* A core that a killed tool mapped and did not finish, once nobody can be on the way to take it out. 0 and where it is,
 * or 0 and 0; -errno. */
int klp_core_unfinished_find(struct klp_process *p, uint64_t *at, struct klp_error *e);
/* Maps a core, or takes an unfinished one, and writes image and control block. */
int klp_core_make(struct klp_remote *r, unsigned wait_ms, struct klp_error *e);
/* In a fork's child the control block is a copy of its parent's: takes out what the parent's tool left in it. */
int klp_core_adopt(struct klp_remote *r, struct klp_error *e);
/* And then names the child in it (klp/adopt.h). */
int klp_core_own(struct klp_remote *r, struct klp_error *e);
/* Has the kernel clear the block's last page in the copy that a fork makes, and then says there whose the block is
 * (klp/runtime/rt.h: KLP_OWN). By the helper; 0 too where kernel or seccomp filters do not permit it. */
int klp_core_claim(struct klp_remote *r, struct klp_error *e);
/* Do all threads of now keep their tid at this offset from their thread pointer? */
bool klp_core_tids_hold(struct klp_remote *r, int32_t tid_offset);
/* By a borrowed thread; returns when it is gone. */
int klp_core_unmap(struct klp_remote *r, uint64_t at, unsigned wait_ms, struct klp_error *e);

#endif
