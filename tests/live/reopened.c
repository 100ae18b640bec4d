/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reopened PID FILE IN OBJECT: loads the patch into a program that closes the object when it reads "close" from the
 * pipe IN and opens it when it reads "open" (plugin.sh). It does both when the PLT entries are in the prefixes, and
 * before the first site is armed. klp_remote_sync is replaced for that. Prints the result.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "klp/remote.h"
#include "load_file.h"

static const char *pid, *object;
static int in;
static bool done;

int __real_klp_remote_sync(struct klp_remote *r, struct klp_error *e);
int __wrap_klp_remote_sync(struct klp_remote *r, struct klp_error *e);

static bool is_mapped(void)
{
	char path[64], line[512];
	bool mapped = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/maps", pid);
	f = fopen(path, "r");
	if (!f) {
		fprintf(stderr, "the target has ended\n");
		exit(1);
	}
	while (fgets(line, sizeof(line), f))
		mapped |= strstr(line, object) && strstr(line, "r-xp");
	fclose(f);
	return mapped;
}

static void tell(const char *what, bool mapped)
{
	if (write(in, what, strlen(what)) != (ssize_t)strlen(what))
		exit(1);
	while (is_mapped() != mapped)
		usleep(1000);
}

int __wrap_klp_remote_sync(struct klp_remote *r, struct klp_error *e)
{
	if (!done) {
		tell("close\n", false);
		tell("open\n", true);
		done = true;
	}
	return __real_klp_remote_sync(r, e);
}

int main(int argc, char **argv)
{
	struct klp_error e = KLP_ERROR_INIT;
	json_t *result = NULL;

	if (argc != 5)
		return 2;
	pid = argv[1];
	object = argv[4];
	in = open(argv[3], O_WRONLY | O_CLOEXEC);
	if (in < 0)
		return 2;
	load_file(pid, argv[2], NULL, &result, &e);
	print_result(result);
	return !done;
}
