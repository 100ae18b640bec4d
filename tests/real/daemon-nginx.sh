# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # work, started: lib.sh's
# nginx, master and two workers, under wrk. Sourced after lib.sh.

# nginx_start BINARY: master and two workers; sets $port and $master.
nginx_start() {
	port=$(real_free_port)
	rm -rf "$work/run"
	mkdir -p "$work/run/logs"
	cat >"$work/run/nginx.conf" <<-END
	daemon off;
	worker_processes 2;
	pid $work/run/nginx.pid;
	error_log $work/run/error.log;
	events { worker_connections 512; }
	http {
		access_log off;
		server {
			listen 127.0.0.1:$port;
			location /r/ {
				rewrite ^/r/([^/]*)\$ /x?c=1;
				set \$v \$1;
				return 200 "[\$v]\n";
			}
		}
	}
	END
	"$1" -p "$work/run" -c "$work/run/nginx.conf" -e "$work/run/error.log" &
	master=$!
	started+=("$master")
	real_wait_port "$port"
}

nginx_stop() {
	kill "$master"
	wait "$master" || true
}

workers() { cat "/proc/$master/task/$master/children" | tr ' ' '\n' | sed '/^$/d'; }

# The load: wrk, which must see nothing but good replies.
load_start() {
	wrk -t 2 -c 16 -d 600 "http://127.0.0.1:$port/r/plain" >"$work/wrk.txt" 2>&1 &
	load=$!
	started+=("$load")
	sleep 1
}
load_stop() {
	kill -INT "$load"
	wait "$load" || true
	grep -q 'requests in' "$work/wrk.txt" || die "wrk says nothing: $(cat "$work/wrk.txt")"
	if grep -E 'Socket errors|Non-2xx' "$work/wrk.txt" >&2; then
		die "requests failed under the load"
	fi
	say "  under load: $(sed -n 's/^ *\([0-9]* requests in [^,]*\),.*/\1/p' "$work/wrk.txt"), none failed"
}
