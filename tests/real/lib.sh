# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Common to the tests that patch Debian's own daemons: fetch a pinned source package, apply its patches up to the fix, build it.
# Sourced. Exit status 77 means skipped, and says why.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${KLP_BUILD:-$root/build}
cache=${KLP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/klp}
bin=$build/bin
started=()

say() { printf '%s\n' "$*"; }
die() {
	printf 'FAILED: %s\n' "$*" >&2
	exit 1
}
skip() {
	printf 'SKIPPED: %s\n' "$*" >&2
	exit 77
}

cleanup() {
	local status=$?
	trap - EXIT INT TERM
	for pid in ${started[@]+"${started[@]}"}; do
		kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
	done
	[ -n "${work:-}" ] && rm -rf "$work"
	exit $status
}
# Ends what was started and removes the work directory, however the script ends.
real_begin() {
	work=$(mktemp -d "${TMPDIR:-/tmp}/klp-real.XXXXXX")
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	mkdir -p "$cache"
	PKG_CONFIG_PATH=$build pkg-config --exists klp || die "$build is no build directory of klp"
}

# A private apt: the machine's own package sources with their deb-src, lists and archives in the cache directory.
real_apt_setup() {
	local a=$cache/apt list parts
	eval "$(apt-config shell list Dir::Etc::sourcelist/f parts Dir::Etc::sourceparts/d)"
	rm -rf "${a:?}/etc"
	mkdir -p "$a/etc/parts" "$a/state/lists/partial" "$a/cache/archives/partial"
	: >"$a/etc/sources.list"
	if [ -f "$list" ]; then
		sed -n 's/^[[:space:]]*deb\([[:space:]]\)/deb-src\1/p' "$list" >>"$a/etc/sources.list"
	fi
	for f in "$parts"/*.list; do
		[ -f "$f" ] && sed -n 's/^[[:space:]]*deb\([[:space:]]\)/deb-src\1/p' "$f" >>"$a/etc/sources.list"
	done
	for f in "$parts"/*.sources; do
		[ -f "$f" ] && sed 's/^Types:.*/Types: deb-src/' "$f" >"$a/etc/parts/${f##*/}"
	done
	cat >"$a/etc/apt.conf" <<-END
	Dir::State "$a/state";
	Dir::State::status "/var/lib/dpkg/status";
	Dir::Cache "$a/cache";
	Dir::Etc::sourcelist "$a/etc/sources.list";
	Dir::Etc::sourceparts "$a/etc/parts";
	APT::Sandbox::User "$(id -un)";
	END
	apt_conf=$a/etc/apt.conf
	if ! apt-get -c "$apt_conf" update >"$a/update.log" 2>&1; then
		cat "$a/update.log" >&2
		skip "the package lists cannot be fetched"
	fi
}

# real_fetch PACKAGE VERSION: its source package into $dir, which it sets.
real_fetch() {
	dir=$cache/$1/${2//[^A-Za-z0-9.+~-]/_}
	rm -rf "$dir"
	mkdir -p "$dir"
	say "fetching the source of $1 $2"
	(cd "$dir" && apt-get -c "$apt_conf" source -qq --download-only "$1=$2") >"$dir/fetch.log" 2>&1
}

# real_source PACKAGE VERSION-PATTERN PATCH: leaves in $source_dir the unpacked source with every patch of its series before PATCH
# applied, and in $fix the PATCH itself. Unpacked once per cache.
real_source() {
	local package=$1 pattern=$2 patch=$3 versions version dir name
	dir=$(compgen -G "$cache/$package/*/.complete-$patch" | sort -V | tail -n 1 || true)
	if [ -z "$dir" ]; then
		real_apt_setup
		versions=$(apt-cache -c "$apt_conf" showsrc --only-source "$package" 2>/dev/null | sed -n 's/^Version: //p' | sort -uV)
		[ -n "$versions" ] || skip "no source package of $package is to be had from this machine's package sources"
		# The newest that fits and can be fetched (a mirror may list one that it does not have), else the newest of all.
		version=''
		while read -r v; do
			# shellcheck disable=SC2254 # a pattern on purpose
			case $v in $pattern) real_fetch "$package" "$v" && version=$v && break ;; esac
		done < <(sort -rV <<<"$versions")
		if [ -z "$version" ]; then
			version=$(tail -n 1 <<<"$versions")
			say "$package $pattern is not to be had; taking the newest, $version"
			real_fetch "$package" "$version" || {
				cat "$dir/fetch.log" >&2
				skip "the source of $package $version cannot be fetched"
			}
		fi
		dpkg-source --no-check --skip-patches -x "$dir"/*.dsc "$dir/src" >"$dir/unpack.log" 2>&1 ||
			{ cat "$dir/unpack.log" >&2; die "the source of $package $version cannot be unpacked"; }
		grep -qx "$patch" "$dir/src/debian/patches/series" ||
			skip "the source of $package $version does not have the patch $patch"
		while read -r name _; do
			case $name in '' | '#'*) continue ;; esac
			[ "$name" = "$patch" ] && break
			patch -d "$dir/src" -s -f -p1 <"$dir/src/debian/patches/$name" >"$dir/patch.log" 2>&1 ||
				{ cat "$dir/patch.log" >&2; die "$name of $package $version does not apply"; }
		done <"$dir/src/debian/patches/series"
		: >"$dir/.complete-$patch"
		dir=$dir/.complete-$patch
	fi
	dir=${dir%/*}
	source_dir=$dir/src
	fix=$source_dir/debian/patches/$patch
	cache_dir=$dir
	say "$package ${dir##*/}, before $patch"
}

cflags_klp() { PKG_CONFIG_PATH=$build pkg-config --cflags klp; }

# real_free_port: a TCP port on the loopback that nobody listens on.
real_free_port() {
	local port
	for _ in {1..50}; do
		port=$((20000 + RANDOM % 20000))
		if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
			echo "$port"
			return
		fi
	done
	return 1
}

# real_wait_port PORT: until somebody answers there.
real_wait_port() {
	for _ in {1..100}; do
		(exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
		sleep 0.1
	done
	die "nobody answers on port $1"
}

# real_klpctl COMMAND...: runs it, keeps its JSON in $work/klpctl.json, fails with what it said.
real_klpctl() {
	local status=0
	"$bin/klpctl" "$@" >"$work/klpctl.json" 2>"$work/klpctl.err" || status=$?
	if [ "$status" -ne 0 ]; then
		cat "$work/klpctl.json" "$work/klpctl.err" >&2
		die "klpctl $1: exit status $status"
	fi
}

# real_expect WHAT EXPECTED ACTUAL
real_expect() {
	if [ "$2" != "$3" ]; then
		die "$1: expected '$2', got '$3'"
	fi
	say "  $1: $3"
}

real_tools() {
	for t in klpctl klp-build; do
		[ -x "$bin/$t" ] || die "$bin/$t is not built"
	done
}

# real_build VARIANT PATCHED COMMAND...: a copy of the source in $cache_dir/VARIANT, with the fix applied if PATCHED is yes, built there by
# COMMAND. Built once per cache and set of flags. Sets $tree.
real_build() {
	local variant=$1 patched=$2 key
	shift 2
	tree=$cache_dir/$variant
	key=$(printf '%s\n' "$(gcc --version | head -n 1)" "$(declare -f "$1")" "$*" "$(cflags_klp)" | sha256sum | cut -c1-64)
	if [ "$(cat "$tree.built" 2>/dev/null)" = "$key" ]; then
		return
	fi
	say "building ($variant)"
	rm -rf "$tree" "$tree.built"
	cp -a "$source_dir" "$tree"
	if [ "$patched" = yes ]; then
		patch -d "$tree" -s -f -p1 <"$fix" >"$tree.log" 2>&1 || { cat "$tree.log" >&2; die "the fix does not apply"; }
	fi
	(cd "$tree" && "$@") >"$tree.log" 2>&1 || { tail -n 50 "$tree.log" >&2; die "the $variant build failed"; }
	echo "$key" >"$tree.built"
}

# real_identity DIR: every object below it, compared with itself, has no change.
real_identity() {
	local o status count=0 bytes=0 began=$EPOCHREALTIME
	while read -r o; do
		status=0
		"$bin/klp-build" compare --json "$o" "$o" >"$work/identity.json" 2>"$work/identity.log" || status=$?
		[ $status = 3 ] || { cat "$work/identity.json" "$work/identity.log" >&2; die "${o#"$1"/} against itself: exit status $status"; }
		count=$((count + 1)) bytes=$((bytes + $(stat -c %s "$o")))
	done < <(find "$1" -name '*.o' -size +0)
	[ $count -gt 50 ] || die "only $count objects in $1"
	say "$count objects against themselves: no change ($(awk -v b=$bytes -v t0="$began" -v t1="$EPOCHREALTIME" 'BEGIN { printf "%.1f MB in %.1f s", b / 1e6, t1 - t0 }'))"
}

# real_ship FILE: what a distribution installs ($shipped, stripped) and its debug file ($debug), made from FILE.
real_ship() {
	shipped=$work/shipped/${1##*/}
	debug=$work/debug/${1##*/}.debug
	mkdir -p "$work/shipped" "$work/debug"
	objcopy --only-keep-debug "$1" "$debug"
	strip -o "$shipped" "$1"
	objcopy --add-gnu-debuglink="$debug" "$shipped"
}

# real_patched PID: the names of the patches that klpctl status reports for it, and their states.
real_patched() {
	"$bin/klpctl" status -p "$1" --json | jq -r '.processes[].patches[] | "\(.name) \(.state)"'
}
