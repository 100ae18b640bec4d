#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A function whose prefix, or whose site, crosses a page.
. "$(dirname "$0")/lib.sh"
begin
mkdir "$work/tree"
{
	echo '#include <stdio.h>'
	for ((i = 0; i < 2000; i++)); do echo "__attribute__((noinline)) int f$i(int x) { return x * $((i + 3)) + 1; }"; done
	echo 'static int (*const fn[])(int) = {'
	for ((i = 0; i < 2000; i++)); do echo "f$i,"; done
	echo '};'
	cat <<-'C'
	int main(void)
	{
		char line[64];
		int i, x;
		while (fgets(line, sizeof(line), stdin)) {
			i = 0, x = 0;
			sscanf(line, "%d %d", &i, &x);
			printf("%d\n", fn[i](x));
			fflush(stdout);
		}
	}
	C
} >"$work/tree/prog.c"
printf 'prog: prog.o\n\t$(CC) -o $@ prog.o\nprog.o: prog.c\n\t$(CC) -Os -fno-ipa-icf -falign-functions=1 -g $(KLP_CFLAGS) -c prog.c\n' >"$work/tree/Makefile"
make -s -C "$work/tree" KLP_CFLAGS="$klp_cflags" || die "it does not build"
nm "$work/tree/prog" >"$work/nm"
crossing() { # LOW HIGH: a function whose entry's offset in its page lies there
	while read -r address _ name; do
		case $name in f[0-9]*) off=$((0x$address & 4095)) && [ $off -ge "$1" ] && [ $off -le "$2" ] && echo "${name#f}" && return ;; esac
	done <"$work/nm"
}
tried=0
for range in '1 15' '4093 4095'; do
	n=$(crossing $range)
	[ -n "$n" ] || continue
	mkdir -p "$work/a" "$work/b"
	cp "$work/tree/prog.c" "$work/a/"
	sed "s/ f$n(int x) { return x \* [0-9]* + 1; }/ f$n(int x) { return x * $((n + 3)) + 2; }/" "$work/tree/prog.c" >"$work/b/prog.c"
	(cd "$work" && diff -u a/prog.c b/prog.c) >"$work/x.diff"
	"$klp_build" -s "$work/tree" -b "make KLP_CFLAGS='$klp_cflags'" -t ./prog "$work/x.diff" -o "$work/x$n.klp" >"$work/log" 2>&1 ||
		die "klp-build: $(tail -3 "$work/log")"
	target "t$n" "$work/tree/prog"
	expect $((5 * (n + 3) + 1)) $n 5
	ctl 0 load -v --json -p "$(p)" "$work/x$n.klp"
	expect $((5 * (n + 3) + 2)) $n 5
	expect $((5 * (n + 2) + 1)) $((n - 1)) 5
	expect $((5 * (n + 4) + 1)) $((n + 1)) 5
	ctl 0 unload -v --json -p "$(p)" "x$n"
	expect $((5 * (n + 3) + 1)) $n 5
	tried=$((tried + 1))
done
want=1 # elsewhere the alignment of code leaves only one of the two
[ "$(uname -m)" = x86_64 ] && want=2
[ $tried -ge $want ] || die "of 2000 functions too few cross a page: $tried, expected $want"
