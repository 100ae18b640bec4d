# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# One running guest: its directory, start, end, and the commands that it is given. Sourced behind lib.sh and fetch.sh.
#
# A guest belongs to a run of ctest (the ancestor of that name, or KLP_GUEST_OWNER) and ends with it, or to a source tree and ends when it has been idle.
# Its directory holds: pid (the emulator), console (the kernel's log), shares, laneN.in and laneN.out (the two FIFOs of a port), laneN (its
# lock), lock (of start and end), beat.in and beat.out (where its processors say that they run), frozen (the emulator that was ended because one did not).
# shellcheck disable=SC2154 # lib.sh sets what is read here

lanes=2
boot_limit=${KLP_GUEST_BOOT:-200}    # seconds; 6 to 18 on an idle 2-core machine
boot_tries=2                         # an emulator has been seen to idle for ever before the guest's first word, once in hundreds of boots
idle_limit=${KLP_GUEST_IDLE:-1800}   # of a guest without an owner
grace=${KLP_GUEST_GRACE:-30}         # seconds that a guest gets to say that it ended a command
answer_limit=${KLP_GUEST_ANSWER:-120} # seconds until it says that it begins a command
freeze_limit=${KLP_GUEST_FREEZE:-30} # times that nothing is heard for a second, two seconds or less each, until a silent processor counts as frozen
max_hangs=3                          # then this run's guests are not believed in any more

# The guest that this process is to use: $dir, and $owner where it has one.
machine_find() {
	local p=$PPID name rest
	owner=${KLP_GUEST_OWNER:-}
	while [ -z "$owner" ] && [ "${p:-0}" -gt 1 ]; do
		name=$(cat "/proc/$p/comm" 2>/dev/null) || break
		if [ "$name" = ctest ]; then
			owner=$p
		else
			rest=$(cat "/proc/$p/stat" 2>/dev/null) || break
			rest=${rest##*) }
			p=$(set -f; set -- $rest; echo "$2")
		fi
	done
	local key
	if [ -n "$owner" ]; then
		key=$owner-$(started_at "$owner") || die "the process $owner, which the guest is to belong to, is not there"
	else
		key=tree-$(printf '%s' "$root" | cksum | cut -d' ' -f1)
	fi
	dir=${KLP_GUEST_DIR:-/tmp/klp-guest.$(id -u)}/$arch-$key
}

machine_runs() { [ -s "$dir/pid" ] && alive "$(cat "$dir/pid")"; }

# The log's end belongs to every message that says that a guest did not do what it should.
machine_console() {
	{
		printf -- '-- the end of the console of the %s guest:\n' "$arch"
		tail -c 4000 "$dir/console" 2>/dev/null | tr -d '\r'
		printf -- '\n--\n'
	} >&2
}

machine_kill() {
	local pid
	pid=$(cat "$dir/pid" 2>/dev/null) || return 0
	kill -KILL "$pid" 2>/dev/null
	while alive "$pid"; do sleep 0.05; done
	rm -f "$dir/pid"
}

# machine_ended PID: what is left of this emulator, not of one that took its place.
machine_ended() { [ "$(cat "$dir/pid" 2>/dev/null)" != "$1" ] || machine_kill; }
machine_count_hang() { echo $(($(cat "$dir/hangs" 2>/dev/null || echo 0) + 1)) >"$dir/hangs"; }

machine_shares() { # DIRECTORY...: MODE and directory a line, outer ones first; a tree that is to be writable is so
	local d
	{
		for d; do printf 'rw %s\n' "$(realpath "$d")"; done
		printf 'ro %s\n' "$root"
	} | sort -s -u -k2
}
machine_has_shares() { # DIRECTORY...: what the running guest lacks
	local d s missing=0
	for d; do
		d=$(realpath "$d")
		s=$(cut -d' ' -f2- "$dir/shares" | while read -r s; do case $d/ in "$s"/*) echo "$s" ;; esac; done)
		[ -n "$s" ] || { printf 'guest: the running guest does not share %s: end it with scripts/guest stop %s\n' "$d" "$arch" >&2; missing=1; }
	done
	return $missing
}

machine_initramfs() { # makes $dir/initrd
	local tree=$dir/initramfs
	rm -rf "$tree"
	mkdir -p "$tree/bin"
	cp "$home/busybox" "$tree/bin/busybox"
	cp -r "$home/modules" "$tree/modules"
	cp "$vm/guest/init" "$vm/guest/agent" "$vm/guest/host-call" "$tree/"
	sed '=' "$dir/shares" | sed 'N;s/^/share/;s/\n/ /' >"$tree/shares"
	(cd "$tree" && find . | cpio --quiet -o -H newc -R 0:0) >"$dir/initrd"
	rm -rf "$tree"
}

# 1: it is not ready in time, and has been ended.
machine_boot() {
	local args=() i=0 path mode pid lane
	for t in "${qemu[0]}" cpio; do
		command -v "$t" >/dev/null || skip "$t is not installed: scripts/bootstrap installs it"
	done
	for ((lane = 0; lane < lanes; lane++)); do
		rm -f "$dir/lane$lane.in" "$dir/lane$lane.out"
		mkfifo "$dir/lane$lane.in" "$dir/lane$lane.out"
		: >>"$dir/lane$lane"
		args+=(-chardev "pipe,id=lane$lane,path=$dir/lane$lane" -device "virtserialport,chardev=lane$lane,name=klp.lane$lane")
	done
	rm -f "$dir/beat.in" "$dir/beat.out"
	mkfifo "$dir/beat.in" "$dir/beat.out"
	args+=(-chardev "pipe,id=beat,path=$dir/beat" -device "virtserialport,chardev=beat,name=klp.beat")
	while read -r mode path; do
		i=$((i + 1))
		[ "$mode" = ro ] && mode=,readonly=on || mode=
		args+=(-fsdev "local,id=share$i,path=${path//,/,,},security_model=none,multidevs=remap$mode" -device "virtio-9p-pci,fsdev=share$i,mount_tag=share$i")
	done <"$dir/shares"
	machine_initramfs
	: >"$dir/console"
	: >"$dir/ready"
	# In a session of its own, nobody's child and holding nothing of its caller's: who waits for the caller's pipes does not wait for the guest, and
	# CTest, which ends a test's descendants with it, does not end what the other tests use.
	(setsid "${qemu[@]}" -smp 2 -m "${KLP_GUEST_MEMORY:-2048}" -accel tcg,thread=multi -nodefaults -no-user-config -display none -no-reboot \
		-kernel "$home/vmlinuz" -initrd "$dir/initrd" \
		-append "console=$console panic=-1 quiet loglevel=4 rdinit=/init mitigations=off" \
		-serial "file:$dir/console" -monitor none \
		-drive "file=$home/root.img,format=raw,if=none,id=disk,snapshot=on" -device virtio-blk-pci,drive=disk \
		-device virtio-serial-pci -device virtio-rng-pci "${args[@]}" \
		</dev/null >"$dir/emulator" 2>&1 {start_lock}>&- &
	echo $! >"$dir/pid")
	pid=$(cat "$dir/pid")
	(setsid bash "$root/scripts/guest" _keep "$arch" "$dir" "$pid" "$owner" </dev/null >/dev/null 2>&1 {start_lock}>&- &)
	local end=$((SECONDS + boot_limit)) out line
	for ((lane = 0; lane < lanes; lane++)); do
		exec {out}<>"$dir/lane$lane.out"
		until IFS= read -r -t 1 line <&$out && [ "$line" = '@@klp-ready' ]; do
			if ! alive "$pid"; then
				cat "$dir/emulator" >&2
				machine_console
				die "the $arch guest ended before it was ready"
			fi
			if [ $SECONDS -ge $end ]; then
				machine_console
				machine_kill
				exec {out}>&-
				printf 'guest: the %s guest is not ready after %s s; it has been ended\n' "$arch" "$boot_limit" >&2
				return 1
			fi
		done
		exec {out}>&-
	done
	rm -f "$dir/initrd"
}

# machine_start DIRECTORY...: shares these; nothing to do if it runs.
machine_start() {
	(umask 077 && mkdir -p "${dir%/*}") || die "cannot make ${dir%/*}"
	[ -O "${dir%/*}" ] || die "${dir%/*} is somebody else's"
	mkdir -p "$dir"
	exec {start_lock}>"$dir/lock"
	flock "$start_lock"
	if ! machine_runs; then
		if [ "$(cat "$dir/hangs" 2>/dev/null || echo 0)" -ge $max_hangs ]; then
			die "$max_hangs $arch guests hung in this run: no further one is started"
		fi
		guest_fetch
		machine_shares "$@" >"$dir/shares"
		local tries=1
		until machine_boot; do
			[ $tries -lt $boot_tries ] || die "no $arch guest is ready after $tries attempts"
			tries=$((tries + 1))
		done
	fi
	exec {start_lock}>&-
	machine_has_shares "$@" || exit 1
}

# machine_keep DIR PID OWNER: the guest's companion, which outlives it only to clear up. It ends one of which a processor does not run any more: an
# emulator has been seen to forget one. Its own seconds count, so that a host that stands still is nobody's fault.
machine_keep() {
	local pid=$2 who=$3 born='' beat='' cpu silent=() c
	dir=$1
	exec {beat}<>"$dir/beat.out"
	[ -n "$who" ] && born=$(started_at "$who")
	while alive "$pid"; do
		if [ -n "$who" ]; then
			[ "$(started_at "$who")" = "$born" ] || break
		elif [ -z "$(find "$dir" -maxdepth 1 -name 'lane*' -newermt "-$idle_limit seconds" -print -quit)" ]; then
			break
		fi
		if read -r -t 1 -n 1 cpu <&$beat && [[ $cpu == [0-9] ]]; then
			silent[cpu]=0
			continue
		fi
		for c in "${!silent[@]}"; do
			silent[c]=$((silent[c] + 1))
			if [ ${silent[c]} -ge "$freeze_limit" ]; then
				printf 'klp-guest: processor %s does not run any more\n' "$c" >>"$dir/console"
				machine_count_hang
				echo "$pid" >"$dir/frozen"
				break 2
			fi
		done
	done
	alive "$pid" && kill -KILL "$pid" 2>/dev/null
	# A run's directory goes with the run; while the run lasts it remembers how often a guest hung.
	if [ -z "$who" ] || [ "$(started_at "$who")" != "$born" ]; then
		[ "$(cat "$dir/pid" 2>/dev/null)" = "$pid" ] && rm -rf "${dir:?}"
		rmdir "${dir%/*}" 2>/dev/null
	fi
	return 0
}

machine_hung() { # PID SENTENCE
	machine_console
	machine_count_hang
	machine_ended "$1"
	die "$2; it has been ended"
}

# machine_serve ID: does what a command in the guest asked for (guest/host-call), with the cross tools.
machine_serve() {
	local call=$host_tmp/call.$1 status
	[ -n "$host_tmp" ] && [ -f "$call.command" ] || return 0
	PATH=$host_bin:$home/tools:$PATH timeout "$2" bash "$call.command" <"$call.in" >"$call.out" 2>"$call.err"
	status=$?
	printf 'done %s %s\n' "$1" $status
}

# machine_run SECONDS SCRIPT: what it says goes to standard output; its status is the result, 124 if its time was over, and machine_froze if a processor
# of the emulator stopped in its middle.
machine_froze=199
machine_run() {
	local limit=$1 script=$2 lane held='' in out nonce line='' part begun='' first=1 end pid
	while [ -z "$held" ]; do
		for ((lane = 0; lane < lanes; lane++)); do
			exec {held}>>"$dir/lane$lane" || die "the $arch guest is not there any more"
			if flock -n "$held"; then break; fi
			exec {held}>&-
			held=
		done
		[ -n "$held" ] || sleep 0.1
	done
	touch "$dir/lane$lane"
	pid=$(cat "$dir/pid" 2>/dev/null) || die "the $arch guest is not there any more"
	exec {in}<>"$dir/lane$lane.in" {out}<>"$dir/lane$lane.out"
	nonce=klp$$-$RANDOM$RANDOM
	printf 'run %s %s %s\n' "$nonce" "$limit" "${script@Q}" >&"$in"
	# shellcheck disable=SC2064 # these values
	trap "printf 'stop %s\n' $nonce >&$in; exit 143" TERM INT HUP
	end=$((SECONDS + answer_limit))
	while :; do
		part=
		if ! IFS= read -r -t 2 part <&"$out"; then
			line+=$part
			if ! alive "$pid" && [ "$(cat "$dir/frozen" 2>/dev/null)" = "$pid" ]; then
				machine_console
				machine_ended "$pid"
				trap - TERM INT HUP
				exec {held}>&- {in}>&- {out}>&-
				return $machine_froze
			elif ! alive "$pid"; then
				machine_hung "$pid" "the $arch guest ended during a command"
			elif [ $SECONDS -ge $end ] && [ -z "$begun" ]; then
				machine_hung "$pid" "the $arch guest does not answer"
			elif [ $SECONDS -ge $end ]; then
				machine_hung "$pid" "the $arch guest did not end a command within its $limit s"
			fi
			continue
		fi
		line+=$part
		if [ -z "$begun" ]; then
			if [ "$line" = "@@klp-begin $nonce" ]; then
				begun=1
				end=$((SECONDS + limit + grace))
			fi
		elif [[ $line == "@@klp-host $nonce "* ]]; then
			machine_serve "${line##* }" "$limit" >&"$in"
			first=1
		elif [[ $line == "@@klp-end $nonce "* ]]; then
			break
		else
			if [ -n "$first" ]; then first=; else printf '\n'; fi
			printf '%s' "$line"
		fi
		line=
	done
	trap - TERM INT HUP
	touch "$dir/lane$lane"
	line=${line##* }
	if [ "$line" = expired ]; then
		printf 'guest: the command was ended after its %s s\n' "$limit" >&2
		line=124
	fi
	return "$line"
}
