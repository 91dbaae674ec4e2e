#!/bin/sh
# A built program on this machine's adapter, as it is handed out: `doctor` finds nothing wrong, and the demo model gives its golden
# answer.
#   sh tests/program.sh PROGRAM ADAPTER TEXT…
# PROGRAM is its path, ADAPTER as for --adapter, and each TEXT is part of what `doctor` says.
set -eu
say() { printf '%s\n' "$*" >&2; }
[ $# -ge 2 ] || { say "expected a program and an adapter"; exit 1; }
program=$1 adapter=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$program" --version
"$program" devices
"$program" doctor --no-cache --adapter "$adapter" >"$work/doctor" 2>&1 || { cat "$work/doctor"; say "FAILED: doctor"; exit 1; }
cat "$work/doctor"
# What could be left unused is no failure to the doctor. Here it is: nobody has looked at it yet.
! grep -qE 'FAILED|must do without' "$work/doctor" || { say "FAILED: a check of doctor"; exit 1; }
for text in "$@"; do
    grep -qF -- "$text" "$work/doctor" || { say "FAILED: doctor does not say \"$text\""; exit 1; }
done

# The answer of another engine: "greedy_text" in examples/demo-model/golden.json.
cat >"$work/golden" <<'END'
Appends an element to the back of a collection.

```rust
let mut vec = vec![1, 2];
vec.push(3);
assert_eq!(vec, [1, 2, 3]);
```
END
"$program" generate --no-cache --adapter "$adapter" --prompt 'What does Vec::push do?' --temperature 0 >"$work/answer"
cat "$work/answer"
cmp "$work/golden" "$work/answer" || { say "FAILED: not the golden answer"; exit 1; }
say "as expected: $program on \"$adapter\""
