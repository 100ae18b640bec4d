#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Files that are no module for this target: refused with a usage error, not applicable or a refusal, and the target's mappings, text and read-only data are
# untouched, byte for byte.
. "$(dirname "$0")/lib.sh"
begin
start
good=$(module fix)
fingerprint "$(p)" >"$work/before"
refused() { # NAME STATUS REASON SENTENCE FILE: the sentence is an extended regular expression
	timeout 60 "$klpctl" load --json -p "$(p)" "$5" >"$work/json" 2>"$work/events"
	local rc=$? said
	[ $rc = "$2" ] || die "$1: exit status $rc, expected $2"
	said=$(
		cat "$work/events"
		jq -r '.processes[]? | "\(.reason): \(.message)"' "$work/json" 2>/dev/null
	)
	grep -qE "$3: .*$4" <<<"$said" || die "$1: klpctl says '$said', expected $3: $4"
	fingerprint "$(p)" >"$work/after"
	cmp -s "$work/before" "$work/after" || die "$1: the target was changed"
}
patched() { # FILE PYTHON-STATEMENTS: a copy of the module, its bytes in b
	python3 -c "
import sys, struct
b = bytearray(open(sys.argv[1], 'rb').read())
$2
open(sys.argv[2], 'wb').write(b)" "$good" "$1" || die "cannot make $1"
}
meta() { # FILE JQ-PROGRAM
	objcopy -O binary --only-section=.klp.meta --set-section-flags .klp.meta=alloc "$good" "$work/meta" || die "the module has no metadata"
	jq -c "$2" "$work/meta" | sed 's/"2\^63-4096"/9223372036854771712/' | tr -d '\n' >"$work/meta2"
	cp "$good" "$1" && objcopy --update-section .klp.meta="$work/meta2" "$1" || die "cannot change metadata"
	cmp -s "$work/meta" "$work/meta2" && die "'$2' changes nothing"
	return 0
}
: >"$work/empty"
head -c 5000 /dev/urandom >"$work/garbage"
truncate -s 1G "$work/sparse"
mkdir "$work/dir"
refused empty 4 BAD_MODULE 'is empty' "$work/empty"
refused garbage 4 BAD_MODULE 'no ELF file' "$work/garbage"
refused directory 4 BAD_MODULE 'not a regular file' "$work/dir"
refused 'a file that is not there' 1 IO 'No such file' "$work/none"
refused '1 GiB of nothing' 4 LIMIT 'has 1073741824 bytes' "$work/sparse"
refused 'the program itself' 4 BAD_MODULE 'is not relocatable' "$live/dynamic/target"
refused 'an ordinary object file' 4 BAD_MODULE 'no section .klp.meta' "$live/dynamic/functions.o"
size=$(stat -c %s "$good")
for cut in 1 16 63 64 65 200 $((size / 4)) $((size / 2)) $((size - 64)) $((size - 1)); do
	head -c $cut "$good" >"$work/cut"
	refused "cut after $cut bytes" 4 BAD_MODULE '(no ELF file|a file without sections)' "$work/cut"
done
patched "$work/arch" "b[18:20] = struct.pack('<H', 183)"
refused 'aarch64 in the ELF header' 4 WRONG_ARCH 'ELF machine 183' "$work/arch"
meta "$work/id" '.objects[0].build_id |= ("0123456789" + .[10:])'
refused 'another build-id' 3 NO_OBJECT '' "$work/id"
meta "$work/missing" '.objects[0].functions[0] |= (.address = 1 | .recorded = 0 | .ranges = [[1, 1 + .size]])'
refused 'a function that is not there' 4 BAD_FUNCTION 'does not lie in the code' "$work/missing"
meta "$work/digest" '.objects[0].functions[0].digest |= ("00" + .[2:])'
refused 'other original bytes' 4 BAD_FUNCTION 'not that of the file' "$work/digest"
meta "$work/replacement" '.objects[0].functions[0].replacement = "nobody"'
refused 'a replacement that the module does not hold' 4 BAD_FUNCTION 'does not contain its replacement function nobody' "$work/replacement"
meta "$work/format" '.format = 99'
refused 'another format' 4 BAD_MODULE 'format 99' "$work/format"
meta "$work/huge" '.objects[0].functions[0] |= (.address = "2^63-4096" | .recorded = 0)'
refused 'an address at the end of the world' 4 BAD_MODULE 'out of range' "$work/huge"
refused 'a module of another object of the target' 3 NO_OBJECT '' "$(module fix-static)"
# One field of the ELF header, or of a section header, at a time: never a crash or a hang, never a change without success.
for ((i = 0; i < $(full 60 1000); i++)); do
	patched "$work/fuzz" "
import random
r = random.Random($i)
n = len(b)
for k in range(r.choice((1, 1, 2, 5))):
    shoff = struct.unpack_from('<Q', b, 40)[0]
    at = r.choice((r.randrange(4, 64), shoff + r.randrange(0, max(1, n - shoff)), r.randrange(0, n)))
    at = min(at, n - 1)
    b[at] = r.choice((0, 0xff, 0x7f, 0x80, b[at] ^ (1 << r.randrange(8))))"
	timeout 30 "$klpctl" load --json -p "$(p)" "$work/fuzz" >"$work/json" 2>"$work/events"
	rc=$?
	case $rc in
	0) # what was hit does not matter to anybody
		"$klpctl" unload -p "$(p)" "$(result .patch)" >/dev/null 2>&1 || die "fuzz $i: loaded and cannot be unloaded"
		fingerprint "$(p)" >"$work/before"
		;;
	2 | 3 | 4)
		fingerprint "$(p)" >"$work/after"
		cmp -s "$work/before" "$work/after" || die "fuzz $i: refused ($rc), and the target was changed"
		;;
	*) die "fuzz $i: exit status $rc" ;;
	esac
	expect 41 call answer 4
done
load fix
expect 42 call answer 4
