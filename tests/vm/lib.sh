# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the guest's scripts share, and the table of architectures. Sourced.
# The functions leave their results in variables that other files read:
# shellcheck disable=SC2034

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${KLP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/klp}/guest
contents=1 # of what fetch.sh makes: another number for another result

die() {
	printf 'guest: %s\n' "$*" >&2
	exit 1
}
skip() { # what this machine cannot do is not klp's failure
	printf 'SKIPPED: %s\n' "$*" >&2
	exit 77
}

# arch_setup ARCH: what differs between guests.
#   suite      the first Debian release that has the architecture; the machine's own is taken if it is later
#   qemu       the emulator with the machine's kind; TCG, because no other machine's KVM runs these
arch_setup() {
	arch=$1
	case $arch in
	aarch64)
		deb_arch=arm64 triplet=aarch64-linux-gnu suite=12 console=ttyAMA0 kernel=linux-image-arm64
		# The architected pointer authentication is most of an emulated call's time; the guest's own algorithm is a few instructions.
		qemu=(qemu-system-aarch64 -M "virt,gic-version=3" -cpu "max,pauth-impdef=on")
		;;
	riscv64)
		deb_arch=riscv64 triplet=riscv64-linux-gnu suite=13 console=ttyS0 kernel=linux-image-riscv64
		qemu=(qemu-system-riscv64 -M virt)
		# Older emulators have no cpu of this name; theirs is the most that they know.
		if "${qemu[0]}" -cpu help 2>/dev/null | grep -qw max; then qemu+=(-cpu max); else qemu+=(-cpu rv64); fi
		;;
	x86_64) # a machine of the same architecture, whose kernel is Debian's
		deb_arch=amd64 triplet=x86_64-linux-gnu suite=12 console=ttyS0 kernel=linux-image-amd64
		qemu=(qemu-system-x86_64 -M q35 -cpu max)
		;;
	*) die "no guest for the architecture '$arch': aarch64, riscv64, x86_64" ;;
	esac
	# Other trees of this machine may want other contents.
	home=$cache/$arch/$contents-$(cksum <"$root/tests/vm/packages" | cut -d' ' -f1)
}

alive() { kill -0 "$1" 2>/dev/null; }

# started_at PID: the time of its start, which tells it from a later process with its number. Nothing if it has ended.
started_at() {
	local stat
	stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
	stat=${stat##*) }
	# shellcheck disable=SC2086 # fields
	set -- $stat
	case $1 in Z | X) return 1 ;; esac
	printf '%s' "${20}"
}
