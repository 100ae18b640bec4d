#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A client of memcached at a unix socket.

    memcached_client.py SOCKET load FILE     sets and gets with four connections until SIGTERM, and says in FILE how that went
    memcached_client.py SOCKET connections   what the log of connections says of one that comes
"""
import random
import signal
import socket
import sys
import threading

def connect():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(sys.argv[1])
    return s

def until(s, end):
    data = b""
    while not data.endswith(end):
        more = s.recv(65536)
        if not more:
            raise EOFError("the daemon closed a connection")
        data += more
    return data

done, stop = [0], threading.Event()

def work(n):
    s, mine, r = connect(), {}, random.Random(n)
    while not stop.is_set():
        key, value = b"%d-%d" % (n, r.randrange(100)), b"%032d" % r.randrange(10**30)
        s.sendall(b"set %s 0 0 %d\r\n%s\r\n" % (key, len(value), value))
        assert until(s, b"\r\n") == b"STORED\r\n"
        mine[key] = value
        key = r.choice(list(mine))
        s.sendall(b"get %s\r\n" % key)
        got = until(s, b"END\r\n")
        assert got == b"VALUE %s 0 %d\r\n%s\r\nEND\r\n" % (key, len(mine[key]), mine[key]), (key, got)
        done[0] += 2
        if r.randrange(100) == 0:
            s.close()
            s = connect()

if sys.argv[2] == "load":
    signal.signal(signal.SIGTERM, lambda *a: stop.set())
    failed = []
    threading.excepthook = lambda a: failed.append(repr(a.exc_value))
    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    open(sys.argv[3], "w").write("started\n")
    while not stop.wait(0.05):
        pass
    for t in threads:
        t.join()
    open(sys.argv[3], "w").write("%d requests, %d clients failed %s\n" % (done[0], len(failed), " ".join(failed)))
elif sys.argv[2] == "connections": # what the log says of one that comes
    s = connect()
    s.sendall(b"watch connevents\n")
    log = s.makefile("rb") # by lines: the first events may come with the answer
    assert log.readline() == b"OK\r\n"
    connect().close()
    words = {}
    while words.get("type") != "conn_new":
        line = log.readline().decode()
        if not line:
            raise EOFError("the daemon closed a connection")
        if "type=conn_new" in line:
            words = dict(w.split("=", 1) for w in line.split())
    print(words["rip"], words["transport"])
