# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced: tracked PATTERN... lists the files of the tree, without build directories.
cd "$1" || exit 1
tracked() {
	if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
		git ls-files -z -- "$@"
	else
		local expr=() without=()
		for p in "$@"; do
			case $p in
			':!'*) without+=(-not -path "./${p#:!}/*") ;;
			*) expr+=(-o -name "${p##*/}") ;;
			esac
		done
		find . \( -path ./build -o -path './build-*' \) -prune -o -type f \( "${expr[@]:1}" \) \
			${without[@]+"${without[@]}"} -print0
	fi
}
