#!/bin/sh
# Chat templates against jinja2, set up as transformers sets it up, on new cases each time:
#   sh tests/jinja.sh             LAPIDARY_SEED repeats a run, LAPIDARY_JINJA_CASES says how many cases
#   LAPIDARY_JINJA_SNIPPETS=1 sh tests/jinja.sh    also random snippets of the language, of which some in a hundred still differ
#   sh tests/jinja.sh golden      stores jinja2's answers to the snippets of tests/jinja/fixed.py
# It needs python3, and jinja2 3.1.6 or pip and venv to install it into the target folder.
set -eu
cd "$(dirname "$0")/.."
jinja2=3.1.6
golden=tests/golden/text/jinja.json
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { printf '%s\n' "$*" >&2; }
. tests/not_run.sh
skip() { not_run "tests/jinja.sh, $1"; exit 0; }

has_jinja2() { "$1" -c "import jinja2; assert jinja2.__version__ == '$jinja2'" 2>/dev/null; }
python=python3
command -v python3 >/dev/null 2>&1 || skip "which needs python3"
if ! has_jinja2 python3; then
    venv=${CARGO_TARGET_DIR:-target}/jinja-venv
    python=$venv/bin/python
    if ! has_jinja2 "$python"; then
        rm -rf "$venv"
        python3 -m venv "$venv" >"$work/log" 2>&1 || skip "no venv: $(tail -n 1 "$work/log")"
        "$python" -m pip install --quiet --disable-pip-version-check "jinja2==$jinja2" >"$work/log" 2>&1 ||
            skip "pip did not install jinja2 $jinja2: $(tail -n 1 "$work/log")"
    fi
fi
export PYTHONDONTWRITEBYTECODE=1 PYTHONWARNINGS=ignore PYTHONUTF8=1 TZ=UTC

"$python" tests/jinja/fixed.py | "$python" tests/jinja/oracle.py >"$work/fixed"
if [ "${1:-}" = golden ]; then
    "$python" -m json.tool --no-ensure-ascii --indent 1 "$work/fixed" "$golden"
    exit 0
fi
# What an error says is Python's business, and differs between its versions.
cat >"$work/equal.py" <<'PYTHON'
import json, sys
known, new = ([(c["name"], c["template"], c.get("text"), "refused" in c) for c in json.load(open(f))] for f in sys.argv[1:])
sys.exit(known != new)
PYTHON
"$python" "$work/equal.py" "$golden" "$work/fixed" || {
    say "jinja: $golden is not what jinja2 says today: sh tests/jinja.sh golden"
    exit 1
}

seed=${LAPIDARY_SEED:-$(date +%s)}
set --
for template in examples/demo-model/*.jinja tests/golden/text/*.jinja ../shared/gemma-4-tokenizer/*.jinja ../shared/cases/files/*/*/*.jinja; do
    [ -f "$template" ] && set -- "$@" "$template"
done
say "jinja: seed $seed, $# templates; LAPIDARY_SEED=$seed sh tests/jinja.sh repeats it"
"$python" tests/jinja/generate.py "$seed" "${LAPIDARY_JINJA_CASES:-6000}" "$@" >"$work/cases"
"$python" tests/jinja/oracle.py <"$work/cases" >"$work/expected"
LAPIDARY_JINJA="$work/expected" cargo test --release --locked --quiet --test jinja || {
    say "jinja: failed with LAPIDARY_SEED=$seed"
    exit 1
}
