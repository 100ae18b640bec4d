#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# klpctl stack names the functions: of the program (static ones too), of a library, of a patch; without a symbol table it gives addresses;
# a hostile symbol table harms nobody.
. "$(dirname "$0")/lib.sh"
begin
own_program 's/x + 1/x + 2/; s/int room = 16/int room = 32/' <<-'C'
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int ends[2];

__attribute__((noinline)) int next(int x)
{
	return x + 1;
}

/* Waits inside itself, in the old or the new code, whichever it was called as. */
__attribute__((noinline)) static int hold(void)
{
	int room = 16;
	char text[64];

	return (int)read(ends[0], text, (size_t)room) + next(1);
}

static void *worker(void *arg)
{
	return (char *)arg + hold();
}

int main(void)
{
	char line[64];
	pthread_t t;

	if (pipe(ends))
		return 1;
	while (fgets(line, sizeof(line), stdin)) {
		if (line[0] == 'h' && pthread_create(&t, NULL, worker, NULL))
			return 1;
		if (line[0] == 'g' && write(ends[1], "0123456789abcdef0123456789abcdef", 32) != 32)
			return 1;
		printf("%d\n", next(1));
		fflush(stdout);
	}
	return 0;
}
C

newest() { # the thread that was born last
	local t
	for t in "/proc/$(p)/task"/*; do echo "${t##*/}"; done | sort -n | tail -1
}
waits() { [ "$(cut -d' ' -f1 "/proc/$(p)/task/$1/syscall")" = 0 ]; }
hold() { # a new thread that waits in hold(), in $held
	ask hold
	held=$(newest)
	wait_for 5 waits "$held" || die "thread $held does not wait"
}
names() { # TID: the functions on its stack
	ctl 0 stack --json -p "$(p)"
	jq -r --argjson t "$1" '[.. | objects | select(.tid? == $t) | .frames[].function] | join(" ")' "$work/json"
}
has() { # TID NAME...: in this order
	local tid=$1 all name rest
	shift
	all=" $(names "$tid") "
	rest=$all
	for name; do
		case $rest in *" $name "*) rest=" ${rest#*" $name "}" ;; *) die "no $name among$all" ;; esac
	done
}

target t "$work/tree/prog"
hold
old=$held
has "$old" read hold worker
jq -e --argjson t "$old" '.. | objects | select(.tid? == $t) | .frames[] | select(.function == "hold") | .function_offset > 0' "$work/json" >/dev/null ||
	die "no offset in hold"
"$klpctl" stack -p "$(p)" >"$work/text" || die "klpctl stack failed"
grep -qE '^  #[0-9]+ 0x[0-9a-f]{16} hold\+0x[0-9a-f]+ \(/.*/tree/prog\+0x[0-9a-f]+\)$' "$work/text" || die "not in the text: $(cat "$work/text")"

# The thread that waits in the old hold() keeps the transition pending; a new one calls the new hold().
ctl 5 load -v --json -p "$(p)" --timeout 0.3 "$work/own.klp"
hold
has "$held" read 'hold [own]' worker
has "$old" read hold worker
ask go
ctl 0 load -v --json -p "$(p)" "$work/own.klp"
ctl 0 unload -v --json -p "$(p)" own

# Without symbols: addresses of the program, names of the library's exported functions; the verdict is the same.
strip -s -o "$work/stripped" "$work/tree/prog"
target s "$work/stripped"
hold
all=$(names "$held")
[[ $all == *read* && $all != *hold* && $all == *0x* ]] || die "stripped: $all"
[ "$(jq -r --argjson t "$held" '.. | objects | select(.tid? == $t) | .reliable' "$work/json")" = true ] || die "stripped: not reliable"

# Symbol tables that lie: links, names and sizes out of every range, one damage after the other, while they are mapped.
for damage in link names size entry; do
	cp "$work/tree/prog" "$work/$damage"
	python3 - "$work/$damage" $damage <<-'PY'
	import struct, sys
	path, how = sys.argv[1:]
	d = bytearray(open(path, "rb").read())
	shoff, = struct.unpack_from("<Q", d, 40)
	n, = struct.unpack_from("<H", d, 60)
	for i in range(n):
	    at = shoff + 64 * i
	    kind, = struct.unpack_from("<I", d, at + 4)
	    off, size = struct.unpack_from("<QQ", d, at + 24)
	    if kind != 2:
	        continue
	    if how == "link":
	        struct.pack_into("<I", d, at + 40, 0xfffffff0)
	    elif how == "size":
	        struct.pack_into("<Q", d, at + 32, 0x7ffffffffffffff8)
	    elif how == "entry":
	        struct.pack_into("<Q", d, at + 56, 0)
	    else:
	        for k in range(off, off + size, 24):
	            struct.pack_into("<I", d, k, 0xffffff00)
	            struct.pack_into("<Q", d, k + 16, 0xffffffffffffffff)
	open(path, "wb").write(d)
	PY
	target "$damage" "$work/$damage"
	hold
	all=$(names "$held")
	[[ $all == *read* ]] || die "$damage: $all"
	expect 2 x
done
