#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Compilation databases: what cmake exports of a build outside of the tree, quoting, damaged and hostile files, and what is left alone.
# shellcheck source=tests/build/lib.sh
. "$(dirname "$0")/lib.sh"
begin
case_setup CC-header

# run STATUS REGEX DATABASE: klp-build with that database ends so and says that; in $scratch/fix.klp and $scratch/report.json.
run() {
	local want=$1 regex=$2 got=0
	rm -f "$scratch/fix.klp"
	tree_state "$tree" >"$scratch/state.before"
	"$klp_build" -s "$tree" --compile-commands "$3" "${options[@]}" -n fix -o "$scratch/fix.klp" --report "$scratch/report.json" "${diffs[@]}" \
		>"$scratch/out" 2>&1 </dev/null || got=$?
	tree_state "$tree" >"$scratch/state.after"
	cmp -s "$scratch/state.before" "$scratch/state.after" || fail "$3: the source tree was changed"
	[ "$got" = "$want" ] || fail "$3: exit status $got, expected $want: $(cat "$scratch/out")"
	grep -qE -- "$regex" "$scratch/out" "$scratch/report.json" || fail "$3: '$(cat "$scratch/out")' does not match $regex"
	[ "$want" = 0 ] || [ ! -e "$scratch/fix.klp" ] || fail "$3: there is a module"
	nothing_left "$3"
}

# edit FILTER: the good database, changed by jq, in $scratch/edited.json.
edit() { jq "$1" "$database" >"$scratch/edited.json"; }

# Two runs give the same module, and both forms do.
run 0 '"result": *"built"' "$database"
cp "$scratch/fix.klp" "$scratch/first.klp"
run 0 '"result": *"built"' "$database"
cmp "$scratch/first.klp" "$scratch/fix.klp" || fail "two runs made different modules"
make_database command "$scratch/command.json"
run 0 '"result": *"built"' "$scratch/command.json"
cmp "$scratch/first.klp" "$scratch/fix.klp" || fail "the two forms made different modules"
# What make makes, without the link that this one does without.
"$klp_build" -s "$tree" -b 'make server' -t server "${options[@]}" -n fix -o "$scratch/linked.klp" "${diffs[@]}" >"$scratch/out" 2>&1 || fail "with make: $(cat "$scratch/out")"
cmp "$scratch/first.klp" "$scratch/linked.klp" || fail "without a link the module is another one"

# --explain of what is changed, of what is in a unit that was compiled again, in one that was not, and of nothing.
explain() { # NAME REGEX
	"$klp_build" -s "$tree" --compile-commands "$database" "${options[@]}" -n fix -o "$scratch/fix.klp" --explain "$1" "${diffs[@]}" >"$scratch/out" 2>&1 || fail "--explain $1: $(cat "$scratch/out")"
	grep -qE -- "$2" "$scratch/out" || fail "--explain $1: '$(cat "$scratch/out")' does not match $2"
}
explain scaled 'changed: scaled \(other.c\)'
explain area 'unchanged: compiled again'
explain third 'unchanged: nothing that its unit reads'
explain nothing 'no unit of the target has this name'

# Quoting: the words of a command are those that a shell would make of it, and nothing is expanded.
printf '#include "probe.h"\nvoid probe(const char *input) { (void)input; puts(TEXT); }\n' >quoted.c
sed 's/^\(void probe.*\)puts(TEXT)/\1puts(TEXT "!")/' quoted.c >../quoted.c
diff -u --label a/quoted.c --label b/quoted.c quoted.c ../quoted.c >../quoted.diff || :
read -ra flags <<<"-O2 -g $KLP_CFLAGS"
gcc "${flags[@]}" -c loop.c
saved=("${diffs[@]}" "${options[@]}")
diffs=(../quoted.diff)
# shellcheck disable=SC2016 # that nobody expands it is what is tested
words=('-DTEXT=\"a\ b\\\\c\"' '"-DTEXT=\"a b\\\\c\""' "'-DTEXT=\"a b\\\\c\"'" '-DTEXT=\"$(touch${IFS}ran)\;\|\"' '"-DTEXT=\"`touch ran`\""')
# shellcheck disable=SC2016
texts=('a b\\c' 'a b\\c' 'a b\\c' '$(touch${IFS}ran);|' '`touch ran`')
for i in "${!words[@]}"; do
	word=${words[i]} text=${texts[i]}
	line="gcc ${flags[*]} $word -c -o quoted.o quoted.c"
	jq -n --arg dir "$tree" --arg line "$line" '[{directory: $dir, file: "quoted.c", command: $line}, {directory: $dir, file: "loop.c", command: "gcc -c -o loop.o loop.c"}]' >"$scratch/quoted.json"
	gcc "${flags[@]}" "-DTEXT=\"$text\"" -c quoted.c
	gcc "${flags[@]}" -o ../quoted loop.o quoted.o
	rm quoted.o
	options=(--running ../quoted)
	run 0 '"result": *"built"' "$scratch/quoted.json"
	[ ! -e ran ] || fail "a word of a command was expanded"
done
rm -f quoted.c loop.o
diffs=("${saved[0]}")
options=("${saved[@]:1}")

# Damaged and hostile files.
bad() { # STATUS REGEX TEXT
	printf '%s' "$3" >"$scratch/bad.json"
	run "$1" "$2" "$scratch/bad.json"
}
run 1 'cannot be read' "$scratch/none.json"
run 1 'cannot be read' "$tree"
bad 1 'is no JSON' ''
bad 1 'is no JSON' '[{'
bad 1 'is no JSON' "[{\"file\": \"a\\u0000b\"}]"
bad 1 'is no JSON' '[{"file": "a", "file": "b"}]'
bad 1 'is no JSON' "$(printf '[%.0s' {1..5000})"
bad 1 'is no compilation database' '{}'
bad 1 'is no compilation database' '[]'
bad 1 'entry 0: no object' '[7]'
bad 1 'entry 0.*an absolute "directory"' '[{"file": "a.c", "command": "gcc -c a.c"}]'
bad 1 'entry 0.*an absolute "directory"' '[{"directory": ".", "file": "a.c", "command": "gcc -c a.c"}]'
bad 1 'this is no string: file' '[{"directory": "/", "file": 3, "command": "gcc -c a.c"}]'
bad 1 'empty or too long: directory' '[{"directory": "", "file": "a.c", "command": "gcc -c a.c"}]'
bad 1 'empty or too long: file' "[{\"directory\": \"/\", \"file\": \"$(printf '%05000d' 0)\", \"command\": \"gcc -c a.c\"}]"
bad 1 'neither "arguments" nor "command"' '[{"directory": "/tmp", "file": "a.c"}]'
bad 1 'something that is no string' '[{"directory": "/tmp", "file": "a.c", "arguments": ["gcc", 1]}]'
bad 1 'empty or too long' '[{"directory": "/tmp", "file": "a.c", "arguments": []}]'
bad 1 'a quotation without an end' '[{"directory": "/tmp", "file": "a.c", "command": "gcc \"-c a.c"}]'
bad 1 'a backslash at the end' '[{"directory": "/tmp", "file": "a.c", "command": "gcc -c a.c \\"}]'
bad 1 'an empty command' '[{"directory": "/tmp", "file": "a.c", "command": "  "}]'
head -c 300M /dev/zero >"$scratch/long.json"
run 1 'longer than 256 MiB' "$scratch/long.json"
rm "$scratch/long.json"

# Entries that say something else than how one source is compiled.
edit 'map(if .file == "main.c" then .arguments[0] = "touch" else . end)'
run 4 'main.c: entry .*no compiler that klp-build knows' "$scratch/edited.json"
edit 'map(if .file == "main.c" then .arguments |= . + ["@options"] else . end)'
run 4 'main.c: entry .*response file' "$scratch/edited.json"
edit 'map(if .file == "main.c" then .arguments[-1] = "third.c" else . end)'
run 4 'main.c: entry .*its command compiles another file' "$scratch/edited.json"
edit 'map(if .file == "main.c" then .arguments |= map(select(. != "-c")) else . end)'
run 4 'main.c: entry .*does not compile one source' "$scratch/edited.json"
edit 'map(if .file == "main.c" then .directory += "/gone" | .file = "../main.c" else . end)'
run 4 'main.c: ' "$scratch/edited.json"
edit '. + [.[] | select(.file == "main.c") | .arguments += ["-DMORE"]]'
run 4 'main.c: entry .*another entry makes the same object' "$scratch/edited.json"
edit '. + .'
run 0 '"result": *"built"' "$scratch/edited.json"
edit 'map(if .file == "main.c" then .directory = "/" | .file = "'"$tree"'/main.c" else . end)'
run 1 'is above the source tree' "$scratch/edited.json"
# Nothing is written outside of the copies.
mkdir ../elsewhere
edit 'map(.arguments |= map(if . == "main.o" then "'"$scratch"'/elsewhere/main.o" else . end))'
run 1 'writes outside' "$scratch/edited.json"
edit 'map(.arguments |= map(if . == "main.o" then "new/../../elsewhere/main.o" else . end))'
run 1 'writes outside|failed' "$scratch/edited.json"
ln -s "$scratch/elsewhere" link
edit 'map(.arguments |= map(if . == "main.o" then "link/deeper/main.o" else . end))'
run 1 'writes outside|failed' "$scratch/edited.json"
edit 'map(.arguments |= . + ["-MD", "-MF", "'"$scratch"'/elsewhere/main.d", "-Wp,-MMD,'"$scratch"'/elsewhere/second.d"])'
run 0 '"result": *"built"' "$scratch/edited.json"
[ -z "$(ls -A ../elsewhere)" ] || fail "written outside of the tree: $(ls -A ../elsewhere)"
rm link
edit 'map(.arguments = ["ccache"] + .arguments)'
run 0 '"result": *"built"' "$scratch/edited.json"

# What it takes, and what not together.
use() { # REGEX ARGUMENTS...
	local regex=$1 got=0
	shift
	"$klp_build" "$@" "${diffs[@]}" -o "$scratch/fix.klp" >"$scratch/out" 2>&1 </dev/null || got=$?
	[ "$got" = 2 ] || fail "klp-build $*: exit status $got, expected 2"
	grep -qE -- "$regex" "$scratch/out" || fail "klp-build $*: '$(cat "$scratch/out")' does not match $regex"
}
use 'in the place of -b' -s "$tree" --compile-commands "$database" -b make "${options[@]}"
use 'in the place of -t' -s "$tree" --compile-commands "$database" -t server "${options[@]}"
use 'needed: --running' -s "$tree" --compile-commands "$database"
use 'needed: -s' --compile-commands "$database" "${options[@]}"
use 'the same target twice' -s "$tree" --compile-commands "$database" "${options[@]}" "${options[@]}"

# cmake, with a build directory that is not in the tree; a header that it generates there.
cat >CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.16)
project(server C)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_BUILD_TYPE RelWithDebInfo)
configure_file(step.h.in step.h)
add_executable(server loop.c main.c other.c third.c)
target_include_directories(server PRIVATE ${CMAKE_CURRENT_BINARY_DIR})
target_compile_definitions(server PRIVATE "GREETING=\"a greeting\"")
END
echo '#define STEP 3' >step.h.in
sed -i 's/v + 3/v + STEP/; s/^int third(int v);/#include "step.h"\n&/' third.c
mkdir ../cmake
cmake -S . -B ../cmake -DCMAKE_C_FLAGS="$KLP_CFLAGS" >"$scratch/out"
cmake --build ../cmake >>"$scratch/out"
cp ../cmake/server ../server.cmake
options=(--running ../server.cmake)
tree_state "$scratch/cmake" >"$scratch/cmake.before"
run 0 '"result": *"built"' ../cmake/compile_commands.json
[ "$(jq -c '[.build.listed, .build.compiled_again]' "$scratch/report.json")" = '[4,2]' ] || fail "of 4 units 2 read the header: $(jq -c .build "$scratch/report.json")"
tree_state "$scratch/cmake" >"$scratch/cmake.after"
cmp -s "$scratch/cmake.before" "$scratch/cmake.after" || fail "the build directory was changed"
# It has been cleaned: nothing but what configuring makes is needed.
cmake --build ../cmake --target clean >"$scratch/out"
run 0 '"result": *"built"' ../cmake/compile_commands.json
# What would have to be generated anew is not.
printf -- '--- a/step.h.in\n+++ b/step.h.in\n@@ -1 +1 @@\n-#define STEP 3\n+#define STEP 4\n' >../step.diff
diffs+=(../step.diff)
run 4 'step.h.in: is changed by the diffs, no compiler reads it' ../cmake/compile_commands.json
finish
