#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# klp-build --check-unwind: large programs of compilers agree with their tables; one row that is wrong is found, in its function; a row that
# comes too late is; code that nothing is known of is not judged; damaged files end in an error.
# shellcheck source=tests/build/lib.sh
. "$(dirname "$0")/lib.sh"
begin

check() { # WANTED FILE
	status=0
	"$klp_build" --check-unwind "$2" >"$scratch/out" 2>&1 || status=$?
	[ "$status" = "$1" ] && return
	head -20 "$scratch/out" >&2
	fail "$2: exit status $status, expected $1"
}
agree() { sed -nE 's/.* functions, ([0-9]+) instructions agree.*/\1/p' "$scratch/out"; }
disagree() { sed -nE 's/.* rows, ([0-9]+) disagree.*/\1/p' "$scratch/out"; }

for file in "$(realpath /bin/bash)" "$klp_build" "$build/bin/klpctl"; do
	check 0 "$file"
	[ "$(agree)" -gt 5000 ] || fail "$file: only $(agree) instructions were judged"
done
# The C library has functions in assembly whose rows are wrong, and swapcontext, which leaves for another stack: few, and each is named.
libc=$(realpath "$(ldd /bin/bash | awk '/libc\.so/ { print $3 }')")
"$klp_build" --check-unwind "$libc" >"$scratch/out" 2>&1 || [ $? = 4 ] || fail "$libc: $(cat "$scratch/out")"
[ "$(agree)" -gt 100000 ] && [ $(($(disagree) * 1000)) -lt "$(agree)" ] || fail "$libc: $(tail -2 "$scratch/out")"

cat >"$scratch/a.c" <<'C'
#include <stdlib.h>
#include <string.h>
__attribute__((noinline)) int sum(const int *a, int n)
{
	int s = 0;

	for (int i = 0; i < n; i++)
		s += a[i] * rand();
	return s;
}
__attribute__((noinline)) int pick(int n, char *t)
{
	switch (n) {
	case 0: strcpy(t, "a"); return rand();
	case 1: memset(t, 2, (size_t)rand()); return 5;
	case 2: return sum((int *)(void *)t, 3) + 1;
	case 3: t[0] = 1; return rand() * 2;
	case 4: exit(4);
	case 5: return sum((int *)(void *)t, rand()) * 7;
	default: return -1;
	}
}
__attribute__((noinline)) int room(int n)
{
	int *a = __builtin_alloca((size_t)n * 4);
	char big[20000];

	memset(a, 1, (size_t)n * 4);
	return pick(n, big) + sum(a, n) + big[n];
}
int main(int argc, char **argv)
{
	char text[100];

	return pick(argc, argv[0]) + room(argc) + pick(argc, text) + text[1];
}
C
for flags in -O0 -O2 "-O2 -fstack-clash-protection -fno-omit-frame-pointer" -Os "-O2 -static"; do
	# shellcheck disable=SC2086 # a list of flags
	gcc $flags -o "$scratch/a" "$scratch/a.c"
	case $flags in
	*static*) "$klp_build" --check-unwind "$scratch/a" >"$scratch/out" 2>&1 || [ $? = 4 ] || fail "static: $(cat "$scratch/out")" ;;
	*) check 0 "$scratch/a" ;;
	esac
	[ "$(agree)" -gt 100 ] || fail "$flags: only $(agree) instructions were judged"
done

# One row of one function, 8 bytes off; then the same rows, all of them one byte too late.
gcc -O2 -o "$scratch/a" "$scratch/a.c"
damage() { # HOW [HOW-MUCH [UNIT-OF-CODE]]
	python3 - "$scratch/a" "$scratch/bad" "$1" "${2:-8}" "${3:-2}" <<-'PY'
	import struct, subprocess, sys
	path, out, how = sys.argv[1:4]
	more, late = int(sys.argv[4]), int(sys.argv[5])
	d = bytearray(open(path, "rb").read())
	for line in subprocess.run(["readelf", "-SW", path], capture_output=True, text=True, check=True).stdout.splitlines():
	    f = line.replace("[ ", "[").split()
	    if len(f) > 5 and f[1] == ".eh_frame":
	        addr, off, size = (int(x, 16) for x in f[3:6])
	for line in subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout.splitlines():
	    if line.endswith(" T sum"):
	        start = int(line.split()[0], 16)
	at = off
	while True:
	    length, cie = struct.unpack_from("<II", d, at)
	    if length == 0:
	        sys.exit("sum has no row")
	    if cie and addr + (at + 8 - off) + struct.unpack_from("<i", d, at + 8)[0] == start:
	        break
	    at += 4 + length
	insn, end = at + 17, at + 4 + length
	for i in range(insn, end - 1):
	    if how == "offset" and d[i] == 0x0e and 16 < d[i + 1] < 96: # DW_CFA_def_cfa_offset
	        d[i + 1] += more
	        break
	    if how == "late" and d[i] & 0xc0 == 0x40: # DW_CFA_advance_loc
	        d[i] += late
	        break
	else:
	    sys.exit("nothing to damage")
	open(out, "wb").write(d)
	PY
}
for how in offset late; do
	damage $how || fail "$how: the row was not found"
	check 4 "$scratch/bad"
	grep -qE '^0x[0-9a-f]+ \(sum\+0x[0-9a-f]+\): the row says that the frame begins at rsp\+[0-9]+, by the code it is rsp\+[0-9]+$' "$scratch/out" ||
		fail "$how: sum is not named: $(cat "$scratch/out")"
	! grep -qE '\((pick|room|main)\+' "$scratch/out" || fail "$how: others are named: $(cat "$scratch/out")"
	strip -o "$scratch/stripped" "$scratch/bad"
	check 4 "$scratch/stripped"
	grep -q '^0x.*(the function at 0x' "$scratch/out" || fail "stripped: $(cat "$scratch/out")"
done

# The same of another architecture.
if command -v aarch64-linux-gnu-gcc >/dev/null; then
	for flags in -O0 "-O2 -fomit-frame-pointer" "-O2 -mbranch-protection=standard" "-Os -fstack-clash-protection" -O2; do
		# shellcheck disable=SC2086 # a list of flags
		aarch64-linux-gnu-gcc $flags -o "$scratch/a" "$scratch/a.c"
		check 0 "$scratch/a"
		[ "$(agree)" -gt 100 ] || fail "aarch64 $flags: only $(agree) instructions were judged"
	done
	for how in offset late; do
		damage $how 16 1 || fail "aarch64 $how: the row was not found"
		check 4 "$scratch/bad"
		grep -qE '^0x[0-9a-f]+ \(sum\+0x[0-9a-f]+\): the row says that the frame begins at (sp|x29)\+[0-9]+, by the code it is (sp|x29)\+[0-9]+$' "$scratch/out" ||
			fail "aarch64 $how: sum is not named: $(cat "$scratch/out")"
		! grep -qE '\((pick|room|main)\+' "$scratch/out" || fail "aarch64 $how: others are named: $(cat "$scratch/out")"
	done
else
	echo "NOTE: aarch64-linux-gnu-gcc is not installed"
fi

gcc -O2 -o "$scratch/a" "$scratch/a.c"
head -c 3000 "$scratch/a" >"$scratch/half"
check 1 "$scratch/half"
check 1 /dev/null
check 1 "$scratch/none"
[ -s "$scratch/out" ] || fail "no word about a file that is not there"
status=0
"$klp_build" --check-unwind >"$scratch/out" 2>&1 || status=$?
[ "$status" = 2 ] || fail "without a file: exit status $status"
nothing_left check-unwind
finish
