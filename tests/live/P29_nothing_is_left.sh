#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Nothing is left after an unload, however often: mappings, descriptors, threads and resident memory of the target are what they were; the tools leave no file
# behind, and klpctl makes none at all.
. "$(dirname "$0")/lib.sh"
begin
mkdir "$work/tmp" "$work/home"
export TMPDIR=$work/tmp HOME=$work/home XDG_CACHE_HOME=$work/home XDG_RUNTIME_DIR=$work/home
start
cd "$work/home" || die "cd"
ask waits # threads of many kinds
cycle() {
	load fix
	load fix2
	expect 42 call answer 4
	expect 402 call other 4
	unload fix
	unload fix2
	expect_result false .memory_left
	expect 41 call answer 4
	expect 401 call other 4
}
resident() { awk '$1 == "RssAnon:" {print $2}' "/proc/$(p)/status"; }
seen() { # what of the target must not change
	maps
	awk '$1 == "VmSize:" || $1 == "VmLck:" || $1 == "Threads:" || $1 == "SigBlk:" || $1 == "Seccomp:"' "/proc/$(p)/status"
	find "/proc/$(p)/fd" -printf '%f %l\n' | sort
	cat "/proc/$(p)/timers" 2>/dev/null
}
# The first pages of text that klp wrote to stay private copies, once.
sleep 1
for _ in 1 2 3; do cycle; done
seen >"$work/before"
rss=$(resident)
for ((i = 0; i < $(full 12 500); i++)); do cycle; done
seen >"$work/after"
diff "$work/before" "$work/after" >"$work/differ" || die "the target is not what it was: $(cat "$work/differ")"
grown=$(($(resident) - rss))
# An allocation of its own threads may come between; a page lost at each cycle would be more.
[ $grown -lt 80 ] || die "$grown KiB of memory more after $i cycles"
# Refused and pending commands leave nothing either.
asleep
maps >"$work/before"
for ((i = 0; i < 3; i++)); do
	RC=5 load sleeper --timeout 0.1
	RC=1,4 load fix
	unload sleeper
	head -c 1000 "$(module fix)" >"$work/short.klp"
	ctl 4 load -p "$(p)" "$work/short.klp"
done
maps >"$work/after"
diff "$work/before" "$work/after" >"$work/differ" || die "refused or reversed commands left mappings: $(cat "$work/differ")"
ask wake
# No lock is held by anybody.
if grep -a "klp.*$(p)" /proc/net/unix >"$work/sockets"; then die "a lock is left: $(cat "$work/sockets")"; fi
# The tools' files. A killed one's too.
for ((i = 0; i < 5; i++)); do
	"$klpctl" load -p "$(p)" "$(module fix)" >/dev/null 2>&1 &
	tool=$!
	sleep 0.00$i
	kill -KILL $tool 2>/dev/null
	wait $tool 2>/dev/null
done
unload fix
"$klpctl" status >/dev/null
"$klpctl" check -p "$(p)" "$(module fix)" >/dev/null || die "check"
"$klpctl" stack -p "$(p)" >/dev/null || die "stack"
left=$(find "$work/tmp" "$work/home" -mindepth 1)
[ -z "$left" ] || die "klpctl left files: $left"
if command -v strace >/dev/null && strace -o /dev/null true 2>/dev/null; then
	for what in load unload; do
		strace -f -o "$work/trace" -e trace=open,openat,openat2,creat,mkdir,mkdirat,mknod,mknodat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,memfd_create,shmget \
			"$klpctl" $what -p "$(p)" "$([ $what = load ] && module fix || echo fix)" >/dev/null 2>&1 || die "$what under strace failed: $?"
		grep -q openat "$work/trace" || die "strace saw nothing"
		if grep -E 'O_CREAT|O_TMPFILE|creat\(|mk|rename|link|memfd|shmget' "$work/trace" >"$work/made"; then die "klpctl $what made: $(cat "$work/made")"; fi
	done
else
	lacks "strace is not installed: only what is left was looked at"
fi
expect 41 call answer 4
# klp-build works in files of its own.
mkdir "$work/src" "$work/src/a" "$work/src/b"
printf 'int main(void)\n{\n\treturn 0;\n}\nint one(void)\n{\n\treturn 1;\n}\n' >"$work/src/x.c"
printf 'x: x.o\n\t$(CC) -o x x.o\nx.o: x.c\n\t$(CC) -O2 -g %s -c x.c\n' "$klp_cflags" >"$work/src/Makefile"
make -s -C "$work/src" || die "make"
cp "$work/src/x.c" "$work/src/a/"
sed 's/return 1;/return 2;/' "$work/src/x.c" >"$work/src/b/x.c"
(cd "$work/src" && diff -u a/x.c b/x.c >x.diff; rm -r a b)
find "$work/src" -type f -exec sha256sum {} + | sort >"$work/before"
"$klp_build" -s "$work/src" -b make -t ./x "$work/src/x.diff" -o "$work/x.klp" >"$work/log" 2>&1 || die "klp-build: $(cat "$work/log")"
sed -i 's/+\treturn 2;/+\treturn nothing;/' "$work/src/x.diff"
"$klp_build" -s "$work/src" -b make -t ./x "$work/src/x.diff" -o "$work/y.klp" >"$work/log" 2>&1 && die "klp-build built what does not compile"
cp "$work/src/x.diff" "$work/x.diff"
left=$(find "$work/tmp" "$work/home" -mindepth 1)
[ -z "$left" ] || die "klp-build left files: $left"
find "$work/src" -type f ! -name x.diff -exec sha256sum {} + | sort | diff <(grep -v x.diff "$work/before") - >"$work/differ" || die "klp-build changed the tree: $(cat "$work/differ")"
