// y[p, n] = sum_k x[p / x_repeat, k] * w[matrix(p), n, k], one row of x at a time: decode, and experts.
// LANES lanes walk k for ROWS output features, which share what a lane reads of x, and reduce; a workgroup holds
// THREADS / LANES such blocks.
// Linear: matrix(p) = 0. Experts: matrix(p) = ids[p]; rows whose expert lies outside this part are left alone.

override THREADS: u32 = 64;
override LANES: u32 = 16;       // a power of two up to THREADS
override EXPERTS: bool = false;
const ROWS: u32 = 4;

@group(0) @binding(6) var<storage, read> ids: array<u32>;           // [rows of y]
@group(0) @binding(7) var<storage, read_write> y: array<f32>;       // [rows, y_stride]

var<workgroup> partial: array<vec4<f32>, THREADS>; // a component for each of ROWS

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let p = group.y;
    var matrix = 0u;
    if EXPERTS {
        matrix = ids[p] - params.first_matrix; // An expert before this part wraps around to a large number.
        if matrix >= params.n_matrices {
            return;
        }
    }
    let n = ((group.x + group.z * groups.x) * (THREADS / LANES) + lane / LANES) * ROWS;
    let rows = min(ROWS, max(n, params.n_rows) - n); // 0 beyond the last output feature
    var sums: array<f32, ROWS>;
    if rows > 0u {
        let x_row = (p / params.x_repeat) * (params.x_stride / 4u);
        for (var chunk = lane % LANES; chunk * 4u < params.in_words; chunk += LANES) {
            let at = x_row + 8u * chunk;
            let x0 = x[at];
            let x1 = x[at + 1u];
            let x2 = x[at + 2u];
            let x3 = x[at + 3u];
            let x4 = x[at + 4u];
            let x5 = x[at + 5u];
            let x6 = x[at + 6u];
            let x7 = x[at + 7u];
            for (var r = 0u; r < rows; r++) {
                let w = weights32(matrix * params.n_rows + n + r, chunk);
                sums[r] += dot(w[0], x0) + dot(w[1], x1) + dot(w[2], x2) + dot(w[3], x3)
                    + dot(w[4], x4) + dot(w[5], x5) + dot(w[6], x6) + dot(w[7], x7);
            }
        }
    }
    partial[lane] = vec4(sums[0], sums[1], sums[2], sums[3]);
    for (var half = LANES / 2u; half > 0u; half >>= 1u) {
        workgroupBarrier();
        if lane % LANES < half {
            partial[lane] += partial[lane + half];
        }
    }
    if lane % LANES == 0u {
        for (var r = 0u; r < rows; r++) {
            y[p * params.y_stride + params.y_offset + n + r] = capped(partial[lane][r]);
        }
    }
}
