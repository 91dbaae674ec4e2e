// part: block_sum when subgroups
// needs product: params
// needs around: LANES, ROLLED, THREADS, X_ROWS, is_pair
// gives override: SUBGROUP
// gives var: partial
// gives fn: sum_of_neighbours, block_sum, workgroup_sum

// As block_sum.wgsl, by subgroups: aligned groups of SUBGROUP neighbouring lanes add up among themselves.

override SUBGROUP: u32 = 32; // lanes of the smallest subgroups of the device, a power of two from 8 on

var<workgroup> partial: array<vec4<f32>, THREADS>; // a group's sum each; a component for each of LANE_ROWS

// Sums of the first `values` components over n neighbouring lanes, a power of two up to SUBGROUP, for each of these.
fn sum_of_neighbours(n: u32, values: u32, sums: vec4<f32>) -> vec4<f32> {
    var sum = sums;
    for (var mask = 1u; mask < n; mask *= 2u) {
        if values == 1u {
            sum.x += subgroupShuffleXor(sum.x, mask);
        } else if values == 2u {
            sum = vec4(sum.xy + subgroupShuffleXor(sum.xy, mask), 0.0, 0.0);
        } else {
            sum += subgroupShuffleXor(sum, mask);
        }
    }
    return sum;
}

// Sum over the LANES lanes of a block of the first `values` components, for its first lane; the order of additions is fixed.
fn block_sum(lane: u32, values: u32, sums: vec4<f32>) -> vec4<f32> {
    var sum = sum_of_neighbours(min(LANES, SUBGROUP), values, sums);
    if LANES > SUBGROUP {
        if X_ROWS > 1u && !is_pair() {
            workgroupBarrier(); // The sums of the row of x before have been read.
        }
        if lane % SUBGROUP == 0u {
            partial[lane / SUBGROUP] = sum;
        }
        workgroupBarrier();
        if lane % LANES == 0u {
            for (var group = 1u; group < LANES / SUBGROUP; group++) {
                sum += partial[lane / SUBGROUP + group];
            }
        }
    }
    return sum;
}

// Sum over all lanes of the workgroup for each row of x, for its first lane.
fn workgroup_sum(lane: u32, sums: vec4<f32>) -> vec4<f32> {
    var sum = sums;
    if ROLLED {
        // Four sums more are many beside a product's: a bound from the parameters keeps compilers from unrolling.
        for (var mask = 1u; mask < min(SUBGROUP, SUBGROUP * params.in_words); mask *= 2u) {
            sum += subgroupShuffleXor(sum, mask);
        }
    } else {
        sum = sum_of_neighbours(min(THREADS, SUBGROUP), X_ROWS, sums);
    }
    if lane % SUBGROUP == 0u {
        partial[lane / SUBGROUP] = sum;
    }
    workgroupBarrier();
    if lane == 0u {
        for (var group = 1u; group < THREADS / SUBGROUP; group++) {
            sum += partial[group];
        }
    }
    return sum;
}
