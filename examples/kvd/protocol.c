/* SPDX-License-Identifier: Apache-2.0 */
#include "kvd.h"
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

unsigned protocol_workers;
static atomic_ulong requests;

static size_t say(char *reply, size_t size, const char *text)
{
	int n = snprintf(reply, size, "%s\n", text);

	return n < 0 ? 0 : (size_t)n;
}

/* Takes the next word off the line; NULL if there is none. */
static char *next_word(char **line)
{
	char *word = *line + strspn(*line, " ");
	size_t len = strcspn(word, " ");

	if (!len)
		return NULL;
	*line = word + len;
	if (**line)
		*(*line)++ = '\0';
	return word;
}

/*
 * The flaw that fix.diff mends: the length is cut to eight bits before anybody has looked at it. A key of 262 bytes
 * becomes one of 6, and whoever asks for "secret" followed by 256 other bytes is given the value of "secret".
 */
static bool parse_key(struct store_key *key, const char *word)
{
	if (!word)
		return false;
	key->text = word;
	key->len = (uint8_t)strlen(word);
	return key->len > 0;
}

static size_t handle_stats(char *args, char *reply, size_t size)
{
	const char *word = next_word(&args);
	struct watchdog_report w;
	int n;

	if (word && !strcmp(word, "RESET")) {
		watchdog_reset();
		return say(reply, size, "OK");
	}
	watchdog_read(&w);
	n = snprintf(reply, size,
		     "STATS workers=%u items=%lu requests=%lu longest_gap_us=%lu longest_stop_us=%lu stops=%lu\n",
		     protocol_workers, store_count(), atomic_load(&requests), (unsigned long)w.longest_gap_us,
		     (unsigned long)w.longest_stop_us, (unsigned long)w.stops);
	return n < 0 ? 0 : (size_t)n;
}

size_t protocol_handle(char *line, char *reply, size_t size)
{
	char value[KVD_VALUE_MAX + 1];
	const char *verb = next_word(&line);
	struct store_key key;
	int n;

	atomic_fetch_add_explicit(&requests, 1, memory_order_relaxed);
	if (!verb)
		return say(reply, size, "ERROR empty request");
	if (!strcmp(verb, "STATS"))
		return handle_stats(line, reply, size);
	if (strcmp(verb, "SET") && strcmp(verb, "GET") && strcmp(verb, "DEL"))
		return say(reply, size, "ERROR unknown request");
	if (!parse_key(&key, next_word(&line)))
		return say(reply, size, "ERROR bad key");
	if (*verb == 'D')
		return say(reply, size, store_del(&key) ? "DELETED" : "NONE");
	if (*verb == 'S') {
		size_t len = strlen(line);

		if (len > KVD_VALUE_MAX)
			return say(reply, size, "ERROR value too long");
		return say(reply, size, store_set(&key, line, len) ? "STORED" : "ERROR no memory");
	}
	if (!store_get(&key, value))
		return say(reply, size, "NONE");
	n = snprintf(reply, size, "VALUE %s\n", value);
	return n < 0 ? 0 : (size_t)n;
}
