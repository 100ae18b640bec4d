/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real process, looked at from outside with only what /proc/PID/task/TID/syscall says: the stack pointer and the PC.
 * The functions of the program that the trace holds must be those that the thread says it is in, in order. usage: live
 * PROGRAM
 */
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "klp/machine.h"
#include "tests/unwind/space.h"

#define THREADS 9

struct parked {
	char name[32], chain[128];
	int tid, reliable;
	unsigned long tp;
};

static const Elf64_Sym *symbols;
static const char *names;
static size_t symbol_count;
static struct klp_unw_trace trace;

static void load_symbols(const char *path)
{
	int fd = open(path, O_RDONLY);
	struct stat st;
	const uint8_t *p;
	const Elf64_Ehdr *eh;
	const Elf64_Shdr *sh;

	if (fd < 0 || fstat(fd, &st))
		test_die(path);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		test_die(path);
	eh = (const void *)p;
	sh = (const void *)(p + eh->e_shoff);
	for (unsigned i = 0; i < eh->e_shnum; i++)
		if (sh[i].sh_type == SHT_SYMTAB) {
			symbols = (const void *)(p + sh[i].sh_offset);
			symbol_count = sh[i].sh_size / sizeof(*symbols);
			names = (const char *)(p + sh[sh[i].sh_link].sh_offset);
		}
	if (!symbols)
		test_die("no symbols");
	close(fd);
}

static const char *name_of(uint64_t addr)
{
	for (size_t i = 0; i < symbol_count; i++)
		if (ELF64_ST_TYPE(symbols[i].st_info) == STT_FUNC && addr >= symbols[i].st_value &&
		    addr < symbols[i].st_value + symbols[i].st_size)
			return names + symbols[i].st_name;
	return "?";
}

/* false: it is not blocked yet */
static bool blocked_at(pid_t pid, int tid, struct klp_unw_regs *regs)
{
	char path[64], buf[256] = "", *end;
	unsigned long long v[9];
	FILE *f;
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, tid);
	f = fopen(path, "r");
	if (!f || !fgets(buf, sizeof(buf), f))
		test_die(path);
	fclose(f);
	if (buf[0] < '0' || buf[0] > '9')
		return false;
	for (char *p = buf; n < 9; n++, p = end) {
		v[n] = strtoull(p, &end, 0);
		if (end == p)
			return false;
	}
	memset(regs, 0, sizeof(*regs));
	regs->r[KLP_DWARF_SP] = v[7];
	regs->known = 1u << KLP_DWARF_SP;
	regs->pc = v[8];
	return true;
}

static int check(pid_t pid, const struct test_space *s, const struct parked *p)
{
	struct klp_unw_regs regs;
	struct klp_unw_thread th = {.main_thread = p->tid == pid};
	char chain[512] = "";

	for (int i = 0; !blocked_at(pid, p->tid, &regs); i++) {
		if (i > 500)
			test_die("a thread does not block");
		usleep(10000);
	}
	th.stack_low = regs.r[KLP_DWARF_SP];
	th.stack_high = th.main_thread ? s->start_stack : p->tp;
	th.top_slack = th.main_thread ? 16 : 8192;
	klp_unw_walk(s->space, &regs, &th, test_read, &pid, &trace);
	for (size_t i = 0; i < trace.count; i++) {
		const struct klp_unw_frame *f = &trace.frame[i];

		if (f->lookup < s->exe_start || f->lookup >= s->exe_end || klp_unw_is_end(s->space, f->lookup))
			continue;
		snprintf(chain + strlen(chain), sizeof(chain) - strlen(chain), "%s%s", chain[0] ? "," : "",
			 name_of(f->lookup - s->exe_bias));
	}
	printf("%s: %s, %zu frames, %s\n", p->name, klp_reason_name(trace.verdict), trace.count, chain);
	/* A coroutine's first return address is the first byte of glibc's __start_context: before it there is no row,
	 * or one with an undefined return address, or another function's; none is an end. */
	if (p->reliable ? trace.verdict != KLP_OK
			: trace.verdict != KLP_UNW_NO_END && trace.verdict != KLP_UNW_NO_ROW &&
			      trace.verdict != KLP_UNW_NOT_MONOTONIC) {
		printf("  the wrong verdict\n");
		return 1;
	}
	if (strcmp(chain, p->chain) != 0) {
		printf("  expected %s\n", p->chain);
		return 1;
	}
	if (!p->reliable)
		return 0;
	/* The same thread with the other kind of end, or with another stack's top, has no end. */
	th.main_thread = !th.main_thread;
	klp_unw_walk(s->space, &regs, &th, test_read, &pid, &trace);
	if (trace.verdict != KLP_UNW_NO_END)
		return printf("  an end of the wrong kind: %s\n", klp_reason_name(trace.verdict)), 1;
	th.main_thread = !th.main_thread;
	th.stack_high += 65536;
	klp_unw_walk(s->space, &regs, &th, test_read, &pid, &trace);
	if (trace.verdict != KLP_UNW_NO_END)
		return printf("  an end away from the top: %s\n", klp_reason_name(trace.verdict)), 1;
	return 0;
}

int main(int argc, char **argv)
{
	struct parked p[THREADS] = {0};
	struct test_space s;
	char line[512];
	int fd[2], bad = 0, n = 0;
	FILE *in;
	pid_t pid;

	if (argc < 2 || pipe(fd))
		return 2;
	load_symbols(argv[1]);
	pid = fork();
	if (!pid) {
		dup2(fd[1], 1);
		execl(argv[1], argv[1], (char *)NULL);
		_exit(127);
	}
	close(fd[1]);
	in = fdopen(fd[0], "r");
	while (in && n < THREADS && fgets(line, sizeof(line), in))
		if (sscanf(line, "%31s %d %lx %d %127s", p[n].name, &p[n].tid, &p[n].tp, &p[n].reliable, p[n].chain) ==
		    5)
			n++;
	usleep(200000);
	test_space_build(pid, &s, false);
	for (int i = 0; i < n; i++)
		bad += check(pid, &s, &p[i]);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	klp_unw_space_free(s.space);
	return n != THREADS || bad;
}
