// part: outputs
// needs gelu: gelu
// needs product: capped, params
// needs around: GATED, LANE_ROWS
// gives override: ADD
// gives var: y, factors
// gives fn: factor_of, write, finish

// What becomes of the sums of matvec.wgsl: y.

override ADD: bool = false; // SUM: to what earlier parts have added up

@group(0) @binding(7) var<storage, read_write> y: array<f32>; // [rows, y_stride]
@group(0) @binding(8) var<storage, read> factors: array<f32>; // SUM: [rows * SLOTS]

fn factor_of(slot: u32) -> f32 {
    return factors[slot];
}

// A block's sums become columns n.. of row p.
fn write(p: u32, n: u32, at: u32, sums: vec4<f32>) {
    let n_outputs = select(LANE_ROWS, LANE_ROWS / 2u, GATED);
    for (var r = 0u; r < n_outputs; r++) {
        let to = p * params.y_stride + params.y_offset + n + r;
        if n + r >= select(params.n_rows, params.n_rows / 2u, GATED) {
            break;
        }
        if GATED {
            y[to] = gelu(sums[r]) * sums[r + n_outputs];
        } else if ADD {
            y[to] += sums[r];
        } else {
            y[to] = capped(sums[r]);
        }
    }
}

fn finish(p: u32, n: u32, lane: u32) {
}
