/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reused PID FILE IN OUT: loads the patch into a program that makes a thread with the tid of one that has ended, when
 * it reads "n" from the pipe IN, and says into the pipe OUT when that thread is inside the patched function. It does so
 * when everybody has been proven, and before the transition is completed: klp_process_shared_with is replaced for that.
 * Prints the result.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "klp/sharing.h"
#include "load_file.h"

static int in, out;
static bool wanted, done;

pid_t __real_klp_process_shared_with(const struct klp_process *p);
pid_t __wrap_klp_process_shared_with(const struct klp_process *p);
int __real_klp_entries_settle(void *run, struct klp_error *e);
int __wrap_klp_entries_settle(void *run, struct klp_error *e);

int __wrap_klp_entries_settle(void *run, struct klp_error *e)
{
	int rc = __real_klp_entries_settle(run, e);

	wanted = !rc;
	return rc;
}

/* The next question is klp_transition_complete's. */
pid_t __wrap_klp_process_shared_with(const struct klp_process *p)
{
	char c = 0;

	if (wanted && !done) {
		done = true;
		if (write(in, "n", 1) != 1)
			exit(1);
		while (c != '\n')
			if (read(out, &c, 1) != 1)
				exit(1);
	}
	return __real_klp_process_shared_with(p);
}

int main(int argc, char **argv)
{
	struct klp_error e = KLP_ERROR_INIT;
	json_t *result = NULL;

	if (argc != 5)
		return 2;
	in = open(argv[3], O_WRONLY | O_CLOEXEC);
	out = open(argv[4], O_RDONLY | O_CLOEXEC);
	if (in < 0 || out < 0)
		return 2;
	load_file(argv[1], argv[2], NULL, &result, &e);
	print_result(result);
	return !done;
}
