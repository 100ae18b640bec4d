#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A connection gets a counter of its requests without its type being changed: connections that existed before the patch and new ones, the end of a
# connection takes its counter along, and addresses that are used again begin anew. What is left is ended by the program's own command, or by the
# patch's post_unpatch callback.
. "$(dirname "$0")/lib.sh"
begin
own_program '
/^#include <unistd.h>/a\
#include <klp/shadow.h>\
\
#define REQUESTS 1 /* id: long, how many requests a connection has had */
/^	c->bytes += n;/i\
	long *requests = klp_shadow_get_or_alloc(c, REQUESTS, sizeof(*requests), NULL, NULL);\

/^	c->bytes += n;/a\
	if (requests)\
		c->last = ++*requests;
/^	free(c);/i\
	klp_shadow_free(c, REQUESTS, NULL);
/^	open_count = 0;/i\
	klp_shadow_free_all(REQUESTS, NULL);
' "-I$root/klp/include" <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOINLINE __attribute__((noipa))
struct connection {
	long bytes, last;
};
static struct connection *conn[8];
int open_count;

NOINLINE static void serve(struct connection *c, long n)
{
	c->bytes += n;
}
NOINLINE static void end(struct connection *c)
{
	open_count--;
	free(c);
}
NOINLINE static void end_all(void)
{
	open_count = 0;
}

int main(void)
{
	char line[64], word[16];
	long i, n;
	ssize_t len;

	setvbuf(stdout, NULL, _IOLBF, 0);
	/* Not inside the C library's files: a thread that holds their locks runs no callback. */
	while ((len = read(0, line, sizeof(line) - 1)) > 0) {
		line[len] = 0;
		i = n = 0;
		if (sscanf(line, "%15s %ld %ld", word, &i, &n) < 1)
			continue;
		i &= 7;
		if (!strcmp(word, "open")) {
			open_count++;
			conn[i] = calloc(1, sizeof(*conn[i]));
		} else if (!strcmp(word, "serve") && conn[i]) {
			serve(conn[i], n);
			printf("%ld %ld\n", conn[i]->bytes, conn[i]->last);
			continue;
		} else if (!strcmp(word, "close") && conn[i]) {
			end(conn[i]);
			conn[i] = NULL;
		} else if (!strcmp(word, "endall")) {
			end_all();
		}
		printf("ok\n");
	}
	return 0;
}
C
target t "$work/tree/prog"
expect ok open 1
expect '5 0' serve 1 5
before=$(maps)
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
expect '10 1' serve 1 5
expect '11 2' serve 1 1
expect ok open 2
expect '1 1' serve 2 1
expect '12 3' serve 1 1
expect_status 2 .shadow_variables
expect ok close 1
expect_status 1 .shadow_variables
# The same address, a new connection.
expect ok open 1
expect '3 1' serve 1 3
expect '2 2' serve 2 1
expect_status 2 .shadow_variables
for i in 1 2 3; do
	expect ok close 1
	expect ok open 1
	expect '7 1' serve 1 7
done
expect ok endall
expect_status 0 .shadow_variables
ctl 0 unload -v --json -p "$(p)" own
expect_result false .memory_left
expect_result 0 .shadow_variables
[ "$(maps)" = "$before" ] || die "mappings are left: $(diff <(echo "$before") <(maps))"
expect '8 1' serve 1 1

# The same patch with a callback that ends what is left.
printf '#include <klp/patch.h>\nstatic void leave(void)\n{\n\tklp_shadow_free_all(REQUESTS, NULL);\n}\nKLP_POST_UNPATCH(leave);\n' >>"$work/b/prog.c"
(cd "$work" && diff -u a/prog.c b/prog.c) >"$work/leave.diff"
"$klp_build" -s "$work/tree" -b "make KLP_CFLAGS='$klp_cflags'" -t ./prog "$work/leave.diff" -o "$work/leave.klp" >"$work/log" 2>&1 ||
	die "klp-build: $(tail -3 "$work/log")"
ctl 0 load -v --json -p "$(p)" "$work/leave.klp"
expect '9 1' serve 1 1
expect '3 1' serve 2 1
expect_status 2 .shadow_variables
ctl 0 unload -v --json -p "$(p)" leave
expect_result 0 .shadow_variables
expect_result false .memory_left
[ "$(maps)" = "$before" ] || die "mappings are left: $(diff <(echo "$before") <(maps))"
expect '10 1' serve 1 1
