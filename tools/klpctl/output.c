/* SPDX-License-Identifier: Apache-2.0 */
#include "klpctl.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static long long number(const json_t *o, const char *key)
{
	return (long long)json_integer_value(json_object_get(o, key));
}

void klpctl_log(void *ctx, int level, const char *line)
{
	const struct klpctl_args *a = ctx;

	if (level == 2) { /* progress: a terminal only */
		if (!a->json && isatty(STDERR_FILENO))
			fprintf(stderr, "\r\033[K%s", line);
		return;
	}
	if (level == 1 || a->verbose)
		fprintf(stderr, "%sklp: %s%s\n", isatty(STDERR_FILENO) ? "\r\033[K" : "", level == 1 ? "warning: " : "",
			line);
}

/* From a module's metadata: nothing that a terminal obeys gets through. */
static void print_labels(const char *before, const json_t *labels)
{
	const json_t *l;
	size_t i;

	json_array_foreach(labels, i, l)
	{
		fputs(i ? ", " : before, stdout);
		for (const char *s = json_string_value(l); s && *s; s++)
			putchar(iscntrl((unsigned char)*s) ? '?' : *s);
	}
	if (json_array_size(labels))
		putchar('\n');
}

static void print_pending(const json_t *result)
{
	const json_t *t;
	size_t i;

	json_array_foreach(json_object_get(result, "pending"), i, t)
	    printf("  waits for thread %lld (%s): %s in %s, %lld ms\n", number(t, "tid"), text(t, "name"),
		   text(t, "reason"), text(t, "function")[0] ? text(t, "function") : "?", number(t, "since_ms"));
}

static void print_callbacks(const json_t *result)
{
	const json_t *c;
	size_t i;

	json_array_foreach(json_object_get(result, "callbacks"), i, c)
	{
		printf("  %s callback of %s", text(c, "name"), text(c, "patch"));
		if (json_is_integer(json_object_get(c, "us")))
			printf(": %lld us", number(c, "us"));
		if (number(c, "result"))
			printf(", returned %lld", number(c, "result"));
		putchar('\n');
	}
}

void klpctl_print_result(const char *command, const json_t *result)
{
	const char *word = text(result, "result");

	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
	if (!strcmp(word, "done")) {
		printf("%lld: %s %s: %lld functions, %lld threads (%lld stopped, longest %lld us), %.1f ms\n",
		       number(result, "pid"), command, text(result, "patch"), number(result, "functions"),
		       number(result, "threads"), number(result, "threads_stopped"), number(result, "longest_stop_us"),
		       (double)number(result, "elapsed_us") / 1000);
		if (number(result, "pinned"))
			printf("  its code stays in memory (pinned): addresses of it may have escaped\n");
		else if (number(result, "shadow_variables"))
			printf("  klp's runtime stays in memory: pinned by %lld shadow variables\n",
			       number(result, "shadow_variables"));
		else if (number(result, "threads_in_memory"))
			printf("  its memory stays until %lld threads have been seen outside of it; the next klpctl "
			       "gives it back\n",
			       number(result, "threads_in_memory"));
	} else if (!strcmp(word, "skipped")) {
		printf("%lld: %s %s: skipped, it is so already\n", number(result, "pid"), command,
		       text(result, "patch"));
	} else {
		fprintf(stderr, "klpctl: %lld: %s %s %s: %s: %s\n", number(result, "pid"), command,
			text(result, "patch"), word, text(result, "reason"), text(result, "message"));
	}
	print_callbacks(result);
	print_pending(result);
}

void klpctl_print_event(const json_t *event)
{
	const json_t *result = json_object_get(event, "result");

	printf("process %lld: the patched object %s\n", number(event, "pid"),
	       !strcmp(text(event, "event"), "ended")  ? "has ended with it"
	       : !strcmp(text(event, "event"), "went") ? "has gone"
	       : !strcmp(text(event, "event"), "came") ? "has come"
						       : "is patched already");
	if (json_is_object(result))
		klpctl_print_result(!strcmp(text(event, "event"), "went") ? "unload" : "load", result);
}

void klpctl_print_status(const json_t *result)
{
	const json_t *p, *f;
	size_t i, k;

	if (json_array_size(json_object_get(result, "patches")) == 0)
		printf("%lld: no patch%s\n", number(result, "pid"),
		       json_is_true(json_object_get(result, "runtime")) ? " (runtime present)" : "");
	if (number(result, "shadow_variables"))
		printf("%lld: %lld shadow variables\n", number(result, "pid"), number(result, "shadow_variables"));
	json_array_foreach(json_object_get(result, "patches"), i, p)
	{
		const json_t *t = json_object_get(p, "transition");

		printf("%lld: %lld. %s: %s%s%s\n", number(result, "pid"), number(p, "stack_order"), text(p, "name"),
		       text(p, "state"), json_is_true(json_object_get(p, "replace")) ? ", replaced the others" : "",
		       json_is_true(json_object_get(p, "forced")) ? ", forced" : "");
		print_labels("  labels: ", json_object_get(p, "labels"));
		if (json_is_object(t))
			printf("  in transition (%s) for %lld ms\n", text(t, "direction"), number(t, "since_ms"));
		print_pending(t);
		t = json_object_get(p, "callback");
		if (json_is_object(t))
			printf("  its %s callback is %s\n", text(t, "name"), text(t, "state"));
		json_array_foreach(json_object_get(p, "pinned_by"), k, f)
		    printf("%s%s", k ? ", " : "  its code stays in memory, pinned by ",
			   json_string_value(f) ? json_string_value(f) : "?");
		if (json_array_size(json_object_get(p, "pinned_by")))
			putchar('\n');
		json_array_foreach(json_object_get(p, "states"), k, f)
		    printf("  state %lld, version %lld\n", number(f, "id"), number(f, "version"));
		json_array_foreach(json_object_get(p, "functions"), k, f)
		    printf("  %s %s: 0x%llx -> 0x%llx (%s)\n", text(f, "object"), text(f, "name"),
			   number(f, "old_address"), number(f, "new_address"), text(f, "site"));
	}
}

void klpctl_print_stack(const json_t *result)
{
	const json_t *t, *f;
	size_t i, k;

	json_array_foreach(json_object_get(result, "threads"), i, t)
	{
		printf("%lld (%s): %s\n", number(t, "tid"), text(t, "name"),
		       json_is_true(json_object_get(t, "reliable")) ? "reliable" : text(t, "reason"));
		json_array_foreach(json_object_get(t, "frames"), k, f)
		{
			printf("  #%zu 0x%016llx", k, number(f, "pc"));
			if (json_is_integer(json_object_get(f, "function_offset")))
				printf(" %s+0x%llx", text(f, "function"), number(f, "function_offset"));
			else if (strncmp(text(f, "function"), "0x", 2) != 0)
				printf(" %s", text(f, "function"));
			if (json_is_string(json_object_get(f, "object")))
				printf(" (%s+0x%llx)", text(f, "object"), number(f, "offset"));
			printf("%s\n", json_is_true(json_object_get(f, "signal")) ? " signal" : "");
		}
	}
}

void klpctl_print_symfiles(const json_t *result)
{
	const json_t *f;
	size_t i;

	json_array_foreach(json_object_get(result, "files"), i, f)
	{
		fputs("add-symbol-file ", stdout);
		for (const char *c = text(f, "path"); *c; c++) {
			if (!isalnum((unsigned char)*c) && !strchr("/._-", *c))
				putchar('\\');
			putchar(*c);
		}
		putchar('\n');
	}
}

void klpctl_print_sites(const json_t *result)
{
	const json_t *f;
	size_t i;

	json_array_foreach(json_object_get(result, "functions"), i, f)
	    printf("%016llx %-40s %s%s\n", number(f, "address"), text(f, "name"),
		   json_is_true(json_object_get(f, "patchable")) ? text(f, "layout") : text(f, "reason"),
		   json_is_true(json_object_get(f, "weak_to_uprobe")) ? " (a uprobe at the symbol bypasses it)" : "");
	printf("%lld of %zu functions are patchable\n", number(result, "patchable"),
	       json_array_size(json_object_get(result, "functions")));
	if (number(result, "unnamed"))
		printf("%lld more have a patch site, and no name here: the file is stripped\n",
		       number(result, "unnamed"));
}

void klpctl_print_info(const json_t *result)
{
	const json_t *o, *f;
	const char *kind;
	size_t i, k;

	printf("name:        %s\n", text(result, "name"));
	if (text(result, "description")[0])
		printf("description: %s\n", text(result, "description"));
	print_labels("labels:      ", json_object_get(result, "labels"));
	printf("arch:        %s\n", text(result, "arch"));
	json_array_foreach(json_object_get(result, "objects"), i, o)
	{
		printf("object:      %s, build-id %s\n", text(o, "name"), text(o, "build_id"));
		json_array_foreach(json_object_get(o, "functions"), k, f)
		    printf("  replaces   %s at 0x%llx, %lld bytes\n", text(f, "name"), number(f, "address"),
			   number(f, "size"));
		json_object_foreach(json_object_get(o, "callbacks"), kind, f)
		    printf("  callback   %s: %s\n", kind, text(f, "function"));
	}
	json_array_foreach(json_object_get(result, "states"), i, f)
	    printf("state:       %lld, version %lld\n", number(f, "id"), number(f, "version"));
	json_array_foreach(json_object_get(result, "escapes"), i, f)
	    printf("pins:        %s\n", json_string_value(f) ? json_string_value(f) : "");
}
