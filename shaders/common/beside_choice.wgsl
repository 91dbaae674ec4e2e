// Beside its product, matvec.wgsl chooses the experts: what depends on neither result runs in one dispatch.

const BESIDE: u32 = 1u;

// The first workgroup of a row of workgroups.
fn beside(group: vec3<u32>, lane: u32) {
    for (var t = 0u; t < X_ROWS; t++) {
        let row = group.y * X_ROWS + t;
        if has_row(row) {
            choose(row, lane);
        }
    }
}
