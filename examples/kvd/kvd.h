/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvd: a small key-value server, the program that klp's demo patches while it serves.
 *
 *   SET key value   STORED                 GET key   VALUE value | NONE
 *   DEL key         DELETED | NONE         STATS     STATS name=number ...      STATS RESET   OK
 *
 * One request and one reply a line. Keys hold no blanks.
 */
#ifndef KVD_H
#define KVD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KVD_LINE_MAX 2048u
#define KVD_VALUE_MAX 1024u
#define KVD_BUCKETS 4096u
#define KVD_WORKERS_MAX 500u

/* store.c: the table; safe for concurrent use. */
struct store_key {
	const char *text;
	uint8_t len;
};
bool store_set(const struct store_key *key, const char *value, size_t len);
/* Copies the value; false if there is none. */
bool store_get(const struct store_key *key, char value[KVD_VALUE_MAX + 1]);
bool store_del(const struct store_key *key);
unsigned long store_count(void);

/* protocol.c: one request line (no newline, terminated) to one reply; returns the reply's length. */
size_t protocol_handle(char *line, char *reply, size_t size);
extern unsigned protocol_workers;

/* server.c: listens on 127.0.0.1:port (0: any), starts the workers, returns the port or -1. */
int server_start(unsigned port, unsigned workers);
void server_wait(void);
void server_stop(void);

/* watchdog.c: a thread that spins and measures how long it was kept from running. */
enum watchdog_mode { WATCHDOG_OFF, WATCHDOG_SPIN, WATCHDOG_TICK };
bool watchdog_start(enum watchdog_mode mode);
void watchdog_reset(void);
struct watchdog_report {
	uint64_t longest_gap_us;  /* whatever the cause, the scheduler included */
	uint64_t longest_stop_us; /* only gaps in which somebody made the thread sleep: it never does so itself */
	uint64_t stops;           /* how many such gaps */
};
void watchdog_read(struct watchdog_report *r);

#endif
