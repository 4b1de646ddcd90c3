"""What a container of the tests does, in words: the same words drive the fake engine and a script in a real image.

`("/bin/play", "print=hello*3", "sleep=1", "exit=7")` prints `hello 1` … `hello 3`, sleeps a second and ends with 7:

    print=TEXT[*N]   a line on stdout; N of them get a number     err=TEXT[*N]    the same on stderr
    tick=SECONDS*N   `tick 1` … `tick N`, one every SECONDS       long=BYTES      one line of that many x
    sleep=SECONDS    does nothing                                 exit=CODE       ends at once
    eat=64m          takes memory and keeps it                    fork=N          starts N processes that sleep
    ignore-term      SIGTERM does nothing; else it ends with 143  env=NAME        prints NAME=value
    touch=PATH       makes a file                                 need=PATH       ends with 1 where none is
    read             prints `read: ` and a line of stdin          serve=PORT      sends back what comes on a TCP port
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

#: The name of the image of the tests, and of its program.
IMAGE = "gamenode-test/play:1"
PROGRAM = "/bin/play"


class Act(NamedTuple):
    """One word of a play."""

    verb: str
    text: str = ""
    times: int = 0


def acts(words: Sequence[str]) -> list[Act]:
    """What the words say. Raises ValueError for one that says nothing."""
    found = []
    for word in words:
        verb, _, text = word.partition("=")
        if verb not in (
            "print",
            "err",
            "tick",
            "long",
            "sleep",
            "exit",
            "eat",
            "fork",
            "env",
            "touch",
            "need",
            "serve",
        ):
            if word not in ("ignore-term", "read"):
                raise ValueError(f"play: what is {word!r}?")
            found.append(Act(word))
            continue
        body, star, count = text.rpartition("*")
        if verb in ("print", "err", "tick") and star and count.isdigit():
            found.append(Act(verb, body, int(count)))
        else:
            found.append(Act(verb, text))
    return found


def octets(text: str) -> int:
    """`64m` in bytes."""
    unit = {"k": 1024, "m": 1024**2, "g": 1024**3}.get(text[-1:].lower())
    return int(text[:-1]) * unit if unit else int(text)


#: The program of the real image. It is process 1, where a signal without a handler is ignored.
SCRIPT = r"""#!/bin/sh
trap 'kill $child 2>/dev/null; exit 143' TERM
trap 'kill $child 2>/dev/null; exit 130' INT
child=
lines() {
    case "$1" in
        *\**) awk -v t="${1%\**}" -v n="${1##*\*}" 'BEGIN { for (i = 1; i <= n; i++) print t, i }' ;;
        *) printf '%s\n' "$1" ;;
    esac
}
nap() { sleep "$1" & child=$!; wait $child; rc=$?; while kill -0 $child 2>/dev/null; do wait $child; done; child=; }
for word in "$@"; do
    value="${word#*=}"
    case "$word" in
        print=*) lines "$value" ;;
        err=*) lines "$value" >&2 ;;
        tick=*)
            i=0
            while [ $i -lt "${value##*\*}" ]; do
                i=$((i + 1))
                echo "tick $i"
                nap "${value%\**}"
            done ;;
        long=*) head -c "$value" /dev/zero | tr '\0' x; echo ;;
        sleep=*) nap "$value" ;;
        exit=*) exit "$value" ;;
        eat=*) eaten="$eaten$(head -c "$value" /dev/zero | tr '\0' x)" || exit 137 ;;
        fork=*)
            i=0
            while [ $i -lt "$value" ]; do
                i=$((i + 1))
                sleep 600 &
            done
            echo "forked $i" ;;
        serve=*) nc -ll -p "$value" -e cat & ;;
        ignore-term) trap '' TERM ;;
        env=*) eval "printf '%s=%s\n' \"\$value\" \"\${$value}\"" ;;
        touch=*) : > "$value" ;;
        need=*) [ -e "$value" ] || exit 1 ;;
        read) read -r line; echo "read: $line" ;;
        *) echo "play: what is $word?" >&2; exit 64 ;;
    esac
done
"""
