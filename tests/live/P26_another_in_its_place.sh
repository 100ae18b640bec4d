#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# While a transition is pending a library is closed and another one is mapped at its place, from which a thread that has not left the old function is called back:
# by the first one's unwind rows that function would not be on its stack, and the transition would complete with the thread inside.
. "$(dirname "$0")/lib.sh"
begin
# Alike but for the size of a frame: FRAME bytes and a return address. Where a call leaves that in a register, they save it, and the frame pointer, where
# prog_answer does: ABOVE bytes below the caller's frame.
cat >"$work/lib.S" <<'S'
	.text
#if defined __aarch64__
	.globl wait_here
	.type wait_here, @function
wait_here:
	.cfi_startproc
	sub sp, sp, FRAME
	.cfi_def_cfa_offset FRAME
	stp x29, x30, [sp, FRAME - ABOVE]
	.cfi_offset 29, -(ABOVE)
	.cfi_offset 30, 8 - (ABOVE)
	mov x3, x1
	mov x1, sp
	mov x2, 1
	blr x3
	ldp x29, x30, [sp, FRAME - ABOVE]
	add sp, sp, FRAME
	.cfi_restore 29
	.cfi_restore 30
	.cfi_def_cfa_offset 0
	ret
	.cfi_endproc
#elif defined __riscv
	.option norvc
	.globl wait_here
	.type wait_here, @function
wait_here:
	.cfi_startproc
	addi sp, sp, -(FRAME)
	.cfi_def_cfa_offset FRAME
	sd ra, FRAME - 8(sp)
	sd s0, FRAME - 16(sp)
	.cfi_offset 1, -8
	.cfi_offset 8, -16
	mv a3, a1
	mv a1, sp
	li a2, 1
	jalr a3
	ld ra, FRAME - 8(sp)
	ld s0, FRAME - 16(sp)
	addi sp, sp, FRAME
	.cfi_restore 1
	.cfi_restore 8
	.cfi_def_cfa_offset 0
	ret
	.cfi_endproc
#else
	.globl wait_here
	.type wait_here, @function
wait_here:
	.cfi_startproc
	sub $FRAME, %rsp
	.cfi_def_cfa_offset FRAME + 8
	mov %rsi, %rax
	mov %rsp, %rsi
	mov $1, %edx
	call *%rax
	add $FRAME, %rsp
	.cfi_def_cfa_offset 8
	ret
	.cfi_endproc
#endif
	.size wait_here, . - wait_here
	.section .note.GNU-stack, "", @progbits
S
own_program 's/x \* 10 + 1/x * 10 + 2/' <<'C'
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int way[2][2]; /* pipes: for the first wait, and for the second */
static void *first;
static void (*volatile next)(int fd, ssize_t (*wait)(int, void *, size_t));

static void second_wait(void)
{
	void *was = dlsym(first, "wait_here"), *lib, *is;

	dlclose(first);
	lib = dlopen("./libB.so", RTLD_NOW);
	is = lib ? dlsym(lib, "wait_here") : NULL;
	printf("%s\n", is && is == was ? "in its place" : "elsewhere");
	fflush(stdout);
	*(void **)&next = is;
}

static void first_wait(int fd, ssize_t (*wait)(int, void *, size_t))
{
	char c;

	(void)!wait(fd, &c, 1);
	second_wait();
}

/* A frame of one word, as the test finds: what it needs is in a register that it saves. */
__attribute__((noipa)) int prog_answer(int x)
{
	for (void (*f)(int, ssize_t (*)(int, void *, size_t)); (f = next); f(way[f != first_wait][0], read))
		next = NULL;
	return x * 10 + 1;
}

/* Through a pointer: of a direct call the unwinder would see that it does not lead to the library. */
static void *sleeper(void *arg)
{
	int (*volatile call)(int) = prog_answer;

	*(int *)arg = call(4);
	return NULL;
}

int main(void)
{
	static int result;
	char line[64];
	pthread_t t;

	if (pipe(way[0]) || pipe(way[1]) || !(first = dlopen("./libA.so", RTLD_NOW)))
		return 1;
	while (fgets(line, sizeof(line), stdin)) {
		if (!strncmp(line, "sleep", 5)) {
			next = first_wait;
			puts(pthread_create(&t, NULL, sleeper, &result) ? "failed" : "begun");
		} else if (!strncmp(line, "swap", 4)) {
			(void)!write(way[0][1], "x", 1);
			continue; /* the other thread says what came of it */
		} else if (!strncmp(line, "wake", 4)) {
			(void)!write(way[1][1], "x", 1);
			pthread_join(t, NULL);
			printf("%d\n", result);
		} else {
			printf("%d\n", prog_answer(4));
		}
		fflush(stdout);
	}
}
C
frame=0
case $(uname -m) in
x86_64)
	for part in $(objdump -d --disassemble=prog_answer "$work/tree/prog" | sed -n 's/.*\tpush .*/8/p; s/.*\tsub *\$\(0x[0-9a-f]*\),%rsp$/\1/p'); do frame=$((frame + part)); done
	below=24 step=$((frame + 8))
	;;
aarch64)
	frame=$(objdump -d --disassemble=prog_answer "$work/tree/prog" | sed -n 's/.*\tstp\tx29, x30, \[sp, #-\([0-9]*\)\]!.*/\1/p' | head -1)
	below=$((frame + 16)) step=$frame
	;;
riscv64)
	frame=$(objdump -d --disassemble=prog_answer "$work/tree/prog" | sed -n 's/.*\tadd[i]*\tsp,sp,-\([0-9]*\).*/\1/p' | head -1)
	below=64 step=$frame
	;;
esac
[ "${frame:-0}" -gt 0 ] || die "prog_answer has no frame"
# What is mapped first has rows that step over the frame below what comes in its place.
for part in A B; do
	[ $part = A ] && size=$((below + step)) || size=$below
	gcc -shared -nostdlib -DFRAME=$size -DABOVE="$step" -o "$work/lib$part.so" "$work/lib.S" || die "the libraries do not build"
done
cd "$work" || exit
target t "$work/tree/prog"
expect 41 x
expect begun sleep
pending() { [ "$(status '.patches[0].transition != null')" = true ]; }
"$klpctl" load --json --timeout 60 -p "$(p)" "$work/own.klp" >"$work/json" 2>&1 &
tool=$!
wait_for 10 pending || die "the load does not wait: $(cat "$work/json")"
expect "in its place" swap
sleep 1.5 # many sweeps
kill -0 $tool 2>/dev/null || die "the transition completed while a thread was inside the old function: $(cat "$work/json")"
pending || die "no transition is pending"
expect 41 wake
wait $tool || die "the load failed: $(cat "$work/json")"
expect 42 x
ctl 0 unload --json -p "$(p)" own
expect 41 x
alive
