// part: beside when beside choice
// needs choose: choose
// needs around: X_ROWS, has_row
// gives override: BESIDE
// gives fn: beside

// Beside its product, matvec.wgsl chooses the experts: what depends on neither result runs in one dispatch.

override BESIDE: u32 = 1; // X_ROWS

// The first workgroups of a row of workgroups, one for each row of x.
fn beside(group: vec3<u32>, lane: u32) {
    let row = group.y * X_ROWS + group.x;
    if has_row(row) {
        choose(row, lane);
    }
}
