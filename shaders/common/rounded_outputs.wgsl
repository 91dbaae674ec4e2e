// part: outputs when rounding
// needs gelu: gelu
// needs product: params
// needs rounded: rounded16
// needs around: LANE_ROWS, THREADS, has_row
// gives override: COLUMNS, PLACES
// gives var: y, rounded_y, outputs
// gives fn: factor_of, write, four_outputs, finish

// What becomes of the gated sums of matvec.wgsl where the next product reads rounded activations: y, and y rounded. A
// workgroup makes whole blocks of 16 columns.

@group(0) @binding(7) var<storage, read_write> y: array<f32>;                // [rows, y_stride]
@group(0) @binding(10) var<storage, read_write> rounded_y: array<vec4<u32>>; // [rows, 3, chunks]

override COLUMNS: u32 = 16; // of a workgroup: THREADS / LANES * LANE_ROWS / 2
override PLACES: u32 = 16;  // X_ROWS * COLUMNS

var<workgroup> outputs: array<f32, PLACES>; // [X_ROWS, COLUMNS]

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

// The workgroup's columns, n.. of X_ROWS rows from p on: a lane rounds 16 of a row.
fn finish(p: u32, n: u32, lane: u32) {
    workgroupBarrier();
    let n_columns = params.n_rows / 2u;
    let chunks = (n_columns + 31u) / 32u;
    for (var place = 16u * lane; place < PLACES; place += 16u * THREADS) {
        let row = p + place / COLUMNS;
        let block = (n + place % COLUMNS) / 16u;
        if block * 16u < n_columns && has_row(row) {
            let r = rounded16(four_outputs(place), four_outputs(place + 4u), four_outputs(place + 8u), four_outputs(place + 12u));
            let to = 3u * row * chunks + block / 2u;
            rounded_y[to + block % 2u * chunks] = r.codes;
            rounded_y[to + 2u * chunks][block % 2u] = bitcast<u32>(r.scale);
            rounded_y[to + 2u * chunks][2u + block % 2u] = bitcast<u32>(r.sum);
        }
    }
}
