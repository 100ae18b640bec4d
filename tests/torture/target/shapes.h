/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TORTURE_SHAPES_H
#define TORTURE_SHAPES_H

#include "torture.h"

extern struct torture_shared *torture_page;
extern struct worker torture_worker[TORTURE_WORKERS];
extern unsigned torture_workers; /* those that park */
extern __thread struct worker *torture_self;

/* False when it is over. Parks as the mode says; `storm`: not in calm times either. */
bool torture_go_on(struct worker *w, bool storm);
void torture_count(uint64_t *counter);
void torture_failed(struct worker *w, int err);
void torture_futex_wait(const uint32_t *word, uint32_t value);
void torture_pause(struct worker *w, unsigned us);

/* The thread of a kind; arg is its struct worker. */
void *torture_shape(void *arg);
void torture_signals_init(void);

/* plugin.c */
void torture_plugin(struct worker *w);

#endif
