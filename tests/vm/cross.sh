# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The cross compiler under the names that makefiles and tests use: tools/gcc, tools/objcopy and so on of one architecture. Who has that directory
# first in PATH builds for the guest. Sourced behind lib.sh.
# shellcheck disable=SC2154 # lib.sh sets what is read here

# A compiler of Debian's cross packages brings a C library of its own, of the machine's release. The guest's libraries may need a later one, so its files
# come first.
cross_compiler() { # NAME, PROGRAM, and options that name $s, the sysroot
	local program
	program=$(command -v "$triplet-$2") || skip "$triplet-$2 is not installed: scripts/bootstrap installs it"
	printf '#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\ns=%q\nexec %s --sysroot="$s" -B"$s/usr/lib/%s" %s "$@"\n' "$home/root" "$program" "$triplet" "$3" >"$new/$1"
	chmod +x "$new/$1"
}

# shellcheck disable=SC2016 # $s is for the script that is written
guest_tools() {
	local new=$home/tools.new name program
	[ -d "$home/tools" ] && return
	rm -rf "$new"
	mkdir "$new"
	local c='-isystem "$s/usr/include/'$triplet'" -isystem "$s/usr/include"'
	for name in gcc cc "$triplet-gcc"; do cross_compiler "$name" gcc "$c"; done
	# The C++ library's headers are wrapped around those of its own C library.
	for name in g++ c++ "$triplet-g++"; do cross_compiler "$name" g++ ''; done
	if program=$(command -v clang); then
		printf '#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\nexec %s --target=%s --sysroot=%q "$@"\n' "$program" "$triplet" "$home/root" >"$new/clang"
		chmod +x "$new/clang"
	fi
	for name in ar as ld nm objcopy objdump ranlib readelf size strip addr2line gcov; do
		program=$(command -v "$triplet-$name") || skip "$triplet-$name is not installed: scripts/bootstrap installs it"
		ln -s "$program" "$new/$name"
	done
	mv "$new" "$home/tools"
}
