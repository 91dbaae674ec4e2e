# Sourced, behind examples/setup.sh, by scripts whose tools may not be at hand.

# not_run WHAT: says it at once, and again at the end of tests/run.sh. Where everything has to run, as in workflows that are there
# for that alone, LAPIDARY_REQUIRED=1 makes it a failure.
not_run() {
    say "not run: $1"
    [ -z "${LAPIDARY_NOT_RUN:-}" ] || echo "not run: $1" >>"$LAPIDARY_NOT_RUN"
    [ -z "${LAPIDARY_REQUIRED:-}" ] || { say "LAPIDARY_REQUIRED is set: FAILED"; exit 1; }
}
