// y[p, n] = sum_k x[p / x_repeat, k] * w[matrix(p), n, k], one row of x at a time: decode, and experts.
// LANES lanes walk k for one output feature and reduce; a workgroup holds 64 / LANES output features.
// Linear: matrix(p) = 0. Experts: matrix(p) = ids[p]; rows whose expert lies outside this part are left alone.

override LANES: u32 = 16;       // a power of two up to 64
override EXPERTS: bool = false;

@group(0) @binding(6) var<storage, read> ids: array<u32>;           // [rows of y]
@group(0) @binding(7) var<storage, read_write> y: array<f32>;       // [rows, y_stride]

var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
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
    let n = (group.x + group.z * groups.x) * (64u / LANES) + lane / LANES;
    var sum = 0.0;
    if n < params.n_rows {
        let row = matrix * params.n_rows + n;
        let x_row = (p / params.x_repeat) * (params.x_stride / 4u);
        for (var word = lane % LANES; word < params.in_words; word += LANES) {
            let w = weights8(row, word);
            sum += dot(w[0], x[x_row + 2u * word]) + dot(w[1], x[x_row + 2u * word + 1u]);
        }
    }
    partial[lane] = sum;
    for (var half = LANES / 2u; half > 0u; half >>= 1u) {
        workgroupBarrier();
        if lane % LANES < half {
            partial[lane] += partial[lane + half];
        }
    }
    if n < params.n_rows && lane % LANES == 0u {
        y[p * params.y_stride + params.y_offset + n] = capped(partial[lane]);
    }
}
