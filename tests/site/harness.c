/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"
#include <fcntl.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "klp/runtime/image.h"

#define MAX_TEST_MAPS 4096

extern const char __executable_start[], end[];

void harness_fail(const char *file, int line, const char *what)
{
	dprintf(2, "%s:%d: failed: %s\n", file, line, what);
	_exit(1);
}

void text_write(const void *addr, const void *bytes, size_t len)
{
	static int fd = -1;

	if (fd < 0)
		fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	need(fd >= 0);
	need(pwrite(fd, bytes, len, (off_t)(uintptr_t)addr) == (ssize_t)len);
}

void world_sync(void)
{
	static int registered;

	if (!registered)
		need(!syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0));
	registered = 1;
	need(!syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0));
}

static uint64_t near_address(uint64_t size)
{
	static struct klp_gap_map map[MAX_TEST_MAPS];
	struct klp_gap_query q = {
	    .map = map,
	    .object_start = (uint64_t)__executable_start & ~4095ull,
	    .object_end = ((uint64_t)end + 4095) & ~4095ull,
	    .brk_start = (uint64_t)sbrk(0),
	    .brk_end = (uint64_t)sbrk(0),
	    .size = size,
	    .reach = (2ull << 30) - (1ull << 20),
	    .page = 4096,
	    .min_addr = 65536,
	    .max_addr = 0x7ffffffff000ull,
	    .stack_guard = 9ull << 20,
	};
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];

	need(f);
	while (fgets(line, sizeof(line), f) && q.count < MAX_TEST_MAPS) {
		unsigned long a, b;

		need(sscanf(line, "%lx-%lx", &a, &b) == 2);
		if (strstr(line, "[heap]"))
			q.brk_start = a;
		map[q.count++] = (struct klp_gap_map){a, b, strstr(line, "[stack]") != NULL};
	}
	fclose(f);
	return klp_near_find(&q);
}

static void *map_fixed(uint64_t at, size_t size)
{
	void *p = mmap((void *)at, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED_NOREPLACE : 0), -1, 0);

	need(p != MAP_FAILED);
	return p;
}

static size_t core_size(void)
{
	return KLP_RT_TEXT_SIZE + KLP_OWN_OFFSET + KLP_OWN_PAGE;
}

#define STUBS_SIZE ((size_t)KLP_ARENA_SITES * KLP_STUB_SIZE)
#define ARENA_SIZE (STUBS_SIZE + ((sizeof(struct klp_rt_arena) + KLP_ARENA_SITES * 128 + 4095) & ~4095ul))

void world_make(struct world *w, int near)
{
	size_t len = (size_t)(klp_rt_image_end - klp_rt_image_start);
	const struct klp_rt_image *hdr;
	struct klp_rt_ops *ops;
	uint64_t at;

	memset(w, 0, sizeof(*w));
	at = near ? near_address(core_size()) : 0;
	need(!near || at);
	w->image = map_fixed(at, core_size());
	memcpy(w->image, klp_rt_image_start, len);
	hdr = (const struct klp_rt_image *)w->image;
	need(!memcmp(hdr->magic, KLP_RT_MAGIC, 16) && hdr->size == len && hdr->build);
	ops = (struct klp_rt_ops *)(w->image + hdr->ops_livepatch);
	need(ops->flags == KLP_RT_IPMODIFY && ops->fn < hdr->trampoline_end && ops->fn > hdr->trampoline);
	ops->fn += (uint64_t)w->image;
	need(!mprotect(w->image, KLP_RT_TEXT_SIZE, PROT_READ | PROT_EXEC));

	w->cb = (struct klp_rt_cb *)(w->image + KLP_RT_TEXT_SIZE);
	w->cb->self = (uint64_t)w->cb;
	w->cb->image = (uint64_t)w->image;
	w->cb->size = sizeof(*w->cb);
	w->cb->pid = (uint32_t)getpid();
	w->cb->tid_offset = INT32_MIN;

	at = near_address(ARENA_SIZE);
	need(at);
	w->stubs = map_fixed(at, ARENA_SIZE);
	w->arena = (struct klp_rt_arena *)(w->stubs + STUBS_SIZE);
	w->record = (struct klp_rt_site *)(w->arena + 1);
	w->arena->trampoline = (uint64_t)w->image + hdr->trampoline;
	need(!mprotect(w->stubs, STUBS_SIZE, PROT_READ | PROT_EXEC));
}

void world_free(struct world *w)
{
	for (unsigned i = 0; i < w->used; i++)
		text_write((void *)w->record[i].prefix, w->record[i].prefix_old, w->record[i].prefix_len);
	world_sync();
	munmap(w->image, core_size());
	munmap(w->stubs, ARENA_SIZE);
}

struct klp_rt_site *world_add(struct world *w, const void *fn, unsigned prefix_len)
{
	uint64_t entry = (uint64_t)fn, from = entry - prefix_len, at;
	uint8_t stub[KLP_STUB_SIZE], prefix[KLP_PREFIX_MAX];
	struct klp_error e = KLP_ERROR_INIT;
	struct klp_rt_site *r = &w->record[w->used];
	struct klp_site *s = &w->site[w->used];
	uint8_t *stub_at = w->stubs + w->used * KLP_STUB_SIZE;
	size_t len;

	need(w->used < KLP_ARENA_SITES);
	if (klp_site_decode(ARCH, entry, from, (const uint8_t *)from, from, prefix_len + 16, s, &e) ||
	    klp_stub_encode(ARCH, (uint64_t)stub_at, (uint64_t)r, (uint64_t)&w->arena->trampoline, s->body, stub,
			    sizeof(stub), &e) ||
	    klp_prefix_encode(ARCH, s, (uint64_t)r, (uint64_t)stub_at + KLP_HOP_OFFSET, prefix, &at, &len, &e))
		harness_fail(__FILE__, __LINE__, e.text);
	need(at == s->jump_target && at + len <= entry && len <= sizeof(r->prefix_old));
	text_write(stub_at, stub, sizeof(stub));
	*r = (struct klp_rt_site){
	    .slot = (uint64_t)stub_at,
	    .ops = (uint64_t)w->image + ((const struct klp_rt_image *)w->image)->ops_livepatch,
	    .cb = (uint64_t)w->cb,
	    .entry = entry,
	    .body = s->body,
	    .original = klp_stub_original(ARCH, (uint64_t)stub_at, s->body),
	    .stub = (uint64_t)stub_at,
	    .prefix = at,
	    .layout = (uint8_t)s->layout,
	    .prefix_len = (uint8_t)len,
	    .used = 1,
	};
	memcpy(r->prefix_old, (const void *)at, len);
	text_write((void *)at, prefix, len);
	world_sync();
	w->used++;
	return r;
}

static void store_all(const struct klp_site_store *st, size_t n)
{
	need(n >= 1);
	for (size_t i = 0; i < n; i++) {
		need(!memcmp((const void *)st[i].addr, st[i].expect, st[i].width));
		text_write((void *)st[i].addr, st[i].value, st[i].width);
		world_sync();
	}
}

void world_arm(struct world *w, const struct klp_rt_site *r)
{
	struct klp_site_store st[KLP_SITE_MAX_STORES];

	store_all(st, klp_site_arm_stores(ARCH, &w->site[r - w->record], st));
}

void world_disarm(struct world *w, const struct klp_rt_site *r)
{
	struct klp_site_store st[KLP_SITE_MAX_STORES];

	store_all(st, klp_site_disarm_stores(ARCH, &w->site[r - w->record], st));
}

struct klp_rt_thread *thread_entry(const struct world *w, uint32_t tid)
{
	for (uint32_t i = 0; i < KLP_MAX_THREADS; i++)
		if (w->cb->threads[i].tid == tid)
			return &w->cb->threads[i];
	return NULL;
}
