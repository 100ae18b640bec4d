# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A guest's parts, made once in the cache: root/ (file system and cross sysroot), root.img (the same as a disk), vmlinuz and modules/ (what the
# initramfs loads). Sourced behind lib.sh.
# Everything comes from Debian's signed packages of the other architecture, by an apt of its own: the machine's is neither asked nor changed.
# shellcheck disable=SC2154 # lib.sh sets what is read here

# The modules of the way to the root file system, the tree and the commands.
guest_modules=(virtio_pci virtio_blk virtio_console virtio_rng ext4 9p 9pnet_virtio)

# The machine's own sources, in the release that has the architecture.
fetch_sources() { # DIR
	local id name next
	id=$(. /etc/os-release && echo "${VERSION_ID:-}")
	name=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	if ! [[ $id =~ ^[0-9]+$ ]] || [ -z "$name" ]; then skip "this machine is no released Debian: its package sources say nothing of $arch"; fi
	next=$name
	if [ "$id" -lt "$suite" ]; then
		case $suite in
		12) next=bookworm ;;
		13) next=trixie ;;
		esac
	fi
	local list parts f
	eval "$(apt-config shell list Dir::Etc::sourcelist/f parts Dir::Etc::sourceparts/d)"
	for f in "$list" "$parts"/*.list; do
		# A source that does not name the release is somebody else's.
		[ -f "$f" ] && grep -w "$name" "$f" | sed -n "/^[[:space:]]*deb[[:space:]]/{s/arch=[^] ]*//;s/\b$name\b/$next/g;p}" >>"$1/sources.list"
	done
	for f in "$parts"/*.sources; do
		[ -f "$f" ] && grep -qw "$name" "$f" && sed "/^Architectures:/d;s/\b$name\b/$next/g" "$f" >"$1/parts/${f##*/}"
	done
	return 0
}

fetch_apt() { # leaves the configuration's file in $apt_conf
	local a=$home/apt
	rm -rf "${a:?}/etc"
	mkdir -p "$a/etc/parts" "$a/state/lists/partial" "$a/cache/archives/partial"
	: >"$a/etc/sources.list"
	: >"$a/state/dpkg-status" # nothing is installed, so everything that is needed is fetched
	fetch_sources "$a/etc"
	apt_conf=$a/etc/apt.conf
	cat >"$apt_conf" <<-END
	APT::Architecture "$deb_arch";
	APT::Architectures { "$deb_arch"; };
	Dir::State "$a/state";
	Dir::State::status "$a/state/dpkg-status";
	Dir::Cache "$a/cache";
	Dir::Etc::sourcelist "$a/etc/sources.list";
	Dir::Etc::sourceparts "$a/etc/parts";
	APT::Sandbox::User "$(id -un)";
	Acquire::Languages "none";
	END
	# A list that does not come (a mirror that is being renewed) is missed only if a package is.
	apt-get -c "$apt_conf" update >"$a/update.log" 2>&1 || true
}

fetch_debs() { # leaves the list of packages in $debs
	local words=() want name log=$home/apt/log
	for want in $(sed '/^#/d' "$root/tests/vm/packages") "$kernel"; do
		for name in ${want//|/ }; do
			if apt-cache -c "$apt_conf" show "$name" >/dev/null 2>&1; then
				words+=("$name")
				continue 2
			fi
		done
		grep '^[EW]:' "$home/apt/update.log" >&2
		skip "no package $want of $arch is to be had from this machine's package sources"
	done
	rm -f "$home"/apt/cache/archives/*.deb
	if ! apt-get -c "$apt_conf" install -y --no-install-recommends --download-only "${words[@]}" >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		skip "the packages of $arch cannot be fetched"
	fi
	debs=("$home"/apt/cache/archives/*.deb)
	[ -f "${debs[0]}" ] || die "apt-get left no packages"
}

# The packages' files without their scripts. What those would have made, and is needed, is made here.
fetch_unpack() { # DIR
	local deb dir l
	mkdir -p "$1/usr"
	for dir in bin sbin lib; do # a merged /usr, whatever a package thinks
		mkdir -p "$1/usr/$dir"
		ln -s "usr/$dir" "$1/$dir"
	done
	for deb in "${debs[@]}"; do
		case ${deb##*/} in
		usrmerge_* | usr-is-merged_* | initramfs-tools* | linux-initramfs-tool*) continue ;;
		esac
		dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink --no-same-owner -C "$1" || die "${deb##*/} does not unpack"
	done
	rm -rf "$1"/usr/share/{doc,man,info,locale,i18n}
	mkdir -p "$1"/{proc,sys,dev,run,tmp,root,etc,var/tmp,mnt}
	[ -e "$1/usr/bin/sh" ] || ln -s dash "$1/usr/bin/sh"
	[ -e "$1/usr/bin/awk" ] || ln -s mawk "$1/usr/bin/awk"
	[ -e "$1/usr/bin/cc" ] || ln -s gcc "$1/usr/bin/cc"
	[ -e "$1/usr/bin/c++" ] || ln -s g++ "$1/usr/bin/c++"
	printf 'root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n' >"$1/etc/passwd"
	printf 'root:x:0:\nnogroup:x:65534:\n' >"$1/etc/group"
	printf '127.0.0.1 localhost\n::1 localhost\n' >"$1/etc/hosts"
	# A sysroot is looked up from outside: no link may lead to the machine's own root.
	find "$1" -type l -lname '/*' -print0 | while IFS= read -r -d '' l; do
		ln -sfnr "$1$(readlink "$l")" "$l"
	done
}

fetch_kernel() { # DIR: the root file system; makes vmlinuz, modules/ and its list in the order of loading
	local images=("$1"/boot/vmlinu[xz]-*) version m line verb
	[ ${#images[@]} = 1 ] && [ -f "${images[0]}" ] || die "there is not one kernel in $kernel: ${images[*]}"
	version=${images[0]##*/vmlinu?-}
	mv "${images[0]}" "$home/new/vmlinuz"
	depmod -b "$1" "$version" || die "the kernel's modules have no order"
	mkdir "$home/new/modules"
	for m in "${guest_modules[@]}"; do
		# Built in, or insmod lines: what it needs first, then itself.
		modprobe -d "$1" -S "$version" --show-depends "$m" >"$home/new/log" 2>&1 || die "the kernel has no module $m: $(cat "$home/new/log")"
		while read -r verb line _; do
			if [ "$verb" = insmod ] && ! [ -f "$home/new/modules/$(basename "$line" .xz)" ]; then
				m=${line##*/}
				case $m in
				*.xz) xz -dc "$line" >"$home/new/modules/${m%.xz}" ;;
				*) cp "$line" "$home/new/modules/" ;;
				esac || die "the module $m cannot be read"
				echo "${m%.xz}" >>"$home/new/modules/order"
			fi
		done <"$home/new/log"
	done
	cp "$1/usr/bin/busybox" "$home/new/busybox"
	rm -rf "${1:?}/boot"
}

fetch_image() { # DIR
	local size
	size=$(du -sm "$1" | cut -f1)
	# As seen from a namespace in which this user is root, so that the guest's root owns its files.
	local as=()
	: >"$home/new/root.img"
	[ "$(id -u)" = 0 ] || as=(unshare -r)
	"${as[@]}" mke2fs -q -F -t ext4 -O ^has_journal -m 0 -d "$1" "$home/new/root.img" $((size * 5 / 4 + 1024))M >"$home/new/log" ||
		die "the root file system's image cannot be made"
}

# guest_fetch [again]: makes what is missing.
guest_fetch() {
	local t
	for t in apt-get dpkg-deb depmod mke2fs tar xz; do
		command -v $t >/dev/null || skip "$t is not installed: scripts/bootstrap installs it"
	done
	mkdir -p "$home"
	exec {fetch_lock}>"$home/lock"
	flock "$fetch_lock"
	if [ "${1:-}" = again ] || ! [ -e "$home/complete" ]; then
		echo "guest: fetching Debian's $arch packages" >&2
		rm -rf "$home/new"
		mkdir "$home/new"
		fetch_apt
		fetch_debs
		fetch_unpack "$home/new/root"
		fetch_kernel "$home/new/root"
		fetch_image "$home/new/root"
		rm -f "$home/complete" "$home"/apt/cache/archives/*.deb "$home/new/log"
		for t in root root.img vmlinuz modules busybox; do
			rm -rf "${home:?}/$t"
			mv "$home/new/$t" "$home/$t"
		done
		rmdir "$home/new"
		# What no tree has used for a week goes.
		find "$cache/$arch" -mindepth 1 -maxdepth 1 -type d -not -path "$home" -mtime +7 -exec rm -rf {} +
	fi
	touch "$home/complete" "$home"
	guest_tools
	exec {fetch_lock}>&-
}
