/* SPDX-License-Identifier: Apache-2.0 */
/* uprobe PID FILE OFFSET: an ordinary uprobe on that file offset in one process, as perf sets it, for as long as
 * standard input is open. Says "on" when it is there. 77: the kernel has none for us. */
#include <errno.h>
#include <linux/perf_event.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct perf_event_attr attr = {.size = sizeof(attr)};
	FILE *f = fopen("/sys/bus/event_source/devices/uprobe/type", "re");
	unsigned type;
	char end;
	int fd;

	if (argc != 4)
		return 2;
	if (!f || fscanf(f, "%u", &type) != 1) {
		fprintf(stderr, "the kernel has no uprobe event source\n");
		return 77;
	}
	fclose(f);
	attr.type = type;
	attr.uprobe_path = (uint64_t)(uintptr_t)argv[2];
	attr.probe_offset = strtoull(argv[3], NULL, 0);
	fd = (int)syscall(SYS_perf_event_open, &attr, (pid_t)strtol(argv[1], NULL, 10), -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0 || ioctl(fd, PERF_EVENT_IOC_ENABLE, 0)) {
		fprintf(stderr, "no uprobe: %s\n", strerror(errno));
		return 77;
	}
	puts("on");
	fflush(stdout);
	while (read(STDIN_FILENO, &end, 1) > 0)
		;
	return 0;
}
