// part: block_sum
// needs around: LANES, THREADS, X_ROWS, is_pair
// gives var: partial
// gives fn: block_sum, workgroup_sum

// Sums over the lanes of a block of matvec.wgsl, through workgroup memory.

var<workgroup> partial: array<vec4<f32>, THREADS>; // a component for each of LANE_ROWS

// Sum over the LANES lanes of a block of the first `values` components, for its first lane; the order of additions is fixed.
fn block_sum(lane: u32, values: u32, sums: vec4<f32>) -> vec4<f32> {
    var sum = sums;
    if X_ROWS > 1u && !is_pair() {
        workgroupBarrier(); // The sums of the row of x before have been read.
    }
    partial[lane] = sums;
    if LANES > 16u {
        workgroupBarrier();
        if lane % LANES < 8u {
            for (var j = 8u; j < LANES; j += 8u) {
                sum += partial[lane + j];
            }
        }
        workgroupBarrier();
        partial[lane] = sum;
    }
    if LANES > 1u {
        workgroupBarrier();
        if lane % LANES == 0u {
            for (var j = 1u; j < select(LANES, 8u, LANES > 16u); j++) {
                sum += partial[lane + j];
            }
        }
    }
    return sum;
}

// Sum over all lanes of the workgroup for each row of x, for its first lane.
fn workgroup_sum(lane: u32, sums: vec4<f32>) -> vec4<f32> {
    partial[lane] = sums;
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            partial[lane] += partial[lane + half];
        }
    }
    return partial[0];
}
