/* SPDX-License-Identifier: Apache-2.0 */
/*
 * P34 at the level of a site: a real uprobe at the symbol of a patched function, set before and after arming, and
 * removed. Layouts that leave the symbol's instruction alone stay effective all the time; others are reported as
 * bypassed, and disarmed when it has gone. Arguments: M of the build.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "harness.h"
#include "victims.h"

static uint64_t (*volatile hammer)(uint64_t) = victim_hammer;

/* Offset in this program's file of an address. */
static uint64_t file_offset(uint64_t addr)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];

	need(f);
	while (fgets(line, sizeof(line), f)) {
		unsigned long a, b, off;

		need(sscanf(line, "%lx-%lx %*s %lx", &a, &b, &off) == 3);
		if (addr >= a && addr < b) {
			fclose(f);
			return addr - a + off;
		}
	}
	harness_fail(__FILE__, __LINE__, "the address is not mapped");
}

/* The descriptor of an enabled uprobe; -1 and *why: the system has none for us. */
static int uprobe(uint64_t addr, const char **why)
{
	struct perf_event_attr attr = {.size = sizeof(attr)};
	FILE *f = fopen("/sys/bus/event_source/devices/uprobe/type", "re");
	unsigned type;
	int fd;

	*why = "the kernel has no uprobe event source";
	if (!f)
		return -1;
	need(fscanf(f, "%u", &type) == 1);
	fclose(f);
	attr.type = type;
	attr.uprobe_path = (uint64_t) "/proc/self/exe";
	attr.probe_offset = file_offset(addr);
	fd = (int)syscall(SYS_perf_event_open, &attr, getpid(), -1, -1, PERF_FLAG_FD_CLOEXEC);
	*why = strerror(errno);
	if (fd >= 0)
		need(!ioctl(fd, PERF_EVENT_IOC_ENABLE, 0));
	return fd;
}

static uint64_t hits(int fd)
{
	uint64_t n;

	need(read(fd, &n, sizeof(n)) == sizeof(n));
	return n;
}

int main(int argc, char **argv)
{
	static struct world w;
	const struct klp_site *s;
	struct klp_rt_site *r;
	const char *why;
	uint64_t before;
	size_t done;
	int fd;

	need(argc == 2);
	fd = uprobe((uint64_t)victim_hammer, &why);
	if (fd < 0) {
		printf("SKIPPED: no uprobe: %s\n", why);
		return 77;
	}
	need(hammer(20) == 61);
	need(hits(fd) == 1); /* it really is one */
	need(*(const volatile uint8_t *)victim_hammer == 0xcc);
	close(fd);
	need(hammer(20) == 61);

	world_make(&w, 1);
	r = world_add(&w, victim_hammer, (unsigned)atoi(argv[1]));
	r->slot = (uint64_t)victim_hammer_new;
	s = &w.site[0];

#define STATE() klp_site_state(ARCH, s, (const uint8_t *)s->entry, 8, &done)
	/* Armed, then probed. */
	world_arm(&w, r);
	need(hammer(20) == 62 && STATE() == KLP_STATE_ARMED);
	fd = uprobe(s->entry, &why);
	need(fd >= 0 && *(const volatile uint8_t *)s->entry == 0xcc);
	printf("%s, probed while armed: result %u, state %d\n", klp_site_layout_name(s->layout), (unsigned)hammer(20),
	       STATE());
	if (s->weak_to_uprobe) {
		need(STATE() == KLP_STATE_BYPASSED && hammer(20) == 61);
		close(fd);
		/* The kernel put the file's byte back: the site is no longer armed, and says so. */
		need(STATE() == KLP_STATE_PARTIAL && done == 1 && hammer(20) == 61);
		return 0;
	}
	before = hits(fd);
	for (int i = 0; i < 100; i++)
		need(hammer(20) == 62);
	need(hits(fd) == before + 100 && STATE() == KLP_STATE_ARMED);
	/* Disarmed and armed under the probe. */
	world_disarm(&w, r);
	need(hammer(20) == 61 && STATE() == KLP_STATE_DORMANT);
	world_arm(&w, r);
	need(hammer(20) == 62 && STATE() == KLP_STATE_ARMED);
	/* The probe goes. */
	close(fd);
	need(*(const volatile uint8_t *)s->entry != 0xcc);
	need(hammer(20) == 62 && STATE() == KLP_STATE_ARMED);
	world_disarm(&w, r);
	need(hammer(20) == 61 && STATE() == KLP_STATE_DORMANT);
	world_free(&w);
	return 0;
}
