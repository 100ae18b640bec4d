# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the live tests share. Sourced. A test calls `begin`, then the verbs below; whatever happens, everything it started is ended and its
# directory removed. Exit status 0 passed, 77 skipped (says why), else failed (says what was expected and what came).
#
# KLP_BUILD  klp's build directory     KLP_LIVE  the targets and modules that the setup test built, default $KLP_BUILD/live
# KLP_SLOW   how many times longer than usual to wait for what is to happen, on an emulated machine
# KLP_FULL=1 the counts of the acceptance scenarios instead of the quick ones

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${KLP_BUILD:-$root/build}
live=${KLP_LIVE:-$build/live}
klpctl=$build/bin/klpctl
klp_build=${KLP_BUILD_TOOL:-$build/bin/klp-build} # of another machine, where that builds
modules=$live/modules
klp_cflags=$(PKG_CONFIG_PATH=$build pkg-config --cflags klp 2>/dev/null)
cur=
declare -A pid wfd rfd
others=()

die() {
	printf 'FAILED: %s\n' "$*" >&2
	if [ -s "${work:-}/events" ]; then
		printf '%s\n' '-- events:' >&2
		tail -20 "$work/events" >&2
	fi
	if [ -s "${work:-}/json" ]; then
		printf '%s\n' '-- last result:' >&2
		tail -c 2000 "$work/json" >&2
	fi
	exit 1
}
skip() {
	printf 'SKIPPED: %s\n' "$*" >&2
	exit 77
}

# What this machine lacks for a part of the test: the test goes on, and in the end says SKIPPED.
untried=()
lacks() { untried+=("$*"); }

cleanup() {
	local status=$? p
	trap - EXIT INT TERM
	if [ $status = 0 ] && [ ${#untried[@]} -gt 0 ]; then
		printf 'SKIPPED: %s\n' "${untried[@]}" >&2
		status=77
	fi
	for p in ${others[@]+"${others[@]}"} ${pid[@]+"${pid[@]}"}; do
		kill -KILL "$p" 2>/dev/null
	done
	for p in ${others[@]+"${others[@]}"} ${pid[@]+"${pid[@]}"}; do
		wait "$p" 2>/dev/null
		p=$((0x6b000000 | p)) # the key of a target's semaphore and queue: they outlive a target that is killed
		ipcrm -S $p -Q $p 2>/dev/null
	done
	rm -rf "${work:?}"
	exit "$status"
}

begin() {
	work=$(mktemp -d "${TMPDIR:-/tmp}/klp-live.XXXXXX") || exit 1
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	[ -x "$klpctl" ] || die "$klpctl is not built"
	[ -x "$klp_build" ] || die "$klp_build is not built"
	[ -n "$klp_cflags" ] || die "$build has no klp.pc"
	command -v jq >/dev/null || die "jq is not installed"
	ulimit -c 0
}

full() { # QUICK FULL: the count to use
	if [ "${KLP_FULL:-0}" = 1 ]; then echo "$2"; else echo "$1"; fi
}

module() { # NAME: its file
	[ -s "$modules/$1.klp" ] || die "module $1 was not built"
	printf '%s' "$modules/$1.klp"
}

# target NAME PROGRAM [ARG...]: starts it with pipes to ask through, and makes it the current one.
target() {
	local name=$1 w r
	shift
	mkfifo "$work/$name.in" "$work/$name.out"
	"$@" <"$work/$name.in" >"$work/$name.out" 2>"$work/$name.err" &
	pid[$name]=$!
	exec {w}>"$work/$name.in" {r}<"$work/$name.out"
	wfd[$name]=$w
	rfd[$name]=$r
	cur=$name
	ask call leaf 1
	[ -n "$REPLY" ] || die "the target $name does not answer: $(cat "$work/$name.err")"
}
start() { # [NAME [ARG...]]: the usual target
	local name=${1:-t}
	[ $# -gt 0 ] && shift
	target "$name" "$live/dynamic/target" "$@"
}
use() { cur=$1; }
p() { echo "${pid[$cur]}"; }

ask() { # QUESTION...: answer in REPLY
	REPLY=
	local fd=${wfd[$cur]}
	if ! kill -0 "${pid[$cur]}" 2>/dev/null; then
		wait "${pid[$cur]}"
		die "the target $cur has ended with status $? (asked: $*)"
	fi
	printf '%s\n' "$*" >&"$fd" || die "the target $cur does not listen (asked: $*)"
	IFS= read -r -t $((${ASK_TIMEOUT:-20} * ${KLP_SLOW:-1})) REPLY <&"${rfd[$cur]}" || {
		if [ $? -gt 128 ]; then # the time was over; else it closed its output, dying
			die "no answer to '$*': the target $cur hangs ($(cat "/proc/${pid[$cur]}/stat" 2>/dev/null))"
		fi
		wait "${pid[$cur]}"
		die "the target $cur ended with status $? when asked '$*'"
	}
}
expect() { # ANSWER QUESTION...
	local want=$1
	shift
	ask "$@"
	[ "$REPLY" = "$want" ] || die "'$*' answered '$REPLY', expected '$want'"
}
alive() { kill -0 "$(p)" 2>/dev/null || die "the target died"; }

processors() { awk '/^cpu / { for (i = 2; i <= 9; i++) all += $i; print $9, all }' /proc/stat; } # ticks that the host took, and all
taken_since() { # TICKS: the host took more than a quarter
	local taken all now_taken now_all
	read -r taken all <<<"$1"
	read -r now_taken now_all < <(processors)
	[ $(((now_taken - taken) * 4)) -gt $((now_all - all)) ]
}
# ctl WANTED-STATUS ARG...: runs klpctl; its JSON goes to $work/json, its events to $work/events. WANTED-STATUS may be a list: 2,3,4
# Of a virtual machine the host may take most of the processors, for a minute: what was to succeed and is pending (5) is asked for again if it was so.
ctl() {
	local want=$1 got before
	shift
	: >"$work/events"
	for _ in 1 2 3 4; do
		before=$(processors)
		"$klpctl" "$@" >"$work/json" 2>>"$work/events"
		got=$?
		{ [ "$want $got" = "0 5" ] && taken_since "$before"; } || break
		echo "the host took the processors: once more" >&2
	done
	case ",$want," in *",$got,"*) ;; *) die "klpctl $*: exit status $got, expected $want" ;; esac
}
# A slow machine is given more time for a transition, unless the test is about its end.
patience() { # OPTION...
	case " $* " in *' --timeout '*) return ;; esac
	[ "${KLP_SLOW:-1}" = 1 ] || echo "--timeout $((10 * KLP_SLOW))"
}
# A transition that is to be pending, and say why, has had the time to look at every thread: of one that runs now and then a slow machine sees for as long only
# that it runs.
looked() { awk -v s="$1" -v slow="${KLP_SLOW:-1}" 'BEGIN { print s * slow }'; } # SECONDS
load() { # MODULE [OPTION...]
	local m
	m=$(module "$1") || exit 1
	shift
	# shellcheck disable=SC2046 # two words or none
	ctl "${RC:-0}" load -v --json -p "$(p)" $(patience "$@") "$@" "$m"
}
unload() { # NAME [OPTION...]
	local n=$1
	shift
	# shellcheck disable=SC2046 # two words or none
	ctl "${RC:-0}" unload -v --json -p "$(p)" $(patience "$@") "$@" "$n"
}
result() { # JQ-EXPRESSION: of the first process of the last result
	jq -r ".processes[0] | $1" "$work/json" || die "no JSON came"
}
status() { # JQ-EXPRESSION: of the current target's status
	"$klpctl" status --json -p "$(p)" >"$work/status" 2>/dev/null || die "status failed"
	jq -r ".processes[0] | $1" "$work/status" || die "status: no JSON came"
}
expect_status() { # VALUE JQ-EXPRESSION
	local got
	got=$(status "$2") || exit 1
	[ "$got" = "$1" ] || die "status $2 is '$got', expected '$1'"
}
expect_result() {
	local got
	got=$(result "$2") || exit 1
	[ "$got" = "$1" ] || die "result $2 is '$got', expected '$1'"
}
events() { # TEXT...: they came, in this order
	local text line at=0
	for text; do
		line=$(tail -n +$((at + 1)) "$work/events" | grep -nF -- "$text" | head -1 | cut -d: -f1)
		[ -n "$line" ] || die "no event \"$text\" behind line $at"
		at=$((at + line))
	done
}
expect_reason() { # NAME
	expect_result "$1" .reason
}

# own_program SED-PROGRAM [CFLAGS]: a program of the test's own, from its standard input, is $work/tree/prog; what sed makes of its source is
# $work/own.klp.
own_program() {
	mkdir "$work/tree" "$work/a" "$work/b"
	cat >"$work/tree/prog.c"
	printf 'prog: prog.o\n\t$(CC) -o $@ prog.o -pthread\nprog.o: prog.c\n\t$(CC) -O2 -g %s $(KLP_CFLAGS) -c prog.c\n' "${2:-}" >"$work/tree/Makefile"
	make -s -C "$work/tree" KLP_CFLAGS="$klp_cflags" || die "the test's program does not build"
	cp "$work/tree/prog.c" "$work/a/"
	own_module own "$1"
}
own_module() { # NAME SED-SCRIPT: a patch of own_program's program, $work/NAME.klp
	sed "$2" "$work/a/prog.c" >"$work/b/prog.c"
	(cd "$work" && diff -u a/prog.c b/prog.c) >"$work/$1.diff"
	"$klp_build" -s "$work/tree" -b "make KLP_CFLAGS='$klp_cflags'" -t ./prog "$work/$1.diff" -o "$work/$1.klp" >"$work/log" 2>&1 ||
		die "klp-build: $(tail -3 "$work/log")"
}

# fingerprint PID: mappings, and a hash over every byte of text and read-only data. What a refused load must leave as it was.
fingerprint() {
	python3 - "$1" <<-'PY'
	import hashlib, re, sys
	pid = sys.argv[1]
	h = hashlib.sha256()
	with open(f"/proc/{pid}/maps") as f, open(f"/proc/{pid}/mem", "rb") as mem:
	    for line in f:
	        at, perms, *rest = line.split()
	        name = rest[3] if len(rest) > 3 else ""
	        if name in ("[vvar]", "[vvar_vclock]", "[vsyscall]"):
	            continue
	        h.update(f"{at} {perms} {name}".encode())
	        if "w" in perms or "r" not in perms:
	            continue
	        low, high = (int(x, 16) for x in at.split("-"))
	        mem.seek(low)
	        h.update(mem.read(high - low))
	print(h.hexdigest())
	PY
}
text_print() { # PID: the same of the file mappings only: what an unload must have put back
	python3 - "$1" <<-'PY'
	import hashlib, sys
	pid = sys.argv[1]
	h = hashlib.sha256()
	with open(f"/proc/{pid}/maps") as f, open(f"/proc/{pid}/mem", "rb") as mem:
	    for line in f:
	        at, perms, *rest = line.split()
	        name = rest[3] if len(rest) > 3 else ""
	        if not name.startswith("/") or "w" in perms or "r" not in perms:
	            continue
	        low, high = (int(x, 16) for x in at.split("-"))
	        mem.seek(low)
	        h.update(f"{at} {perms} {name}".encode() + mem.read(high - low))
	print(h.hexdigest())
	PY
}
maps() { grep -vE 'vvar|vdso' "/proc/$(p)/maps" | awk '{print $1, $2, $6}' | grep -v '\[heap\]'; }

wait_for() { # SECONDS COMMAND...: until it succeeds
	local end=$((SECONDS + $1 * ${KLP_SLOW:-1}))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}
asleep() { # the sleeper's thread is inside its read
	ask sleep
	wait_for 5 bash -c 'for t in /proc/'"$(p)"'/task/*; do [ "${t##*/}" != '"$(p)"' ] && read -r n _ <$t/syscall && { [ "$n" = 0 ] || [ "$n" = 63 ]; } && exit 0; done; exit 1' ||
		die "the sleeping thread did not fall asleep"
}
# How long a load of FILE and an unload of NAME take in the process PID, the longest of three of each, in tenths of a millisecond: in $load_takes, $unload_takes.
spans() { # FILE NAME [PID]
	local i began of=${3:-$(p)}
	load_takes=1 unload_takes=1
	for i in 1 2 3; do
		began=${EPOCHREALTIME/[.,]/}
		"$klpctl" load -p "$of" "$1" >/dev/null 2>&1 || die "the load that is to be measured fails"
		began=$(((${EPOCHREALTIME/[.,]/} - began) / 100))
		[ $began -le $load_takes ] || load_takes=$began
		began=${EPOCHREALTIME/[.,]/}
		"$klpctl" unload -p "$of" "$2" >/dev/null 2>&1 || die "the unload that is to be measured fails"
		began=$(((${EPOCHREALTIME/[.,]/} - began) / 100))
		[ $began -le $unload_takes ] || unload_takes=$began
	done
	echo "a load takes up to $load_takes tenths of a millisecond, an unload $unload_takes"
}
# At any time within so many tenths of a millisecond, and half of the times within the first 3 ms, where most is done.
instant() { # TENTHS
	local within=$1
	local early=$((30 * ${KLP_SLOW:-1}))
	if ((within > early && RANDOM % 2)); then within=$early; fi
	within=$((RANDOM % within))
	sleep "$(printf '%d.%04d' $((within / 10000)) $((within % 10000)))"
}
# So many tenths of a millisecond, more on a slow machine, as seconds: for an instant at which something is in the middle of its work.
tenths() { printf '%d.%04d' $(($1 * ${KLP_SLOW:-1} / 10000)) $(($1 * ${KLP_SLOW:-1} % 10000)); }
# A load of FILE or an unload of NAME, as chance has it, killed within MAX tenths of a millisecond (instant). Status 1: it had ended before.
kill_a_tool() { # FILE NAME MAX
	local tool status
	if ((RANDOM % 2)); then
		"$klpctl" load -p "$(p)" "$1" >/dev/null 2>&1 &
	else
		"$klpctl" unload -p "$(p)" "$2" >/dev/null 2>&1 &
	fi
	tool=$!
	instant "$3"
	kill -KILL $tool 2>/dev/null
	status=$?
	wait $tool 2>/dev/null
	return $status
}
# The waiting threads of the target `t`, which is to be patched, and of a control beside it: what holds the machine up shows in both.
waits_begin() {
	start control
	ask waits
	start
	ask waits
}
waits_end() { # the target's report in REPLY, in `late` the longest delay of any wait in the control
	local l
	use control
	ask report
	echo "control: $REPLY"
	late=0
	while read -r _ _ _ _ l _; do [ "$l" -le "$late" ] || late=$l; done < <(tr ';' '\n' <<<"$REPLY" | grep .)
	printf 'quit\n' >&"${wfd[control]}"
	use t
	ask report
	echo "patched: $REPLY"
}
pairs() { # COUNT [OPTION...]: load and unload `fix` that often, an answer after each
	local i n=$1
	shift
	for ((i = 0; i < n; i++)); do
		load fix "$@"
		expect 42 call answer 4
		unload fix "$@"
		expect 41 call answer 4
	done
}
