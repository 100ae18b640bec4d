/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What klp asks of a kernel, asked alone: that text written through /proc/PID/mem of an attached process is what that
 * process executes (user-mode emulation fails here), that membarrier synchronises cores, that a tracer sees blocked
 * system calls, that maps and map_files are to be had. And that the libraries that were linked are those that run.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <inttypes.h>
#include <jansson.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

/* Two functions of one size that differ in an immediate only. */
#define ANSWER(name, value)                                              \
	static __attribute__((noinline, aligned(64))) int name(void)     \
	{                                                                \
		int v;                                                   \
                                                                         \
		__asm__ volatile(LOAD_IMMEDIATE : "=r"(v) : "i"(value)); \
		return v;                                                \
	}
#if defined(__x86_64__)
#define LOAD_IMMEDIATE "movl %1, %0"
#elif defined(__aarch64__)
#define LOAD_IMMEDIATE "movz %w0, %1"
#else
#define LOAD_IMMEDIATE "li %0, %1"
#endif
ANSWER(old_answer, 41)
ANSWER(new_answer, 42)

#define FUNCTION_BYTES 16 /* more than the immediate's instruction, less than the alignment */

static pid_t child;
static int ask[2], answer[2];

/* The child answers each byte with what old_answer says, as often as it is asked. */
static void begin_child(void)
{
	ck_assert_int_eq(pipe(ask), 0);
	ck_assert_int_eq(pipe(answer), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (!child) {
		char c;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ask[1]);
		close(answer[0]);
		syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
		while (read(ask[0], &c, 1) == 1) {
			int (*volatile call)(void) = old_answer;

			if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0))
				_exit(2);
			c = (char)call();
			if (write(answer[1], &c, 1) != 1)
				_exit(1);
		}
		_exit(0);
	}
	close(ask[0]);
	close(answer[1]);
}

static void end_child(void)
{
	int status;

	close(ask[1]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "the child ended with status %#x", (unsigned)status);
	close(answer[0]);
}

static int child_answers(void)
{
	char c = 0;

	ck_assert_int_eq(write(ask[1], &c, 1), 1);
	ck_assert_int_eq(read(answer[0], &c, 1), 1);
	return c;
}

static void write_text(int mem, const void *at, const void *bytes)
{
	int status;

	ck_assert_int_eq(ptrace(PTRACE_SEIZE, child, 0, 0), 0);
	ck_assert_int_eq(ptrace(PTRACE_INTERRUPT, child, 0, 0), 0);
	ck_assert_int_eq(waitpid(child, &status, __WALL), child);
	ck_assert(WIFSTOPPED(status));
	ck_assert_int_eq(pwrite(mem, bytes, FUNCTION_BYTES, (off_t)(uintptr_t)at), FUNCTION_BYTES);
	ck_assert_int_eq(ptrace(PTRACE_DETACH, child, 0, 0), 0);
}

START_TEST(text_that_is_written_is_executed)
{
	char path[64], saved[FUNCTION_BYTES];
	int mem;

	ck_assert_mem_ne((const void *)(uintptr_t)old_answer, (const void *)(uintptr_t)new_answer, FUNCTION_BYTES);
	begin_child();
	snprintf(path, sizeof(path), "/proc/%d/mem", child);
	mem = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(mem, 0);
	memcpy(saved, (const void *)(uintptr_t)old_answer, sizeof(saved));
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(child_answers(), 41);
		write_text(mem, (const void *)(uintptr_t)old_answer, (const void *)(uintptr_t)new_answer);
		ck_assert_int_eq(child_answers(), 42);
		write_text(mem, (const void *)(uintptr_t)old_answer, saved);
	}
	close(mem);
	end_child();
	ck_assert_int_eq(old_answer(), 41); /* the child's text is its own */
}
END_TEST

START_TEST(a_blocked_call_is_shown)
{
	char path[64], line[256];
	long number = -1;

	begin_child();
	ck_assert_int_eq(child_answers(), 41);
	snprintf(path, sizeof(path), "/proc/%d/syscall", child);
	for (int tries = 0; tries < 500 && number != SYS_read; tries++) {
		FILE *f = fopen(path, "re");

		ck_assert_ptr_nonnull(f);
		if (fgets(line, sizeof(line), f) && strncmp(line, "running", 7))
			number = strtol(line, NULL, 10);
		fclose(f);
		if (number != SYS_read)
			usleep(10000);
	}
	ck_assert_int_eq(number, SYS_read);
	end_child();
}
END_TEST

START_TEST(the_machine_and_the_program_are_of_one_architecture)
{
	struct utsname name;
	GElf_Ehdr header;
	Elf *elf;
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(uname(&name), 0);
	ck_assert_str_eq(name.machine, KLP_ARCH_NAME);
	ck_assert_int_ge(fd, 0);
	ck_assert_uint_ne(elf_version(EV_CURRENT), EV_NONE);
	elf = elf_begin(fd, ELF_C_READ, NULL);
	ck_assert_ptr_nonnull(elf);
	ck_assert_ptr_nonnull(gelf_getehdr(elf, &header));
	ck_assert_int_eq(header.e_ident[EI_CLASS], ELFCLASS64);
#if defined(__x86_64__)
	ck_assert_int_eq(header.e_machine, EM_X86_64);
#elif defined(__aarch64__)
	ck_assert_int_eq(header.e_machine, EM_AARCH64);
#else
	ck_assert_int_eq(header.e_machine, EM_RISCV);
#endif
	elf_end(elf);
	close(fd);
}
END_TEST

/* The library of what was linked says more than that it was found: it works. */
START_TEST(json_goes_both_ways)
{
	json_error_t error;
	json_t *object = json_pack("{s:i, s:s}", "number", 7, "text", "seven");
	char *text = json_dumps(object, JSON_SORT_KEYS);
	json_t *again = json_loads(text, 0, &error);

	ck_assert_ptr_nonnull(again);
	ck_assert(json_equal(object, again));
	free(text);
	json_decref(object);
	json_decref(again);
}
END_TEST

START_TEST(a_mapped_file_is_reached_through_its_mapping)
{
	char line[512], path[128], own[512], mapped[512];
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long low = 0, high = 0;
	ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1), m;

	ck_assert_ptr_nonnull(maps);
	ck_assert_int_gt(n, 0);
	own[n] = 0;
	while (fgets(line, sizeof(line), maps) && !strstr(line, own))
		;
	ck_assert_int_eq(sscanf(line, "%lx-%lx", &low, &high), 2);
	fclose(maps);
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", low, high);
	m = readlink(path, mapped, sizeof(mapped) - 1);
	ck_assert_int_gt(m, 0);
	mapped[m] = 0;
	ck_assert_str_eq(mapped, own);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("what klp asks of a kernel");
	TCase *kernel = tcase_create("kernel");
	SRunner *runner;
	int failed;

	tcase_set_timeout(kernel, 60);
	tcase_add_test(kernel, text_that_is_written_is_executed);
	tcase_add_test(kernel, a_blocked_call_is_shown);
	tcase_add_test(kernel, the_machine_and_the_program_are_of_one_architecture);
	tcase_add_test(kernel, json_goes_both_ways);
	tcase_add_test(kernel, a_mapped_file_is_reached_through_its_mapping);
	suite_add_tcase(suite, kernel);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
