// part: reduce
// gives override: THREADS
// gives var: partial_sums, column_sums
// gives fn: value_of_column, four_of_column, sum_of_column, four_columns, wide_sums, workgroup_sums, workgroup_sum

// Sums over a workgroup of THREADS lanes, a power of two. Every lane gets the sum; the order of additions is fixed.
// Two barriers a sum: each lane adds up one of 16 columns of THREADS / 16 values, then the columns' sums, as a tree each.
// Of more than 256 lanes, 32 add up a column each.

override THREADS: u32 = 128;

var<workgroup> partial_sums: array<vec2<f32>, THREADS>;
var<workgroup> column_sums: array<vec2<f32>, 32>;

// Values that do not exist are zeros. Where these are called k is a literal: the conditions are decided by the compiler.
fn value_of_column(lane: u32, k: u32) -> vec2<f32> {
    if k < THREADS / 16u {
        return partial_sums[lane % 16u + 16u * k];
    }
    return vec2(0.0);
}

fn four_of_column(lane: u32, k: u32) -> vec2<f32> {
    return (value_of_column(lane, k) + value_of_column(lane, k + 1u))
        + (value_of_column(lane, k + 2u) + value_of_column(lane, k + 3u));
}

fn sum_of_column(k: u32) -> vec2<f32> {
    if k < THREADS {
        return column_sums[k];
    }
    return vec2(0.0);
}

fn four_columns(k: u32) -> vec2<f32> {
    return (sum_of_column(k) + sum_of_column(k + 1u)) + (sum_of_column(k + 2u) + sum_of_column(k + 3u));
}

fn wide_sums(lane: u32, values: vec2<f32>) -> vec2<f32> {
    partial_sums[lane] = values;
    workgroupBarrier(); // Behind it no lane reads the columns of the sum before.
    if lane < 32u {
        var part = vec2(0.0);
        for (var k = lane; k < THREADS; k += 32u) {
            part += partial_sums[k];
        }
        column_sums[lane] = part;
    }
    workgroupBarrier();
    var sum = vec2(0.0);
    for (var k = 0u; k < 32u; k++) {
        sum += column_sums[k];
    }
    return sum;
}

// Two sums at once.
fn workgroup_sums(lane: u32, values: vec2<f32>) -> vec2<f32> {
    if THREADS > 256u {
        return wide_sums(lane, values);
    }
    var part = values;
    if THREADS > 16u {
        partial_sums[lane] = values;
    }
    workgroupBarrier(); // Behind it no lane reads the columns of the sum before.
    if THREADS > 16u {
        part = (four_of_column(lane, 0u) + four_of_column(lane, 4u))
            + (four_of_column(lane, 8u) + four_of_column(lane, 12u));
    }
    if lane < 16u {
        column_sums[lane] = part;
    }
    workgroupBarrier();
    return (four_columns(0u) + four_columns(4u)) + (four_columns(8u) + four_columns(12u));
}

fn workgroup_sum(lane: u32, value: f32) -> f32 {
    return workgroup_sums(lane, vec2(value, 0.0)).x;
}
