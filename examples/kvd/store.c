/* SPDX-License-Identifier: Apache-2.0 */
#include "kvd.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct item {
	struct item *next;
	char *key;
	char *value;
	size_t value_len;
	uint8_t key_len;
};

static struct item *table[KVD_BUCKETS];
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static unsigned long count;

static struct item **find(const struct store_key *key)
{
	uint32_t hash = 2166136261u;
	struct item **p;

	for (unsigned i = 0; i < key->len; i++)
		hash = (hash ^ (unsigned char)key->text[i]) * 16777619u;
	for (p = &table[hash % KVD_BUCKETS]; *p; p = &(*p)->next)
		if ((*p)->key_len == key->len && !memcmp((*p)->key, key->text, key->len))
			break;
	return p;
}

static void item_free(struct item *it)
{
	free(it->key);
	free(it->value);
	free(it);
}

bool store_set(const struct store_key *key, const char *value, size_t len)
{
	struct item *it = calloc(1, sizeof(*it)), **at, *old = NULL;

	if (!it)
		return false;
	it->key = strndup(key->text, key->len);
	it->key_len = key->len;
	it->value = strndup(value, len);
	it->value_len = len;
	if (!it->key || !it->value) {
		item_free(it);
		return false;
	}
	pthread_rwlock_wrlock(&lock);
	at = find(key);
	old = *at;
	if (old)
		it->next = old->next;
	else
		count++;
	*at = it;
	pthread_rwlock_unlock(&lock);
	if (old)
		item_free(old);
	return true;
}

bool store_get(const struct store_key *key, char value[KVD_VALUE_MAX + 1])
{
	struct item *it;

	pthread_rwlock_rdlock(&lock);
	it = *find(key);
	if (it)
		memcpy(value, it->value, it->value_len + 1);
	pthread_rwlock_unlock(&lock);
	return it;
}

bool store_del(const struct store_key *key)
{
	struct item **at, *old;

	pthread_rwlock_wrlock(&lock);
	at = find(key);
	old = *at;
	if (old) {
		*at = old->next;
		count--;
	}
	pthread_rwlock_unlock(&lock);
	if (old)
		item_free(old);
	return old;
}

unsigned long store_count(void)
{
	unsigned long n;

	pthread_rwlock_rdlock(&lock);
	n = count;
	pthread_rwlock_unlock(&lock);
	return n;
}
