/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entered PID FILE IN HOLD [again]: loads the patch into a process whose only thread reads a line from the pipe IN,
 * outside the patched function, or a byte from HOLD, inside it. When its stack has been proven clean, and before the
 * engine learns that, the thread goes in; with `again`, it goes in and out at the first proof and in at the second one.
 * klp_prove_blocked is replaced for that. Prints the result.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "klp/proof.h"
#include "load_file.h"

static int in, hold;
static unsigned passes; /* in and out */
static bool entered;

void __real_klp_prove_blocked(struct klp_session *s, pid_t tid, const struct klp_range *range, size_t count,
			      struct klp_proof *out);
void __wrap_klp_prove_blocked(struct klp_session *s, pid_t tid, const struct klp_range *range, size_t count,
			      struct klp_proof *out);

static void until_it_reads(pid_t tid, unsigned long fd)
{
	char path[64], line[256];
	unsigned long arg;
	long nr;

	snprintf(path, sizeof(path), "/proc/%d/syscall", tid);
	for (;;) {
		FILE *f = fopen(path, "r");
		bool there = f && fgets(line, sizeof(line), f) && sscanf(line, "%ld %lx", &nr, &arg) == 2 &&
			     nr == SYS_read && (arg != 0) == (fd != 0);

		if (!f) {
			fprintf(stderr, "the target has ended\n");
			exit(1);
		}
		fclose(f);
		if (there)
			return;
		usleep(100);
	}
}

static void go(int fd, pid_t tid, bool inside)
{
	if (write(fd, "i\n", 2) != 2)
		exit(1);
	until_it_reads(tid, inside);
}

void __wrap_klp_prove_blocked(struct klp_session *s, pid_t tid, const struct klp_range *range, size_t count,
			      struct klp_proof *out)
{
	__real_klp_prove_blocked(s, tid, range, count, out);
	if (tid != s->p.pid || out->verdict != KLP_OK || entered)
		return;
	go(in, tid, true);
	entered = !passes;
	if (!entered) {
		passes--;
		go(hold, tid, false);
	}
}

int main(int argc, char **argv)
{
	struct klp_options o = {.timeout_ms = 1000};
	struct klp_error e = KLP_ERROR_INIT;
	json_t *result = NULL;

	if (argc < 5)
		return 2;
	in = open(argv[3], O_WRONLY);
	hold = open(argv[4], O_WRONLY);
	passes = argc > 5;
	if (in < 0 || hold < 0)
		return 2;
	if (load_file(argv[1], argv[2], &o, &result, &e))
		fprintf(stderr, "%s\n", e.text);
	print_result(result);
	if (!entered)
		fprintf(stderr, "no proof of the thread was seen\n");
	return !entered;
}
