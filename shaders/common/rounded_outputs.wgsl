// What becomes of the gated sums of matvec.wgsl where the next product reads rounded activations: y, and y rounded. A
// workgroup makes whole blocks of 16 columns.

@group(0) @binding(7) var<storage, read_write> y: array<f32>;                // [rows, y_stride]
@group(0) @binding(10) var<storage, read_write> rounded_y: array<vec4<u32>>; // [rows, 3, chunks]

override COLUMNS: u32 = 16; // of a workgroup: THREADS / LANES * LANE_ROWS / 2

var<workgroup> outputs: array<f32, COLUMNS>;

fn factor_of(slot: u32) -> f32 {
    return 1.0;
}

// A block's sums become columns n.. of row p; what stands beyond the last column is 0.
fn write(p: u32, n: u32, at: u32, sums: vec4<f32>) {
    let n_outputs = LANE_ROWS / 2u;
    for (var r = 0u; r < n_outputs; r++) {
        outputs[at + r] = 0.0;
        if n + r < params.n_rows / 2u {
            let value = gelu(sums[r]) * sums[r + n_outputs];
            outputs[at + r] = value;
            y[p * params.y_stride + params.y_offset + n + r] = value;
        }
    }
}

fn four_outputs(at: u32) -> vec4<f32> {
    return vec4(outputs[at], outputs[at + 1u], outputs[at + 2u], outputs[at + 3u]);
}

// The workgroup's columns, n.. of row p: a lane rounds 16 of them.
fn finish(p: u32, n: u32, lane: u32) {
    workgroupBarrier();
    let n_columns = params.n_rows / 2u;
    let at = 16u * lane;
    if at < COLUMNS && n + at < n_columns && has_row(p) {
        let r = rounded16(four_outputs(at), four_outputs(at + 4u), four_outputs(at + 8u), four_outputs(at + 12u));
        let block = n / 16u + lane;
        let chunks = (n_columns + 31u) / 32u;
        let to = 3u * p * chunks + block / 2u;
        rounded_y[to + block % 2u * chunks] = r.codes;
        rounded_y[to + 2u * chunks][block % 2u] = bitcast<u32>(r.scale);
        rounded_y[to + 2u * chunks][2u + block % 2u] = bitcast<u32>(r.sum);
    }
    workgroupBarrier();
}
